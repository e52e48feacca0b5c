from typing import Any

import pytest

from tests.transforms.spans import Sent, fact

OLD = {"usage.prompt_tokens": 7, "usage.completion_tokens": 3}
NEW = {"usage.input_tokens": 7, "usage.output_tokens": 3}
USAGE = '{"prompt_tokens": 7, "completion_tokens": 3}'
GEMINI = '{"usage_metadata": {"prompt_token_count": 7, "candidates_token_count": 3, "total_token_count": 10}}'


def gen_ai(usage: dict[str, int], scope: str = "x", operation: str = "chat") -> Sent:
    """A call in the words of the GenAI conventions; keys without their prefix."""
    keys = {"system": "openai", "operation.name": operation, "request.model": "gpt-4", **usage}
    return Sent({f"gen_ai.{key}": value for key, value in keys.items() if value}, scope=scope)


def with_more(sent: Sent, **more: Any) -> Sent:
    return Sent({**sent.attributes, **{k.replace("__", "."): v for k, v in more.items()}}, sent.scope, sent.name)


OPENINFERENCE = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4", "llm.provider": "openai"}
AI_SDK = {"ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "openai.chat", "ai.model.id": "gpt-4"}
LANGFUSE = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4"}
ADK = {"gen_ai.system": "gcp.vertex.agent", "gen_ai.request.model": "openai/gpt-4"}

GENERATIONS = {
    "OpenTelemetry GenAI before 1.27": (gen_ai(OLD), "gen_ai"),
    "Traceloop 0.40": (
        with_more(gen_ai(OLD, "opentelemetry.instrumentation.openai.v1", ""), llm__request__type="chat"),
        "traceloop",
    ),
    "OpenInference of 2024, counts in the body": (
        Sent({**OPENINFERENCE, "output.value": f'{{"usage": {USAGE}}}'}),
        "openinference",
    ),
    "OpenInference through a callback of LiteLLM": (
        Sent({**OPENINFERENCE, "llm.token_count.prompt": 7, "llm.token_count.completion": 3}, scope="litellm"),
        "openinference",
    ),
    "AI SDK 4": (Sent({**AI_SDK, "ai.usage.promptTokens": 7, "ai.usage.completionTokens": 3}, scope="ai"), "ai_sdk"),
    "Langfuse, by hand": (
        Sent({**LANGFUSE, "langfuse.observation.usage_details": '{"input": 5, "input_cached": 2, "output": 3}'}),
        "langfuse",
    ),
    "MLflow with the conventions' keys": (with_more(gen_ai(NEW), mlflow__spanType='"CHAT_MODEL"'), "mlflow"),
    "Pydantic AI 1": (gen_ai(NEW, "pydantic-ai"), "pydantic_ai"),
    "Google ADK 1": (
        Sent({**ADK, "gcp.vertex.agent.llm_response": GEMINI}, scope="gcp.vertex.agent", name="call_llm"),
        "google_adk",
    ),
    "Semantic Kernel": (
        gen_ai({"response.prompt_tokens": 7, "response.completion_tokens": 3}, operation="chat.completions"),
        "gen_ai",
    ),
    "unknown, camel case": (
        Sent(
            {
                "llm.provider": "OpenAI",
                "llm.model": "gpt-4",
                "llm.usage.promptTokens": 7,
                "llm.usage.completionTokens": 3,
            }
        ),
        "inferred",
    ),
    "unknown, numbers as text": (
        Sent({"acme.model_name": "gpt-4", "acme.usage.input_tokens": "7", "acme.usage.output_tokens": "3"}),
        "inferred",
    ),
    "unknown, counts by side": (
        Sent({"genai.model": "gpt-4", "genai.token_count.input": 7, "genai.token_count.output": 3}),
        "inferred",
    ),
    "unknown, only the answer as it came": (
        Sent({"llm.model": "gpt-4", "llm.response.body": f'{{"id": "chatcmpl-1", "usage": {USAGE}}}'}),
        "inferred",
    ),
    "unknown, a usage object": (
        Sent({"app.request.model": "gpt-4", "app.usage": USAGE, "app.total_tokens": 10}),
        "inferred",
    ),
}


@pytest.mark.parametrize(("sent", "dialect"), GENERATIONS.values(), ids=list(GENERATIONS))
def test_other_generations_and_unknown_libraries_are_read(sent: Sent, dialect: str) -> None:
    row = fact(sent)
    assert row["dialect"] == dialect
    assert (row["kind"], row["operation"] in ("chat", "generate_content"), row["is_call"]) == ("llm", True, True)
    assert (row["provider"], row["response_model"] or row["request_model"]) in (
        ("openai", "gpt-4"),
        ("openai", "openai/gpt-4"),
    )
    assert (row["input_tokens"], row["output_tokens"], row["token_source"]) == (7, 3, "reported")


def test_keys_of_a_second_dialect_fill_what_the_first_lacks() -> None:
    both = {
        "langfuse.observation.type": "generation",
        "llm.model_name": "gpt-4",
        "llm.token_count.prompt": 7,
        "llm.token_count.completion": 3,
        "gen_ai.response.id": "chatcmpl-1",
    }
    row = fact(Sent(both, scope="litellm"))
    assert (row["dialect"], row["response_model"], row["response_id"]) == ("langfuse", "gpt-4", "chatcmpl-1")
    assert (row["input_tokens"], row["output_tokens"]) == (7, 3)


def test_the_answer_as_it_came_gives_its_id() -> None:
    body = f'{{"usage": {USAGE}, "id": "chatcmpl-1"}}'
    assert fact(Sent({"llm.model": "gpt-4", "llm.response.body": body}))["response_id"] == "chatcmpl-1"


def test_claude_code_counts_four_disjoint_buckets() -> None:
    sent = {
        "input_tokens": "10",
        "output_tokens": 2,
        "cache_read_tokens": "4",
        "cache_creation_tokens": 3,
        "model": "claude-opus-4",
    }
    row = fact(Sent(sent, scope="com.anthropic.claude_code.tracing", name="claude_code.llm_request"))
    assert (row["dialect"], row["kind"], row["provider"]) == ("claude_code", "llm", "anthropic")
    assert [row[f"{name}_tokens"] for name in ("input", "output", "cache_read", "cache_write")] == [17, 2, 4, 3]


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (Sent({"gen_ai.operation.name": "execute_tool"}), "tool"),
        (Sent({"gen_ai.operation.name": "retrieval"}), "retrieval"),
        (Sent({"gen_ai.operation.name": "invoke_workflow"}), "chain"),
        (Sent({"gen_ai.operation.name": "fetch_response", "gen_ai.usage.input_tokens": 3}), "other"),
        (Sent({"gen_ai.operation.name": "something_new", "gen_ai.request.model": "m"}), "other"),
        (Sent({"openinference.span.kind": "RERANKER"}), "rerank"),
        (Sent({"openinference.span.kind": "GUARDRAIL"}), "guardrail"),
        (Sent({"openinference.span.kind": "EVALUATOR"}), "evaluator"),
        (Sent({"openinference.span.kind": "UNHEARD_OF"}), "other"),
        (Sent({"traceloop.span.kind": "task"}, scope="traceloop.tracer"), "chain"),
        (Sent({"ai.operationId": "ai.toolCall"}), "tool"),
        (Sent({"ai.operationId": "ai.generateText", "ai.usage.promptTokens": 3, "ai.model.id": "m"}), "agent"),
        (Sent({"gen_ai.usage.input_tokens": 3, "model_name": "m"}, scope="pydantic-ai", name="agent run"), "agent"),
        (Sent({"http.request.method": "POST"}, scope="httpx"), "other"),
        (Sent({}), "other"),
    ],
)
def test_the_kind_of_a_span_is_found(sent: Sent, kind: str) -> None:
    row = fact(sent)
    assert (row["kind"], row["is_call"], row["input_tokens"]) == (kind, False, None)


def test_the_scope_tells_more_than_attributes_that_other_layers_put_on_the_span() -> None:
    native = {
        "gen_ai.operation.name": "chat",
        "traceloop.association.properties.tier": "gold",
        "gen_ai.usage.input_tokens": 1,
    }
    assert fact(Sent(native, scope="com.anthropic.sdk.python"))["dialect"] == "anthropic_sdk"


def test_two_dialects_on_one_span_are_read_as_the_one_that_comes_first() -> None:
    both = {
        "openinference.span.kind": "LLM",
        "llm.token_count.prompt": 7,
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.input_tokens": 9,
    }
    row = fact(Sent(both))
    assert (row["dialect"], row["input_tokens"]) == ("openinference", 7)
