import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FAST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
USER = {"role": "user", "parts": [{"type": "text", "content": "Weather in Lima?"}]}
ANSWER = {"role": "assistant", "parts": [{"type": "text", "content": "Light rain."}]}


def genai(inputs: list[dict], outputs: list[dict] | None = None) -> dict[str, str]:
    """Attributes of a span in the GenAI conventions' spelling."""
    attributes = {"gen_ai.input.messages": json.dumps(inputs)}
    return attributes if outputs is None else {**attributes, "gen_ai.output.messages": json.dumps(outputs)}


def openinference(inputs: list[dict]) -> dict[str, str]:
    """The same conversation in OpenInference's flattened spelling."""
    flat = {}
    for number, message in enumerate(inputs):
        prefix = f"llm.input_messages.{number}.message"
        flat[f"{prefix}.role"] = message["role"]
        calls = [part for part in message["parts"] if part["type"] == "tool_call"]
        for place, part in enumerate(calls):
            call = f"{prefix}.tool_calls.{place}.tool_call"
            flat[f"{call}.id"] = part["id"]
            flat[f"{call}.function.name"] = part["name"]
            flat[f"{call}.function.arguments"] = json.dumps(part["arguments"])
        for part in message["parts"]:
            if part["type"] == "text":
                flat[f"{prefix}.content"] = part["content"]
            if part["type"] == "tool_call_response":
                flat[f"{prefix}.tool_call_id"] = part["id"]
                flat[f"{prefix}.content"] = part["response"]
    return flat


def traceloop(inputs: list[dict]) -> dict[str, str]:
    """The same conversation as OpenLLMetry 0.40 flattened it."""
    flat = {}
    for number, message in enumerate(inputs):
        prefix = f"gen_ai.prompt.{number}"
        flat[f"{prefix}.role"] = message["role"]
        calls = [part for part in message["parts"] if part["type"] == "tool_call"]
        for place, part in enumerate(calls):
            call = f"{prefix}.tool_calls.{place}"
            flat[f"{call}.id"] = part["id"]
            flat[f"{call}.name"] = part["name"]
            flat[f"{call}.arguments"] = json.dumps(part["arguments"])
        for part in message["parts"]:
            if part["type"] == "text":
                flat[f"{prefix}.content"] = part["content"]
            if part["type"] == "tool_call_response":
                flat[f"{prefix}.tool_call_id"] = part["id"]
                flat[f"{prefix}.content"] = part["response"]
    return flat


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
ids = st.text("abc123_", min_size=1, max_size=8)
# Content that is itself the JSON of a list of blocks is a known ambiguity of the old flattened spelling.
plain = words.filter(lambda text: text.lstrip()[:1] not in ("[", "{"))
texts = st.builds(
    lambda role, content: {"role": role, "parts": [{"type": "text", "content": content}]},
    st.sampled_from(["system", "user", "assistant", "developer"]),
    plain,
)
arguments = st.dictionaries(words, st.integers(-(2**40), 2**40) | words | st.booleans() | st.none(), max_size=3)
calls = st.builds(
    lambda name, call_ids, argument: {
        "role": "assistant",
        "parts": [{"type": "tool_call", "id": call_id, "name": name, "arguments": argument} for call_id in call_ids],
    },
    ids,
    st.lists(ids, min_size=1, max_size=12, unique=True),
    arguments,
)
responses = st.builds(
    lambda call_id, text: {
        "role": "tool",
        "parts": [{"type": "tool_call_response", "id": call_id, "response": text}],
    },
    ids,
    plain,
)
conversations = st.lists(texts | calls | responses, min_size=1, max_size=13)


@FAST
@given(conversations)
def test_three_dialects_that_say_the_same_give_the_same_hashes(say, conversation):
    said = say([genai(conversation), openinference(conversation), traceloop(conversation)])
    assert said[0].inputs == conversation
    assert said[0].input_hashes == said[1].input_hashes == said[2].input_hashes


def test_a_conversation_that_resends_its_history_is_stored_once(read, span):
    turns = [{"role": "user", "parts": [{"type": "text", "content": f"turn {n}"}]} for n in range(20)]
    found = read([span(genai(turns[: n + 1])) for n in range(20)])
    assert found.bodies.num_rows == 20
    hashes = found.input_hashes.to_list()
    assert [len(item) for item in hashes] == list(range(1, 21))
    assert all(later[: len(item)] == item for item, later in zip(hashes, hashes[1:], strict=False))


@FAST
@given(conversations, st.sampled_from([(",", ":"), (", ", ": ")]))
def test_an_array_read_message_by_message_says_what_it_says_when_it_is_read_as_a_whole(say, conversation, separators):
    text = json.dumps(conversation, separators=separators)
    apart, whole = say([{"gen_ai.input.messages": text}, {"gen_ai.input.messages": f" {text}"}])
    assert apart.inputs == whole.inputs == conversation


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_messages_within_the_arguments_of_a_call_do_not_take_the_array_apart(say, separators):
    said = [{"role": "user"}, {"role": "tool", "parts": []}, {"role": "user"}]
    call = {"type": "tool_call", "id": "c", "name": "f", "arguments": {"messages": said}}
    conversation = [USER, {"role": "assistant", "parts": [call]}, ANSWER]
    (found,) = say([{"gen_ai.input.messages": json.dumps(conversation, separators=separators)}])
    assert found.inputs == conversation


def test_a_message_without_parts_or_role_is_read_with_its_array(say):
    chat = [{"role": "user", "content": "Weather in Lima?"}, {"role": "assistant", "content": "Light rain."}]
    nobody = [{"role": "", "parts": USER["parts"]}]
    said, answered = say([genai(chat), genai(nobody, nobody)])
    assert said.inputs == [USER, ANSWER]
    assert [answered.inputs[0]["role"], answered.outputs[0]["role"]] == ["user", "assistant"]


