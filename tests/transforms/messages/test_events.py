import json

import numpy as np


def text(role: str, content: str) -> dict:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


CALL = {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}


def test_span_events_are_messages_in_their_order_and_their_content_is_consumed(say, read, span):
    sent = span(
        {"gen_ai.system": "strands-agents"},
        (
            ("gen_ai.system.message", {"content": json.dumps([{"text": "terse"}])}),
            ("gen_ai.user.message", {"content": json.dumps([{"text": "hi"}])}),
            ("other", {"content": "not ours"}),
            (
                "gen_ai.assistant.message",
                {"content": json.dumps([{"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": 1}}}])},
            ),
            (
                "gen_ai.tool.message",
                {"content": json.dumps([{"toolResult": {"toolUseId": "c1", "content": [{"text": "rain"}]}}])},
            ),
            ("gen_ai.choice", {"message": json.dumps([{"text": "yes"}]), "finish_reason": "end_turn"}),
        ),
    )
    (said,) = say([sent], dialect="strands")
    answer = {"type": "tool_call_response", "id": "c1", "response": "rain"}
    assert said.inputs == [
        text("system", "terse"),
        text("user", "hi"),
        {"role": "assistant", "parts": [CALL]},
        {"role": "tool", "parts": [answer]},
    ]
    assert said.outputs == [text("assistant", "yes")]
    assert np.flatnonzero(~read([sent]).event_consumed).tolist() == [2, 6]


def test_openai_shaped_events_and_whole_bodies_are_read(say, span):
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    shaped, bodies = say(
        [
            span(
                {},
                (
                    ("gen_ai.tool.message", {"id": "c1", "content": '{"sky": "rain"}'}),
                    ("gen_ai.choice", {"message": json.dumps({"role": "assistant", "tool_calls": calls})}),
                ),
            ),
            span(
                {},
                (
                    ("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps([{"role": "user", "content": "hi"}])}),
                    ("gen_ai.content.completion", {"gen_ai.completion": "yes"}),
                ),
            ),
        ]
    )
    answer = {"type": "tool_call_response", "id": "c1", "response": '{"sky": "rain"}'}
    assert shaped.inputs == [{"role": "tool", "parts": [answer]}]
    assert shaped.outputs == [{"role": "assistant", "parts": [CALL]}]
    assert bodies.inputs == [text("user", "hi")] and bodies.outputs == [text("assistant", "yes")]


def test_pydantic_ai_events_are_split_into_what_went_in_and_what_came_out(say):
    events = [
        {"event.name": "gen_ai.system.message", "content": "terse", "role": "system"},
        {"event.name": "gen_ai.user.message", "content": "hi", "role": "user"},
        {"event.name": "gen_ai.choice", "index": 0, "message": {"role": "assistant", "content": "yes"}},
    ]
    own, other = say([{"events": json.dumps(events)}], dialect="pydantic_ai") + say([{"events": json.dumps(events)}])
    assert own.inputs == [text("system", "terse"), text("user", "hi")]
    assert own.outputs == [text("assistant", "yes")]
    assert other.inputs == other.outputs == [] and other.kept == {"events"}
