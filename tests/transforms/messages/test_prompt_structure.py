"""The version of a prompt that declares none: what keeps it and what changes it."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.limits import LIMITS
from schemas.price_book import compile_book
from tests.transforms.records import CAPTURES, raw
from tests.transforms.spans import Sent, request
from transforms.messages.prompt_structure import skeleton_of_text, skeleton_of_tools
from transforms.observe import observe

TOOL = {"type": "function", "name": "get_weather", "parameters": {"properties": {"city": {}, "days": {}}}}
words = st.sampled_from(["You", "are", "terse", "Answer", "in", "French", "always", "the", "customer"])


def chat(system: str | None = "You are terse.", user: str = "Hi", tools: Any = None, **more: Any) -> Sent:
    said = [{"role": "system", "parts": [{"type": "text", "content": system}]}] if system is not None else []
    said.append({"role": "user", "parts": [{"type": "text", "content": user}]})
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": json.dumps(said), **more}
    return Sent(attributes | ({"gen_ai.tool.definitions": json.dumps(tools)} if tools is not None else {}))


def versions(*sent: Sent) -> list[str]:
    tables = observe(raw([request(*sent)]), compile_book(), LIMITS, "test").tables
    return tables["spans"]["prompt_version"].to_pylist()


def test_the_same_instructions_and_tools_have_one_version_whatever_the_user_says():
    first, second = versions(chat(user="Hi", tools=[TOOL]), chat(user="Bye 12", tools=[TOOL]))
    assert first == second
    assert first.startswith("structure:")
    assert len(first) == len("structure:") + 16


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Today is 2026-11-27.", "Today is 2027-01-02."),
        ("It is Friday, November 27, 2026, 09:30 UTC.", "It is Monday, March 2, 2027, 17:05 UTC."),
        ("Session 3f2b8c1e-9d4a-4c7e-8f00-1a2b3c4d5e6f", "Session 00000000-9d4a-4c7e-8f00-1a2b3c4d5e6f"),
        ("Write to jane@example.com", "Write to joe.b+c@mail.example.org"),
        ("See https://a.example/x?y=1", "See https://b.example"),
        ("At most 5 items", "At most 12,000 items"),
        ("User  u_8812\nhas a plan", "user u_17 has a plan"),
        ("Write to jane@example.com", "Write to [redacted:email]"),
    ],
)
def test_values_that_a_program_fills_in_do_not_change_it(one, other):
    assert skeleton_of_text(one) == skeleton_of_text(other)


@settings(deadline=None)
@given(st.lists(words, min_size=2, max_size=12), st.data())
def test_another_word_of_the_instructions_changes_it(said, data):
    at = data.draw(st.integers(0, len(said) - 1))
    other = [*said[:at], "Spanish", *said[at + 1 :]]
    assert skeleton_of_text(" ".join(said)) != skeleton_of_text(" ".join(other))


@given(st.text(max_size=200))
def test_a_skeleton_is_its_own_skeleton(text):
    once = skeleton_of_text(text)
    assert skeleton_of_text(once) == once


@given(st.permutations([TOOL, {"type": "web_search"}, {"type": "function", "name": "add"}]))
def test_the_order_of_tools_and_what_they_say_of_themselves_do_not_change_it(tools):
    described = [tool | {"description": "another"} for tool in tools]
    assert skeleton_of_tools(described) == [["add"], ["get_weather", "city", "days"], ["web_search"]]


def test_another_tool_or_parameter_changes_it():
    renamed = TOOL | {"name": "get_forecast"}
    extended = TOOL | {"parameters": {"properties": {"city": {}, "days": {}, "unit": {}}}}
    found = versions(chat(), chat(tools=[TOOL]), chat(tools=[renamed]), chat(tools=[extended]), chat(system="Be kind."))
    assert len(set(found)) == 5


def test_a_declared_version_stays_and_without_instructions_and_tools_there_is_none():
    declared = chat(**{"gen_ai.prompt.name": "greeting", "gen_ai.prompt.version": "7"})
    assert versions(declared, chat(system=None), chat(system="")) == ["7", "", ""]


def test_only_instructions_that_open_the_conversation_count():
    said = [
        {"role": role, "parts": [{"type": "text", "content": text}]}
        for role, text in (("system", "You are terse."), ("user", "Hi"), ("system", "It rains now"))
    ]
    later = Sent({"gen_ai.operation.name": "chat", "gen_ai.input.messages": json.dumps(said)})
    assert versions(later) == versions(chat())


def test_a_prompt_has_the_same_version_through_different_libraries():
    names = ["langfuse/tool_call", "litellm/tool_call", "mlflow/tool_call", "otel-genai-openai/tool_call",
             "traceloop-openai/tool_call", "logfire-openai/tool_call", "langsmith/tool_call"]  # fmt: skip
    found = set()
    for name in names:
        spans = observe(raw([(CAPTURES / f"{name}.binpb").read_bytes()]), compile_book(), LIMITS, "test").tables[
            "spans"
        ]
        calls = pl.DataFrame(pl.from_arrow(spans.select(["kind", "prompt_version"]))).filter(pl.col("kind") == "llm")
        found |= set(calls["prompt_version"])
    assert len(found) == 1
    assert found.pop().startswith("structure:")