def test_an_answer_is_the_same_message_when_it_is_resent_without_its_finish_reason(say):
    first, second = say([genai([USER], [{**ANSWER, "finish_reason": "stop"}]), genai([USER, ANSWER, USER])])
    assert first.output_hashes == second.input_hashes[1:2]


def test_two_organisations_never_share_a_hash(read, span):
    found = read([span(genai([USER]), org="acme"), span(genai([USER]), org="globex")])
    one, other = found.input_hashes.to_list()
    assert one != other
    assert {row["org"]: row["hash"] for row in found.bodies.to_pylist()} == {"acme": one[0], "globex": other[0]}


@FAST
@given(st.lists(conversations, min_size=1, max_size=5), st.randoms())
def test_hashes_do_not_depend_on_the_batch(say, batch, random):
    alone = {json.dumps(item): say([genai(item)])[0].input_hashes for item in batch}
    random.shuffle(batch)
    for item, said in zip(batch, say([genai(item) for item in batch]), strict=True):
        assert said.input_hashes == alone[json.dumps(item)]


def test_system_instructions_are_the_first_input_message_and_not_repeated(say):
    parts = [{"type": "text", "content": "Be terse."}]
    system = {"role": "system", "parts": parts}
    apart, twice = say(
        [
            {**genai([USER]), "gen_ai.system_instructions": json.dumps(parts)},
            {**genai([system, USER]), "gen_ai.system_instructions": json.dumps(parts)},
        ]
    )
    assert apart.inputs == [system, USER]
    assert twice.input_hashes == apart.input_hashes


def test_content_leaves_the_attributes_and_everything_else_stays(say):
    (said,) = say(
        [
            {
                **genai([USER], [ANSWER]),
                "gen_ai.request.model": "gpt-4o",
                "input.value": "the same again",
                "gen_ai.tool.name": "get_weather",
            }
        ]
    )
    assert said.kept == {"gen_ai.request.model", "gen_ai.tool.name"}


def test_content_that_cannot_be_read_as_any_message_stays_an_attribute(say):
    (said,) = say([{"gen_ai.input.messages": "[]", "gen_ai.output.messages": '[{"role":"assistant","parts":[]}]'}])
    assert said.inputs == said.outputs == []
    assert said.kept == {"gen_ai.input.messages", "gen_ai.output.messages"}


def test_a_set_without_content_gives_way_to_the_next(say):
    (said,) = say(
        [
            {
                "gen_ai.output.messages": '[{"role": "assistant", "parts": [], "finish_reason": "tool_calls"}]',
                "gen_ai.completion.0.function_call.name": "get_weather",
                "gen_ai.completion.0.function_call.arguments": '{"city": "Hobart"}',
            }
        ],
        dialect="litellm",
    )
    call = {"type": "tool_call", "name": "get_weather", "arguments": {"city": "Hobart"}}
    assert said.outputs == [{"role": "assistant", "parts": [call]}]


def test_a_tool_span_gives_the_call_and_the_answer_of_the_chat_spans_around_it(say):
    call = {"type": "tool_call", "id": "c1", "name": "get_weather", "arguments": {"city": "Lima"}}
    answer = {"type": "tool_call_response", "id": "c1", "response": '{"sky": "rain"}'}
    chat, tool = say(
        [
            genai([{"role": "user", "parts": [answer]}], [{"role": "assistant", "parts": [call]}]),
            {
                "gen_ai.tool.name": "get_weather",
                "gen_ai.tool.call.id": "c1",
                "gen_ai.tool.call.arguments": '{"city": "Lima"}',
                "gen_ai.tool.call.result": '{"sky": "rain"}',
            },
        ]
    )
    assert tool.input_hashes == chat.output_hashes
    assert tool.output_hashes == chat.input_hashes
    assert chat.inputs[0]["role"] == "tool"
    assert tool.kept == {"gen_ai.tool.name", "gen_ai.tool.call.id"}


CARD = "4111 1111 1111 1111"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "content": f"my card is {CARD}"},
        {"type": "text", "content": f"my card:\n{CARD}\n"},
        {"type": "tool_call", "id": "c", "name": "pay", "arguments": {"card": CARD}},
        {"type": "tool_call", "id": "c", "name": "pay", "arguments": {"card": 4111111111111111}},
        {"type": "tool_call", "id": "c", "name": "pay", "arguments": {CARD: [{"deep": CARD}]}},
        {"type": "tool_call_response", "id": "c", "response": f"charged {CARD}"},
    ],
)
def test_redaction_runs_before_the_hash_and_sees_texts_as_they_were_said(say, read, span, part):
    message = {"role": "assistant", "parts": [part]}
    clear, hidden = (say([genai([message])], redact=on)[0] for on in (False, True))
    assert clear.inputs == [message]
    told = json.dumps(hidden.inputs)
    assert "1111" not in told and len(hidden.inputs) == 1
    assert hidden.input_hashes != clear.input_hashes
    assert "1111" not in json.dumps(read([span(genai([message]))], redact=True).bodies.to_pylist())


def test_redaction_that_makes_two_names_equal_keeps_both_values(say):
    call = {"type": "tool_call", "id": "c", "name": "f", "arguments": {CARD: 1, "5500 0055 5555 5559": 2}}
    (said,) = say([genai([{"role": "assistant", "parts": [call]}])], redact=True)
    assert sorted(said.inputs[0]["parts"][0]["arguments"].values()) == [1, 2]
