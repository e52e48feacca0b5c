from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.transforms.spans import Sent, counted_spans, expected, fact

# count -> the total in EXPECTED.json that it must equal
TOTALS = {
    "input_tokens": "input_tokens_total",
    "output_tokens": "output_tokens_total",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "reasoning_tokens",
}
# What a library did not send cannot be read: (start of the capture's name, counts)
EVERYTHING = set(TOTALS)
CACHE_AND_REASONING = {"cache_read_tokens", "cache_write_tokens", "reasoning_tokens"}
NOT_SENT: list[tuple[str, set[str]]] = [
    ("langfuse/chat_stream_nousage", EVERYTHING),
    ("openinference-openai/chat_stream_nousage", EVERYTHING),
    ("openlit/chat_stream_nousage", EVERYTHING),  # sends an estimate instead
    ("otel-genai-openai/chat_stream_nousage", EVERYTHING),
    ("otel-openai-v2/chat_stream_nousage", EVERYTHING),
    ("traceloop-openai/chat_stream_nousage", EVERYTHING),
    ("openlit/anthropic_stream", {"input_tokens", "cache_read_tokens", "cache_write_tokens"}),  # sends zeros
    ("otel-openai-v2", CACHE_AND_REASONING),
    ("ai-sdk-v5/chat", CACHE_AND_REASONING),
    ("ai-sdk-v5/tool_call", CACHE_AND_REASONING),
    ("ai-sdk-v7", {"reasoning_tokens"}),
    ("openlit", {"reasoning_tokens"}),
    ("strands", {"reasoning_tokens"}),
    ("traceloop-openai/chat_stream", {"reasoning_tokens"}),
    ("traceloop-sdk/chat_stream", {"reasoning_tokens"}),
]
SENT_ALL_THE_SAME = {"ai-sdk-v5/chat_stream", "ai-sdk-v5/tool_call_stream"}


def not_sent(capture: str) -> set[str]:
    if capture in SENT_ALL_THE_SAME:
        return set()
    return {count for start, counts in NOT_SENT if capture.startswith(start) for count in counts}


@pytest.mark.parametrize("capture", [name for name, entry in expected().items() if entry["traced_totals"]])
def test_the_counts_of_a_capture_add_up_to_the_truth(capture: str) -> None:
    rows = counted_spans(capture)
    truth = expected()[capture]["traced_totals"]
    wanted = {count: truth[total] for count, total in TOTALS.items() if count not in not_sent(capture)}
    assert {count: sum(row[count] or 0 for row in rows) for count in wanted} == wanted


@pytest.mark.parametrize(
    "capture",
    [
        n
        for n, e in expected().items()
        if not n.startswith(("ai-sdk-v7", "openlit"))
        for c in e["calls"]
        if c.get("cache_write_1h_tokens")
    ],
)
def test_cache_writes_for_an_hour_are_told_apart(capture: str) -> None:
    calls = {call["index"]: call for call in expected()[capture]["calls"]}
    truth = sum(
        calls[span["call_index"]].get("cache_write_1h_tokens") or 0 for span in expected()[capture]["llm_spans"]
    )
    assert sum(row["cache_write_1h_tokens"] or 0 for row in counted_spans(capture)) == truth


