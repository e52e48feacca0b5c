import json
from dataclasses import replace

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.limits import LIMITS

USER = {"role": "user", "parts": [{"type": "text", "content": "Weather in Lima?"}]}
ANSWER = {"role": "assistant", "parts": [{"type": "text", "content": "Light rain."}]}
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


def genai(inputs: list[dict], outputs: list[dict] | None = None) -> dict[str, str]:
    """Attributes of a span in the GenAI conventions' spelling."""
    attributes = {"gen_ai.input.messages": json.dumps(inputs)}
    return attributes if outputs is None else {**attributes, "gen_ai.output.messages": json.dumps(outputs)}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "content": "é" * 5_000},
        {"type": "tool_call", "id": "c", "name": "f", "arguments": {"a": "x" * 9_000, "b": ["\n" * 3_000]}},
        {"type": "tool_call", "id": "c", "name": "f", "arguments": {"a": [1] * 9_000}},
        {"type": "text", "content": "\0" * 3_000},
    ],
)
def test_a_message_over_the_limit_is_cut_and_keeps_the_hash_and_length_of_the_whole(say, read, span, part):
    small = replace(LIMITS, message_bytes=2_048)
    message = {"role": "assistant", "parts": [part]}
    whole = read([span(genai([message]))])
    cut = read([span(genai([message]))], limits=small)
    assert cut.input_hashes.to_list() == whole.input_hashes.to_list()
    (row,) = cut.bodies.to_pylist()
    assert row["bytes"] == len(orjson.dumps(message, option=orjson.OPT_SORT_KEYS)) > 2_048
    assert len(row["body"].encode()) <= 2_048
    assert orjson.loads(row["body"])["role"] == row["role"] == "assistant"
    assert cut.flags.to_dicts() == [{"span": 0, "flag": "message_cut"}]
    assert whole.flags.height == 0


def test_messages_beyond_the_limit_are_dropped_and_flagged(say):
    few = replace(LIMITS, messages_per_span=3)
    many = [{"role": "user", "parts": [{"type": "text", "content": str(n)}]} for n in range(5)]
    kept, dropped = say([genai(many[:3]), genai(many)], limits=few)
    assert kept.flags == set()
    assert dropped.flags == {"messages_dropped"}
    assert dropped.inputs == many[:3]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([USER])[:-7],
        "not json at all",
        "[" * 150 + "]" * 150,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        '[{"role": "user", "parts": [' + "[" * 120 + "]" * 120 + "]}]",
        "[" * 200_000,
        "[" * 700 + r'"\ud800"' + "]" * 700,
    ],
)
def test_text_that_is_no_json_or_too_deep_is_one_text_message_with_a_flag(say, text):
    bad, good = say([{"gen_ai.input.messages": text}, genai([USER])])
    assert bad.inputs == [{"role": "user", "parts": [{"type": "text", "content": text}]}]
    assert bad.flags == {"message_not_json"}
    assert good.inputs == [USER] and good.flags == set()


def test_json_at_the_limit_of_depth_is_read(say):
    deep = {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "f", "arguments": {}}]}
    holder = deep["parts"][0]["arguments"]
    for _ in range(94):
        holder["next"] = {"list": []}
        holder = holder["next"]
    (said,) = say([genai([deep])])
    assert said.inputs == [deep]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (r'{"a": "half \ud83d pair"}', {"a": "half � pair"}),
        (r'{"a": "whole 🌤️ pair"}', {"a": "whole 🌤️ pair"}),
        (r'{"__proto__": {"x": 1}, "constructor": 2}', {"__proto__": {"x": 1}, "constructor": 2}),
        (r'{"a": "nul \u0000 inside"}', {"a": "nul \0 inside"}),
        ('{"a": 123456789012345678901234567890}', {"a": "123456789012345678901234567890"}),
        ('{"a": -9223372036854775808, "b": 9223372036854775807}', {"a": -(2**63), "b": 2**63 - 1}),
        ('{"a": 18446744073709551616}', {"a": "18446744073709551616"}),
        ('{"a": 1e400, "b": NaN, "c": -Infinity}', {"a": "1e400", "b": "NaN", "c": "-Infinity"}),
        ('{"a": ' + "9" * 5_000 + "}", {"a": "9" * 5_000}),
        ('{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_odd_values_are_kept_exactly_or_as_text(say, sent, kept):
    head, tail = '[{"role":"assistant","parts":[{"type":"tool_call","id":"c","name":"f","arguments":', "}]}]"
    (said,) = say([{"gen_ai.input.messages": head + sent + tail}])
    assert said.inputs[0]["parts"][0]["arguments"] == kept
    assert said.flags == set()


KEYS = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "llm.input_messages.0.message.content",
    "llm.input_messages.0.message.contents.0.message_content.text",
    "llm.output_messages.7.message.tool_calls.0.tool_call.function.arguments",
    "gen_ai.prompt.0.content",
    "gen_ai.completion.0.tool_calls.0.arguments",
    "ai.prompt",
    "ai.prompt.messages",
    "ai.response.toolCalls",
    "ai.values",
    "langfuse.observation.input",
    "mlflow.spanOutputs",
    "gen_ai.prompt",
    "events",
    "input.value",
    "output.value",
    "traceloop.entity.output",
    "gcp.vertex.agent.llm_request",
]
FIELDS = [
    "role", "parts", "type", "content", "text", "messages", "prompt", "system", "input", "output", "choices",
    "message", "tool_calls", "function", "name", "arguments", "id", "contents", "generations", "kwargs", "data",
    "candidates", "toolUse", "toolResult", "function_call", "response", "update", "config", "event.name", "lc",
    "tool_call_id", "image_url", "source", "summary", "reasoningContent", "__proto__", "thought", "value",
]  # fmt: skip
VALUES = [
    "user", "assistant", "tool", "function", "human", "ai", "constructor", "text", "tool_call", "tool-result",
    "tool_use", "thinking", "image", "reasoning", "message", "function_call_output", "gen_ai.choice",
    "gen_ai.tool.message", "gen_ai.content.prompt",
]  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(VALUES),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=14,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from(KEYS), json_values.map(json.dumps) | words | st.text(max_size=9).map(repr)),
    st.sampled_from(["gen_ai", "pydantic_ai", "openinference"]),
    st.booleans(),
)
def test_no_content_fails_or_harms_its_neighbour(say, attributes, dialect, redact):
    bad, good = say([attributes, genai([USER], [ANSWER])], dialect=dialect, redact=redact)
    assert good.inputs == [USER] and good.outputs == [ANSWER]
    for message in [*bad.inputs, *bad.outputs]:
        assert isinstance(message["role"], str)
        assert all(isinstance(part["type"], str) for part in message["parts"])


def test_an_empty_batch_gives_empty_columns(read):
    found = read([])
    assert found.input_hashes.to_list() == found.output_hashes.to_list() == []
    assert found.bodies.num_rows == 0
