from typing import Any

import pytest

from tests.transforms.spans import MS, START, Sent, captured, expected, fact

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
USAGE = {"gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 11}


def hinted() -> list[tuple[str, str, float, str]]:
    """(capture, span id, ms after the start, what it measures) of each first token that a library recorded rightly."""
    found = []
    for name, entry in expected().items():
        for span in entry["llm_spans"]:
            measures = span.get("first_token_hint_measures") or {}
            hints = span.get("first_token_hints_ms_after_span_start") or {}
            right = [(hints[key], measures[key]) for key in hints if measures[key] in ("first_chunk", "first_content")]
            found += [(name, span["span_id"], *right[0])] if right else []
    return found


@pytest.mark.parametrize(("capture", "span_id", "ms", "measures"), hinted())
def test_a_recorded_first_token_is_read_within_a_millisecond(
    capture: str, span_id: str, ms: float, measures: str
) -> None:
    row = captured(capture)[span_id]
    assert abs(row["ttft_ns"] / MS - ms) <= 1
    assert row["ttft_kind"] == measures
    assert row["streaming"]


def test_no_first_token_is_made_up_for_the_other_calls_of_the_captures() -> None:
    recorded = {(capture, span_id) for capture, span_id, *_ in hinted()}
    # spans that another layer's span covers carry their own, right, first token
    others = {(name, s["span_id"]) for name, e in expected().items() for s in e["other_spans_with_usage"]}
    made_up = [
        (name, span_id)
        for name in expected()
        for span_id, row in captured(name).items()
        if row["ttft_ns"] is not None and (name, span_id) not in recorded | others
    ]
    assert made_up == []


@pytest.mark.parametrize(
    ("sent", "ms", "kind"),
    [
        (Sent({**CHAT, "gen_ai.response.time_to_first_chunk": 0.25}), 250, "first_chunk"),
        (
            Sent({**CHAT, "gen_ai.client.operation.time_to_first_chunk": 0.25}, scope="pydantic-ai"),
            250,
            "first_content",
        ),
        (Sent({**CHAT, "gen_ai.server.time_to_first_token": 0.25}), 250, "server"),
        (
            Sent({**CHAT, "gen_ai.server.time_to_first_token": 250}, scope="strands.telemetry.tracer"),
            250,
            "first_content",
        ),
        (Sent({**CHAT, "gen_ai.response.time_to_first_chunk": "0.25"}), 250, "first_chunk"),
        (Sent({"ai.operationId": "ai.streamText.doStream", "ai.response.msToFirstChunk": 250.5}), 250.5, "first_chunk"),
        (Sent({"ai.operationId": "ai.streamObject.doStream", "ai.stream.msToFirstChunk": 250}), 250, "first_chunk"),
        (
            Sent(
                {
                    "ai.operationId": "ai.streamText.doStream",
                    "ai.model.provider": "openai.responses",
                    "ai.response.msToFirstChunk": 250,
                    "ai.usage.inputTokenDetails.noCacheTokens": 1,
                }
            ),
            250,
            "first_content",
        ),
        (
            Sent(
                {
                    "langfuse.observation.type": "generation",
                    "langfuse.observation.completion_start_time": '"2026-11-23T07:58:36.250000Z"',
                }
            ),
            250,
            "first_chunk",
        ),
        (
            Sent({"openinference.span.kind": "LLM"}, events=(("First Token Stream Event", 250, {}),)),
            250,
            "first_chunk",
        ),
        (
            Sent({"openinference.span.kind": "LLM"}, name="Response", events=(("First Token Stream Event", 250, {}),)),
            250,
            "first_content",
        ),
        (
            Sent(
                {"llm.request.type": "chat"},
                events=(("llm.content.completion.chunk", 300, {}), ("llm.content.completion.chunk", 250, {})),
            ),
            250,
            "first_chunk",
        ),
        (
            Sent({"mlflow.spanType": '"CHAT_MODEL"'}, events=(("mlflow.chunk.item.0", 250, {}),)),
            250,
            "first_chunk",
        ),
        (
            Sent({"span.type": "llm_request", "ttft_ms": "250"}, scope="com.anthropic.claude_code.tracing"),
            250,
            "first_chunk",
        ),
        (Sent({"acme.llm.usage.input_tokens": 1, "llm.model": "m", "acme.ttft_ms": 250}), 250, "first_chunk"),
    ],
)
def test_the_first_token_is_read_from_every_spelling(sent: Sent, ms: float, kind: str) -> None:
    row = fact(sent)
    assert (row["ttft_ns"], row["ttft_kind"], row["flags"]) == (
        ms * MS,
        kind,
        [f for f in row["flags"] if "ttft" not in f],
    )


@pytest.mark.parametrize("seconds", [-0.001, 1.5, 1e300, -1e300])
def test_a_first_token_outside_the_span_is_left_out_and_flagged(seconds: float) -> None:
    row = fact(Sent({**CHAT, "gen_ai.response.time_to_first_chunk": seconds}))
    assert (row["ttft_ns"], row["ttft_kind"], row["flags"]) == (None, None, ["ttft_out_of_range"])


def test_the_time_of_an_event_in_microseconds_is_read_as_such() -> None:
    """As MLflow sent them to 3.9; a time before the span in nanoseconds."""
    attributes = {"mlflow.spanType": '"CHAT_MODEL"', "mlflow.spanOutputs": '{"model": "gpt-4o"}'}
    in_us = (START + 250 * MS) // 1_000
    sent = Sent(attributes, events=(("mlflow.chunk.item.0", (in_us - START) / MS, {}),))
    row = fact(sent)
    assert abs(row["ttft_ns"] - 250 * MS) < MS
    assert "ttft_out_of_range" not in row["flags"]


@pytest.mark.parametrize("nothing", [0.0, 0, float("nan"), float("inf"), "soon", True, [1.0]])
def test_a_first_token_that_says_nothing_is_unknown(nothing: Any) -> None:
    row = fact(Sent({**CHAT, "gen_ai.response.time_to_first_chunk": nothing}))
    assert (row["ttft_ns"], row["flags"]) == (None, [])


def test_a_first_token_rounded_up_to_the_millisecond_after_the_end_is_the_end() -> None:
    sent = Sent({**CHAT, "gen_ai.server.time_to_first_token": 251}, scope="strands.x", duration_ms=250.4)
    assert fact(sent)["ttft_ns"] == 250.4 * MS


@pytest.mark.parametrize("time", ['"yesterday"', "12", '"2026-13-45T00:00:00Z"', "{", '"9999-12-31T23:59:59Z"'])
def test_a_first_token_at_no_time_or_far_away_is_unknown(time: str) -> None:
    sent = {"langfuse.observation.type": "generation", "langfuse.observation.completion_start_time": time}
    assert fact(Sent(sent))["ttft_ns"] is None


def test_openlit_is_not_believed() -> None:
    sent = {**CHAT, "gen_ai.server.time_to_first_token": 0.007, "gen_ai.request.stream": True}
    row = fact(Sent(sent, scope="openlit.instrumentation.openai"))
    assert (row["ttft_ns"], row["streaming"]) == (None, True)


def test_a_call_that_says_that_it_did_not_stream_has_no_first_token() -> None:
    sent = {**CHAT, "gen_ai.server.time_to_first_token": 0.9, "gen_ai.request.stream": False}
    assert fact(Sent(sent))["ttft_ns"] is None


def test_a_first_chunk_is_believed_even_of_a_call_that_says_that_it_did_not_stream() -> None:
    sent = {"openinference.span.kind": "LLM", "llm.invocation_parameters": '{"stream": false}'}
    row = fact(Sent(sent, events=(("First Token Stream Event", 250, {}),)))
    assert (row["ttft_ns"], row["streaming"]) == (250 * MS, True)


def test_an_agent_has_no_first_token_of_its_own() -> None:
    sent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.response.time_to_first_chunk": 0.2}
    assert fact(Sent(sent))["ttft_ns"] is None


def test_time_per_output_token_is_the_rest_of_the_span_over_the_rest_of_the_tokens() -> None:
    row = fact(Sent({**CHAT, **USAGE, "gen_ai.response.time_to_first_chunk": 0.25}))
    assert row["tpot_ns"] == 750 * MS // 10


@pytest.mark.parametrize("tokens", [0, 1])
def test_one_output_token_has_no_time_per_token(tokens: int) -> None:
    sent = {**CHAT, "gen_ai.usage.output_tokens": tokens, "gen_ai.response.time_to_first_chunk": 0.25}
    assert fact(Sent(sent))["tpot_ns"] is None


def test_without_a_first_token_there_is_no_time_per_token() -> None:
    assert fact(Sent({**CHAT, **USAGE}))["tpot_ns"] is None