def call(**counts: Any) -> Sent:
    """A chat of the GenAI conventions with `gen_ai.usage.<count>` attributes; `__` stands for a dot."""
    usage = {f"gen_ai.usage.{name.replace('__', '.')}": value for name, value in counts.items()}
    return Sent({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", **usage})


def test_caches_above_the_input_mean_that_the_input_excludes_them() -> None:
    row = fact(call(input_tokens=10, output_tokens=5, cache_read__input_tokens=100, cache_write__input_tokens=7))
    assert (row["input_tokens"], row["cache_read_tokens"], row["cache_write_tokens"]) == (117, 100, 7)
    assert "input_was_exclusive" in row["token_flags"]


def test_a_total_that_adds_up_only_with_the_caches_means_that_the_input_excludes_them() -> None:
    row = fact(call(input_tokens=500, output_tokens=5, cache_read__input_tokens=100, total_tokens=605))
    assert (row["input_tokens"], row["token_flags"]) == (600, ["input_was_exclusive"])


def test_an_input_that_holds_its_caches_is_left_alone() -> None:
    row = fact(call(input_tokens=500, output_tokens=5, cache_read__input_tokens=100, total_tokens=505))
    assert (row["input_tokens"], row["token_flags"]) == (500, [])


def test_a_total_tells_reasoning_that_is_missing_from_that_which_is_counted_twice() -> None:
    missing = fact(call(input_tokens=100, output_tokens=20, reasoning__output_tokens=30, total_tokens=150))
    twice = fact(call(input_tokens=100, output_tokens=80, reasoning__output_tokens=30, total_tokens=150))
    assert (missing["output_tokens"], missing["token_flags"]) == (50, ["output_excluded_reasoning"])
    assert (twice["output_tokens"], twice["token_flags"]) == (50, ["reasoning_counted_twice"])


def test_a_total_that_fits_no_reading_is_flagged_and_nothing_is_changed() -> None:
    row = fact(call(input_tokens=100, output_tokens=20, total_tokens=150))
    assert (row["input_tokens"], row["output_tokens"], row["token_flags"]) == (100, 20, ["total_mismatch"])


def test_a_side_that_was_not_sent_is_the_rest_of_the_total() -> None:
    row = fact(call(output_tokens=20, total_tokens=150))
    assert (row["input_tokens"], row["output_tokens"], row["token_flags"]) == (130, 20, ["derived_from_total"])


def test_cache_writes_sent_by_lifetime_only_are_added_up() -> None:
    hour, minutes = "anthropic.usage.cache_creation.ephemeral_1h_input_tokens", "ephemeral_5m_input_tokens"
    sent = call(input_tokens=100, output_tokens=5)
    sent.attributes.update({hour: 30, hour.replace("ephemeral_1h_input_tokens", minutes): 12})
    row = fact(sent)
    assert (row["cache_write_tokens"], row["cache_write_1h_tokens"]) == (42, 30)


def test_google_adk_counts_the_reasoning_of_other_models_twice_and_of_gemini_once() -> None:
    usage = {
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 700,
        "gen_ai.usage.reasoning.output_tokens": 300,
    }
    chat = {"gen_ai.operation.name": "generate_content", **usage}
    openai = fact(Sent({**chat, "gen_ai.provider.name": "openai"}, scope="gcp.vertex.agent"))
    gemini = fact(Sent({**chat, "gen_ai.provider.name": "gcp.gemini"}, scope="gcp.vertex.agent"))
    assert (openai["output_tokens"], openai["token_flags"]) == (400, ["reasoning_counted_twice"])
    assert (gemini["output_tokens"], gemini["flags"]) == (700, [])


@pytest.mark.parametrize("scope", ["ai", "openlit.anthropic"])
def test_old_clients_of_anthropic_exclude_the_caches_from_the_input(scope: str) -> None:
    sent = {
        "gen_ai.system": "anthropic",
        "gen_ai.operation.name": "chat",
        "ai.operationId": "ai.generateText.doGenerate",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "ai.usage.cachedInputTokens": 100,
    }
    row = fact(Sent(sent, scope=scope))
    assert (row["input_tokens"], row["cache_read_tokens"], row["token_flags"]) == (1_100, 100, ["input_was_exclusive"])


def test_the_uncached_count_says_how_the_input_is_meant() -> None:
    detail = "ai.usage.inputTokenDetails."
    sent = {
        "ai.operationId": "ai.streamText.doStream",
        "ai.model.provider": "anthropic.messages",
        "ai.model.id": "claude-sonnet-4-5",
        "ai.usage.inputTokens": 1_100,
        "ai.usage.outputTokens": 5,
        f"{detail}noCacheTokens": 1_000,
        f"{detail}cacheReadTokens": 60,
        f"{detail}cacheWriteTokens": 40,
    }
    row = fact(Sent(sent, scope="ai"))
    assert (row["input_tokens"], row["cache_read_tokens"], row["cache_write_tokens"], row["token_flags"]) == (
        1_100,
        60,
        40,
        [],
    )


def test_the_providers_own_usage_fills_what_the_attributes_lack_and_settles_what_they_mean() -> None:
    usage = '{"input_tokens":10,"cache_read_input_tokens":4,"cache_creation_input_tokens":3,"output_tokens":2}'
    body = f'{{"id":"msg_1","usage":{usage}}}'
    sent = {"openinference.span.kind": "LLM", "llm.model_name": "claude", "llm.token_count.prompt": 10}
    row = fact(Sent({**sent, "llm.token_count.completion": 2, "output.value": body}))
    assert [row[f"{name}_tokens"] for name in ("input", "output", "cache_read", "cache_write")] == [17, 2, 4, 3]
    assert (row["token_flags"], row["flags"]) == (["input_was_exclusive"], ["provider_inferred"])


def test_usage_that_contradicts_the_attributes_is_flagged() -> None:
    body = '{"usage":{"prompt_tokens":99,"completion_tokens":2}}'
    sent = {"openinference.span.kind": "LLM", "llm.token_count.prompt": 10, "llm.token_count.completion": 2}
    row = fact(Sent({**sent, "output.value": body}))
    assert (row["input_tokens"], row["token_flags"]) == (10, ["usage_mismatch"])


def test_a_usage_object_cut_in_the_middle_is_flagged() -> None:
    sent = {"langfuse.observation.type": "generation", "langfuse.observation.usage_details": '{"input": 100, "outp'}
    row = fact(Sent(sent, scope="langfuse-sdk"))
    assert (row["input_tokens"], row["token_source"], row["token_flags"]) == (None, None, ["bad_usage"])


@pytest.mark.parametrize("bad", [-1, 2**53 + 1, 2**63 - 1, 1.5, float("nan"), float("inf"), "many", "-3", [1, 2], True])
def test_what_is_no_count_is_left_out_and_flagged(bad: Any) -> None:
    row = fact(call(input_tokens=bad, output_tokens=5))
    assert (row["input_tokens"], row["output_tokens"], row["token_flags"]) == (None, 5, ["bad_token_count"])


@pytest.mark.parametrize("good", [7, 7.0, "7", "7.0"])
def test_a_count_may_be_a_number_in_any_notation(good: Any) -> None:
    assert fact(call(input_tokens=good, output_tokens=5))["input_tokens"] == 7


@pytest.mark.parametrize("nothing", ["", "None", "null"])
def test_a_count_that_says_nothing_is_unknown_without_a_flag(nothing: str) -> None:
    row = fact(call(input_tokens=nothing, output_tokens=5))
    assert (row["input_tokens"], row["token_flags"]) == (None, [])


def test_an_agent_that_repeats_the_usage_of_its_calls_has_no_counts() -> None:
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 2}
    row = fact(Sent(agent))
    assert (row["kind"], row["is_call"], row["input_tokens"], row["token_source"]) == ("agent", False, None, None)


COUNTS = st.one_of(st.none(), st.integers(-5, 2**54), st.floats(), st.text(max_size=5), st.booleans())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(COUNTS, min_size=6, max_size=6))
def test_whatever_is_sent_parts_never_exceed_the_whole_unflagged(values: list[Any]) -> None:
    names = ("input_tokens", "output_tokens", "total_tokens", "cache_read__input_tokens", "reasoning_tokens")
    pairs = zip((*names, "cache_write__input_tokens"), values, strict=True)
    row = fact(call(**{name: value for name, value in pairs if value is not None}))
    counts = [row[f"{name}_tokens"] for name in ("input", "output", "cache_read", "cache_write", "reasoning")]
    assert all(count is None or 0 <= count <= 2**53 for count in counts)
    if row["input_tokens"] is not None and "parts_above_whole" not in row["token_flags"]:
        assert row["input_tokens"] >= (row["cache_read_tokens"] or 0) + (row["cache_write_tokens"] or 0)
    if row["output_tokens"] is not None and "parts_above_whole" not in row["token_flags"]:
        assert row["output_tokens"] >= (row["reasoning_tokens"] or 0)
