import json

import pytest


def text(role: str, content: str) -> dict:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def test_openinference_contents_keep_their_order_and_repeat_no_call(say):
    prefix = "llm.output_messages.0.message"
    (said,) = say(
        [
            {
                f"{prefix}.role": "assistant",
                f"{prefix}.contents.10.message_content.type": "text",
                f"{prefix}.contents.10.message_content.text": "last",
                f"{prefix}.contents.2.tool_call.id": "c1",
                f"{prefix}.contents.2.tool_call.function.name": "f",
                f"{prefix}.contents.2.tool_call.function.arguments": '{"a": 1}',
                f"{prefix}.contents.1.message_content.type": "text",
                f"{prefix}.contents.1.message_content.text": "first",
                f"{prefix}.contents.3.message_content.type": "image",
                f"{prefix}.contents.3.message_content.image.image.url": "https://x.test/a.png",
                f"{prefix}.tool_calls.0.tool_call.id": "c1",
                f"{prefix}.tool_calls.0.tool_call.function.name": "f",
                f"{prefix}.tool_calls.0.tool_call.function.arguments": '{"a": 1}',
                f"{prefix}.tool_calls.1.tool_call.id": "c2",
                f"{prefix}.tool_calls.1.tool_call.function.name": "g",
            }
        ],
        dialect="openinference",
    )
    assert said.outputs == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "first"},
                {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
                {"type": "uri", "modality": "image", "uri": "https://x.test/a.png"},
                {"type": "text", "content": "last"},
                {"type": "tool_call", "id": "c2", "name": "g"},
            ],
        }
    ]


def test_messages_come_in_the_order_of_their_numbers_not_of_their_digits(say):
    flat = {f"llm.input_messages.{n}.message.content": f"m{n}" for n in (10, 2, 0, 1)}
    (said,) = say([flat])
    assert said.inputs == [text("user", f"m{n}") for n in (0, 1, 2, 10)]


@pytest.mark.parametrize("index", ["9" * 30, "-1", "x", ""])
def test_a_key_with_an_impossible_number_is_no_content(say, index):
    key = f"llm.input_messages.{index}.message.content"
    (said,) = say([{key: "hi"}])
    assert said.inputs == [] and said.kept == {key}


def test_a_path_below_a_value_keeps_one_of_them_and_fails_nothing(say):
    prefix = "llm.input_messages.0.message"
    (said,) = say([{f"{prefix}.content": "hi", f"{prefix}.content.deeper": "x", f"{prefix}.tool_calls": "y"}])
    assert said.inputs == [text("user", "hi")]


def test_prompts_of_completions_and_inputs_of_embeddings_are_a_message_each(say):
    completion, embedding = say(
        [
            {"llm.prompts.0.prompt.text": "hi", "llm.choices.0.completion.text": "yes"},
            {f"embedding.embeddings.{n}.embedding.text": f"t{n}" for n in range(3)},
        ],
        dialect="openinference",
    )
    assert completion.inputs == [text("user", "hi")] and completion.outputs == [text("assistant", "yes")]
    assert embedding.inputs == [text("user", f"t{n}") for n in range(3)]


def test_an_ai_sdk_answer_is_one_message(say):
    (said,) = say(
        [
            {
                "ai.response.reasoning": "hm",
                "ai.response.text": "hi",
                "ai.response.toolCalls": json.dumps([{"toolCallId": "c1", "toolName": "f", "input": '{"a": 1}'}]),
            }
        ],
        dialect="ai_sdk",
    )
    assert said.outputs == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "hm"},
                {"type": "text", "content": "hi"},
                {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
            ],
        }
    ]


def test_old_traceloop_content_that_is_json_of_blocks_is_read(say):
    (said,) = say(
        [
            {
                "gen_ai.prompt.0.role": "user",
                "gen_ai.prompt.0.content": json.dumps([{"type": "text", "text": "hi"}]),
                "gen_ai.completion.0.content": "yes",
                "gen_ai.completion.0.finish_reason": "stop",
            }
        ],
        dialect="traceloop",
    )
    assert said.inputs == [text("user", "hi")] and said.outputs == [text("assistant", "yes")]
    assert said.kept == {"gen_ai.completion.0.finish_reason"}
