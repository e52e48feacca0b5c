import json

import pytest

from transforms.messages.json_text import NotJson, make_load
from transforms.messages.openai_json import parse_body, parse_texts

LOAD = make_load(100, exact=False, deep=False)


def text(role: str, content: str) -> dict:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


CALL = {"type": "tool_call", "id": "c1", "name": "get_weather", "arguments": {"city": "Lima"}}
ANSWER = {"type": "tool_call_response", "id": "c1", "response": "rain"}

BODIES = {
    "OpenAI chat request": (
        {
            "model": "gpt-4o",
            "messages": [
                {"role": "developer", "content": "terse"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": '{"city": "Lima"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "rain"},
            ],
        },
        [
            text("developer", "terse"),
            text("user", "hi"),
            {"role": "assistant", "parts": [CALL]},
            {"role": "tool", "parts": [ANSWER]},
        ],
    ),
    "OpenAI chat answer": (
        {"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}]},
        [text("assistant", "hi")],
    ),
    "OpenAI completion answer": ({"choices": [{"text": "hi"}]}, [text("assistant", "hi")]),
    "Responses request": (
        {
            "instructions": "terse",
            "input": [
                {"role": "user", "content": "hi"},
                {
                    "type": "function_call",
                    "call_id": "c1",
                    "id": "fc_1",
                    "name": "get_weather",
                    "arguments": '{"city": "Lima"}',
                },
                {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            ],
        },
        [
            text("system", "terse"),
            text("user", "hi"),
            {"role": "assistant", "parts": [CALL]},
            {"role": "tool", "parts": [ANSWER]},
        ],
    ),
    "Responses answer": (
        {
            "object": "response",
            "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
                {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city":"Lima"}'},
            ],
        },
        [
            {
                "role": "assistant",
                "parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": "hi"}, CALL],
            }
        ],
    ),
    "Anthropic request": (
        {
            "system": [{"type": "text", "text": "terse", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Lima"}},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "rain"}]},
            ],
        },
        [
            text("system", "terse"),
            text("user", "hi"),
            {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, CALL]},
            {"role": "tool", "parts": [ANSWER]},
        ],
    ),
    "Anthropic answer": (
        {"id": "msg", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "hi"}]},
        [text("assistant", "hi")],
    ),
    "Gemini request": (
        {
            "model": "gemini",
            "config": {"system_instruction": "terse"},
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {
                    "role": "model",
                    "parts": [{"function_call": {"id": "c1", "name": "get_weather", "args": {"city": "Lima"}}}],
                },
                {"role": "user", "parts": [{"function_response": {"id": "c1", "response": "rain"}}]},
            ],
        },
        [
            text("system", "terse"),
            text("user", "hi"),
            {"role": "assistant", "parts": [CALL]},
            {"role": "tool", "parts": [ANSWER]},
        ],
    ),
    "Gemini answer of ADK": (
        {"content": {"parts": [{"text": "hm", "thought": True}, {"text": "hi"}], "role": "model"}},
        [{"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": "hi"}]}],
    ),
    "Gemini answer": (
        {"candidates": [{"content": {"parts": [{"text": "hi"}], "role": "model"}}]},
        [text("assistant", "hi")],
    ),
    "LangChain request": (
        {
            "messages": [
                [{"lc": 1, "type": "constructor", "id": ["HumanMessage"], "kwargs": {"content": "hi", "type": "human"}}]
            ]
        },
        [text("user", "hi")],
    ),
    "LangChain answer": (
        {
            "generations": [
                [
                    {
                        "text": "",
                        "message": {
                            "lc": 1,
                            "type": "constructor",
                            "id": ["AIMessage"],
                            "kwargs": {
                                "content": "",
                                "type": "ai",
                                "tool_calls": [
                                    {"name": "get_weather", "args": {"city": "Lima"}, "id": "c1", "type": "tool_call"}
                                ],
                            },
                        },
                    }
                ]
            ]
        },
        [{"role": "assistant", "parts": [CALL]}],
    ),
    "LangChain chunk by class": (
        [{"type": "AIMessageChunk", "content": "hi"}],
        [text("assistant", "hi")],
    ),
    "LangGraph pairs": ({"messages": [["user", "hi"], ["ai", "yes"]]}, [text("user", "hi"), text("assistant", "yes")]),
    "LangGraph command": (
        [{"graph": None, "update": {"messages": [{"type": "ai", "content": "hi"}]}}],
        [text("assistant", "hi")],
    ),
    "AI SDK prompt": ({"system": "terse", "prompt": "hi"}, [text("system", "terse"), text("user", "hi")]),
    "AI SDK messages": (
        [
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool-call", "toolCallId": "c1", "toolName": "get_weather", "input": {"city": "Lima"}}
                ],
            },
            {
                "role": "tool",
                "content": [{"type": "tool-result", "toolCallId": "c1", "output": {"type": "text", "value": "rain"}}],
            },
        ],
        [text("user", "hi"), {"role": "assistant", "parts": [CALL]}, {"role": "tool", "parts": [ANSWER]}],
    ),
    "texts to embed": ({"model": "m", "input": ["a", "b"], "dimensions": 24}, [text("user", "a"), text("user", "b")]),
    "an image by address": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]}],
        [{"role": "user", "parts": [{"type": "uri", "modality": "image", "uri": "https://x.test/a.png"}]}],
    ),
    "an image inside": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]}],
        [
            {
                "role": "user",
                "parts": [{"type": "blob", "modality": "image", "mime_type": "image/png", "content": "aGk="}],
            }
        ],
    ),
    "an unknown block": (
        [{"role": "user", "content": [{"type": "hologram", "beam": 1}]}],
        [{"role": "user", "parts": [{"type": "hologram", "beam": 1}]}],
    ),
}


@pytest.mark.parametrize("name", list(BODIES))
def test_a_known_body_gives_its_messages(name):
    body, wanted = BODIES[name]
    assert parse_body(json.dumps(body), LOAD, "user" if "answer" not in name else "assistant") == wanted


@pytest.mark.parametrize(
    "body",
    [
        '{"city": "Lima", "days": 6}',
        '{"messages": 5}',
        '{"choices": {"a": 1}}',
        '{"output": [{"id": 7}], "prompt": {"q": 1}}',
        "[1, 2, 3]",
        '[{"id": "d1", "text": "aaa", "score": 0.9}]',
        '{"messages": [{"type": "human", "content": "hi"}, 7]}',
        "plain text",
        "7",
    ],
)
def test_a_body_without_messages_is_one_text_as_it_was_sent(body):
    assert parse_body(body, LOAD, "user") == [text("user", body)]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ('"Marmalade."', "Marmalade."),
        (json.dumps('{"city": "Lima"}'), '{"city": "Lima"}'),
        (json.dumps(json.dumps([{"role": "assistant", "content": "hi"}])), "hi"),
    ],
)
def test_a_body_that_was_encoded_twice_is_read_twice(body, wanted):
    assert parse_body(body, LOAD, "assistant") == [text("assistant", wanted)]


def test_a_body_that_is_cut_is_refused():
    with pytest.raises(NotJson):
        parse_body('{"messages": [{"role": "us', LOAD, "user")


def test_texts_to_embed_may_each_be_json_of_a_text():
    assert parse_texts(json.dumps(['"a"', "b", '"cut', 5]), LOAD, "user") == [
        text("user", "a"),
        text("user", "b"),
        text("user", '"cut'),
    ]
