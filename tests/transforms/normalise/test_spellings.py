"""Where each dialect says how a call ended, for whom it was, what prompt it used and what it cost."""

from typing import Any

import pytest

from tests.transforms.spans import Sent, fact

GENAI = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 1}
OPENINFERENCE = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "llm.token_count.prompt": 1}
TRACELOOP = {"llm.request.type": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.prompt_tokens": 1}
AI_SDK = {"ai.operationId": "ai.generateText.doGenerate", "ai.model.id": "gpt-4o", "ai.usage.promptTokens": 1}
LANGFUSE = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o"}
LANGSMITH = {"langsmith.span.kind": "llm", "gen_ai.request.model": "gpt-4o"}
MLFLOW = {"mlflow.spanType": '"CHAT_MODEL"', "mlflow.llm.model": '"gpt-4o"'}
LITELLM = {"gen_ai.request.model": "gpt-4o", "llm.request.type": "completion", "gen_ai.usage.prompt_tokens": 1}
CLAUDE = {"span.type": "llm_request", "model": "claude-sonnet-4-5", "input_tokens": 1}
ANTHROPIC_SCOPE, CLAUDE_SCOPE = "com.anthropic.sdk.python", "com.anthropic.claude_code.tracing"

# column, value, attributes that say it, the rest of the span, its scope
SPELLINGS: list[tuple[str, Any, dict[str, Any], dict[str, Any], str]] = [
    ("finish_reasons", ["stop"], {"gen_ai.response.finish_reasons": ["stop"]}, GENAI, ""),
    ("finish_reasons", ["tool_call"], {"gen_ai.response.finish_reasons": '["tool_calls"]'}, LITELLM, "litellm"),
    ("finish_reasons", ["length"], {"gen_ai.completion.0.finish_reason": "length"}, TRACELOOP, ""),
    ("finish_reasons", ["stop"], {"llm.finish_reason": "stop"}, OPENINFERENCE, ""),
    ("finish_reasons", ["tool_call"], {"ai.response.finishReason": "tool-calls"}, AI_SDK, "ai"),
    ("finish_reasons", ["stop"], {"anthropic.message.stop_reason": "end_turn"}, GENAI, ANTHROPIC_SCOPE),
    ("finish_reasons", ["tool_call"], {"stop_reason": "tool_use"}, CLAUDE, CLAUDE_SCOPE),
    ("session_id", "s", {"gen_ai.conversation.id": "s"}, GENAI, ""),
    ("session_id", "s", {"session.id": "s"}, GENAI, ""),
    ("session_id", "s", {"session.id": "s"}, OPENINFERENCE, ""),
    ("session_id", "s", {"traceloop.association.properties.session_id": "s"}, TRACELOOP, ""),
    ("session_id", "s", {"ai.telemetry.metadata.sessionId": "s"}, AI_SDK, "ai"),
    ("session_id", "s", {"session.id": "s"}, LANGFUSE, "langfuse-sdk"),
    ("session_id", "s", {"langfuse.session.id": "s"}, LANGFUSE, "langfuse-sdk"),
    ("session_id", "s", {"langfuse.trace.metadata.langfuse_session_id": '"s"'}, LANGFUSE, "langfuse-sdk"),
    ("session_id", "s", {"langsmith.metadata.session_id": "s"}, LANGSMITH, ""),
    ("session_id", "s", {"langsmith.metadata.thread_id": "s"}, LANGSMITH, ""),
    ("session_id", "s", {"langsmith.metadata.conversation_id": "s"}, LANGSMITH, ""),
    ("session_id", "s", {"gen_ai.conversation.id": "s"}, GENAI, "gcp.vertex.agent"),
    ("session_id", "s", {"session.id": "s"}, CLAUDE, CLAUDE_SCOPE),
    ("user_id", "u", {"user.id": "u"}, GENAI, ""),
    ("user_id", "u", {"enduser.id": "u"}, GENAI, ""),
    ("user_id", "u", {"user.id": "u"}, OPENINFERENCE, ""),
    ("user_id", "u", {"traceloop.association.properties.user_id": "u"}, TRACELOOP, ""),
    ("user_id", "u", {"gen_ai.user": "u"}, TRACELOOP, ""),
    ("user_id", "u", {"llm.user": "u"}, TRACELOOP, ""),
    ("user_id", "u", {"ai.telemetry.metadata.userId": "u"}, AI_SDK, "ai"),
    ("user_id", "u", {"langfuse.user.id": "u"}, LANGFUSE, "langfuse-sdk"),
    ("user_id", "u", {"langsmith.metadata.user_id": "u"}, LANGSMITH, ""),
    ("user_id", "u", {"gen_ai.request.user": "u"}, GENAI | {"telemetry.sdk.name": "openlit"}, "openlit.otel.tracing"),
    ("user_id", "u", {"llm.user": "u"}, LITELLM, "litellm"),
    ("user_id", "u", {"user.id": "u"}, CLAUDE, CLAUDE_SCOPE),
    ("tags", ["a", "b"], {"tag.tags": ["a", "b"]}, OPENINFERENCE, ""),
    ("tags", ["a", "b"], {"langfuse.trace.tags": ["a", "b"]}, LANGFUSE, "langfuse-sdk"),
    ("tags", ["a", "b"], {"langfuse.trace.tags": '["a", "b"]'}, LANGFUSE, "langfuse-sdk"),
    ("tags", ["a", "b"], {"langfuse.trace.tags": "a, b"}, LANGFUSE, "langfuse-sdk"),
    ("tags", ["a", "b"], {"langsmith.span.tags": "a, b"}, LANGSMITH, ""),
    ("prompt_name", "p", {"gen_ai.prompt.name": "p"}, GENAI, ""),
    ("prompt_version", "7", {"gen_ai.prompt.version": "7"}, GENAI, ""),
    ("prompt_version", "v7", {"llm.prompt_template.version": "v7"}, OPENINFERENCE, ""),
    ("prompt_name", "p", {"traceloop.prompt.key": "p"}, TRACELOOP, ""),
    ("prompt_version", "3", {"traceloop.prompt.version": 3}, TRACELOOP, ""),
    ("prompt_name", "p", {"langfuse.observation.prompt.name": "p"}, LANGFUSE, "langfuse-sdk"),
    ("prompt_version", "3", {"langfuse.observation.prompt.version": 3}, LANGFUSE, "langfuse-sdk"),
    ("client_cost_nano", 1_500_000, {"llm.cost.total": 0.0015}, OPENINFERENCE, ""),
    (
        "client_cost_nano",
        1_500_000,
        {"langfuse.observation.cost_details": '{"total": 0.0015}'},
        LANGFUSE,
        "langfuse-sdk",
    ),
    ("client_cost_nano", 1_500_000, {"gen_ai.cost.total_cost": 0.0015}, LITELLM, "litellm"),
    ("client_cost_nano", 1_500_000, {"hidden_params": '{"response_cost": 0.0015}'}, LITELLM, "litellm"),
    ("client_cost_nano", 1_500_000, {"gen_ai.usage.cost": 0.0015}, GENAI, "openlit.otel.tracing"),
    ("client_cost_nano", 1_500_000, {"operation.cost": 0.0015}, GENAI, "pydantic-ai"),
    ("client_cost_nano", 1_500_000, {"mlflow.llm.cost": '{"total_cost": 0.0015}'}, MLFLOW, ""),
    ("client_cost_nano", 1_500_000, {"cost_usd": 0.0015}, CLAUDE, CLAUDE_SCOPE),
]


@pytest.mark.parametrize(
    ("column", "value", "says", "rest", "scope"), SPELLINGS, ids=[f"{s[0]}-{next(iter(s[2]))}" for s in SPELLINGS]
)
def test_a_fact_is_read_from_the_spelling_of_its_dialect(column, value, says, rest, scope):
    silent = fact(Sent(dict(rest), scope=scope or "some.library"))
    assert silent[column] in (None, "", [])
    assert fact(Sent(rest | says, scope=scope or "some.library"))[column] == value


@pytest.mark.parametrize(
    ("says", "rest", "scope", "error"),
    [
        ({"error.type": "RateLimitError"}, GENAI, "", "RateLimitError: slow down"),
        ({"error.type": "api_error"}, GENAI, ANTHROPIC_SCOPE, "api_error: slow down"),
        ({}, OPENINFERENCE, "", "slow down"),
        ({"error.type": "AI_APICallError"}, AI_SDK, "ai", "AI_APICallError: slow down"),
    ],
)
def test_a_failed_call_says_its_class_and_message(says, rest, scope, error):
    sent = Sent(rest | says, scope=scope or "some.library", failed=True, message="slow down")
    assert fact(sent)["error"] == error


def test_an_exception_event_names_the_class_where_no_attribute_does():
    event = ("exception", 5, {"exception.type": "openai.RateLimitError", "exception.message": "slow down"})
    assert fact(Sent(OPENINFERENCE, failed=True, events=(event,)))["error"] == "openai.RateLimitError: slow down"


def test_langfuse_says_an_error_by_its_level_and_message():
    says = {"langfuse.observation.level": "ERROR", "langfuse.observation.status_message": "slow down"}
    row = fact(Sent(LANGFUSE | says, scope="langfuse-sdk", failed=True))
    assert row["error"] == "slow down"
