import json
from dataclasses import replace
from functools import cache
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.encodings import encoding
from schemas.limits import LIMITS, Limits
from schemas.price_book import compile_book
from tests.transforms.records import CAPTURES, raw
from tests.transforms.spans import Sent, decoded, request
from transforms.messages import messages
from transforms.normalise.count_text import TokenCache
from transforms.normalise.missing_tokens import fill_missing
from transforms.normalise.spans import normalise
from transforms.observe import observe

NO_USAGE = sorted(path for path in CAPTURES.glob("*/chat_stream_nousage.binpb"))
FACTS = ["input_tokens", "output_tokens", "token_source"]
TOOLS = '[{"name":"get_weather","parameters":{"type":"object"}}]'


def said(role: str, *parts: Any) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": p} if isinstance(p, str) else p for p in parts]}


def call(model: str = "gpt-4o", asked: Any = "Hello!", answered: Any = "Hi there", **more: Any) -> dict[str, Any]:
    """The attributes of a chat call without usage; `asked` and `answered` are what a message says, None for nothing."""
    sent: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    if asked is not None:
        sent["gen_ai.input.messages"] = json.dumps([said("user", asked)])
    if answered is not None:
        sent["gen_ai.output.messages"] = json.dumps([said("assistant", answered)])
    return sent | {key.replace("__", "."): value for key, value in more.items()}


def fill(*sent: Sent, limits: Limits = LIMITS, seen: TokenCache | None = None) -> list[dict[str, Any]]:
    batch = decoded(request(*sent))
    facts = normalise(batch)
    filled = fill_missing(facts, messages(batch, facts, limits), batch, TokenCache(0) if seen is None else seen)
    assert filled.schema == facts.schema
    return filled.to_dicts()


def one(attributes: dict[str, Any], **sent: Any) -> dict[str, Any]:
    return fill(Sent(attributes, **sent))[0]


def tokens(text: str, name: str = "o200k_base") -> int:
    return len(encoding(name).encode_ordinary(text))


def counted_flags(row: dict[str, Any]) -> list[str]:
    return [flag for flag in row["token_flags"] if flag.endswith("_counted") or flag == "tokens_incomplete"]


def test_a_call_without_usage_is_counted_with_the_encoding_of_its_model() -> None:
    row = one(call("gpt-4o-mini"))
    assert [row[name] for name in FACTS] == [3 + 1 + 2 + 3, 2, "counted"]
    assert row["token_flags"] == ["input_tokens_counted", "output_tokens_counted"]


def test_the_model_that_answered_decides() -> None:
    arabic = "عاصمة المغرب هي الرباط."
    row = one(call("gpt-4o", answered=arabic) | {"gen_ai.response.model": "gpt-4-0613"})
    assert row["output_tokens"] == tokens(arabic, "cl100k_base") != tokens(arabic)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"gen_ai.usage.input_tokens": 70}, [70, 2, "counted"]),
        ({"gen_ai.usage.output_tokens": 30}, [9, 30, "counted"]),
        ({"gen_ai.usage.input_tokens": 70, "gen_ai.usage.output_tokens": 30}, [70, 30, "reported"]),
    ],
)
def test_only_the_side_that_was_not_sent_is_counted(sent: dict[str, int], expected: list[Any]) -> None:
    row = one(call() | sent)
    assert [row[name] for name in FACTS] == expected
    sides = [side for side in ("input", "output") if f"gen_ai.usage.{side}_tokens" not in sent]
    assert counted_flags(row) == [f"{side}_tokens_counted" for side in sides]


def test_a_call_that_failed_is_never_counted() -> None:
    row = one(call(), failed=True)
    assert [row[name] for name in FACTS] == [None, None, None]
    assert counted_flags(row) == []


def test_a_call_without_content_stays_without_usage() -> None:
    row = one(call(asked=None, answered=None))
    assert [row[name] for name in FACTS] == [None, None, None]
    assert counted_flags(row) == []


def test_a_span_that_is_no_call_is_not_counted() -> None:
    row = one(call() | {"gen_ai.operation.name": "invoke_agent"})
    assert [row[name] for name in FACTS] == [None, None, None]


@pytest.mark.parametrize(
    ("asked", "answered", "expected"), [("Hello!", None, [9, None]), (None, "Hi there", [None, 2])]
)
def test_a_side_without_content_makes_the_call_incomplete(
    asked: Any, answered: Any, expected: list[int | None]
) -> None:
    row = one(call(asked=asked, answered=answered))
    assert [row[name] for name in FACTS] == [*expected, "estimated"]
    assert "tokens_incomplete" in row["token_flags"]


def test_another_tokeniser_is_estimated_by_its_ratio() -> None:
    text = "The Tagus runs past Lisbon and reaches the Atlantic a few kilometres west of the city."
    row = one(call("claude-sonnet-4-5", answered=text))
    assert (row["output_tokens"], row["token_source"]) == ((tokens(text) * 1200 + 500) // 1000, "estimated")
    assert counted_flags(row) == ["input_tokens_counted", "output_tokens_counted"]


def test_thoughts_that_are_billed_but_not_shown_make_an_output_incomplete() -> None:
    row = one(call("o4-mini"))
    assert (row["token_source"], "tokens_incomplete" in row["token_flags"]) == ("estimated", True)
    row = one(call("o4-mini") | {"gen_ai.usage.output_tokens": 300})
    assert (row["token_source"], "tokens_incomplete" in row["token_flags"]) == ("counted", False)


@pytest.mark.parametrize(
    ("offered", "texts"),
    [
        ({"gen_ai.tool.definitions": TOOLS}, [TOOLS]),
        ({"llm.tools.0.tool.json_schema": TOOLS, "llm.tools.1.tool.json_schema": "{}"}, [TOOLS, "{}"]),
        ({"llm.request.functions.0.name": "f", "llm.request.functions.0.parameters": "{}"}, ["f", "{}"]),
        ({"gen_ai.tool.definitions": TOOLS, "mlflow.chat.tools": "[1, 2, 3]"}, [TOOLS]),
    ],
)
def test_tools_are_counted_once_as_their_json_and_estimated(offered: dict[str, str], texts: list[str]) -> None:
    row = one(call() | offered)
    assert row["input_tokens"] == 9 + sum(tokens(text) for text in texts)
    assert row["token_source"] == "estimated"
    assert "tokens_incomplete" not in row["token_flags"]


def test_a_tool_call_is_counted_as_its_json_and_estimated() -> None:
    row = one(call(answered={"type": "tool_call", "id": "c1", "name": "f", "arguments": {"city": "Rome"}}))
    assert (row["output_tokens"], row["token_source"]) == (tokens("f") + tokens('{"city":"Rome"}'), "estimated")


def test_an_image_is_not_counted_as_text() -> None:
    row = one(
        call(asked={"type": "blob", "modality": "image", "mime_type": "image/png", "content": "iVBORw0KGgo" * 99})
    )
    assert (row["input_tokens"], row["token_source"]) == (3 + 1 + 3, "estimated")
    assert "tokens_incomplete" in row["token_flags"]


@pytest.mark.parametrize("limits", [replace(LIMITS, message_bytes=2_000), replace(LIMITS, messages_per_span=1)])
def test_a_call_that_is_not_stored_whole_is_counted_on_what_is_stored(limits: Limits) -> None:
    history = [said("user", "word " * 1_000), said("assistant", "ok"), said("user", "go on")]
    sent = call() | {"gen_ai.input.messages": json.dumps(history)}
    row, whole = fill(Sent(sent), limits=limits)[0], one(sent)
    assert 0 < row["input_tokens"] < whole["input_tokens"]
    assert (row["token_source"], whole["token_source"]) == ("estimated", "counted")
    assert "tokens_incomplete" in row["token_flags"]


def test_an_embedding_is_its_text_alone_and_has_no_output() -> None:
    sent = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "text-embedding-3-small"}
    sent |= {"gen_ai.input.messages": json.dumps([said("user", "Hello!"), said("user", "second text")])}
    row = one(sent | {"gen_ai.output.messages": json.dumps([said("assistant", "[0.1, 0.2]")])})
    assert [row[name] for name in FACTS] == [2 + 2, None, "counted"]
    assert counted_flags(row) == ["input_tokens_counted"]


def test_a_text_completion_has_no_chat_format() -> None:
    row = one(call("gpt-3.5-turbo-instruct") | {"gen_ai.operation.name": "text_completion"})
    assert row["input_tokens"] == tokens("Hello!", "cl100k_base")


def test_a_counted_output_gives_the_time_per_output_token() -> None:
    sent = call(answered="one two three") | {"gen_ai.response.time_to_first_chunk": 0.4}
    row = one(sent, duration_ms=1_000)
    assert (row["ttft_ns"], row["tpot_ns"]) == (400_000_000, 300_000_000)


def test_what_was_reported_in_the_captures_is_left_as_it_is() -> None:
    batch = decoded(*(path.read_bytes() for path in sorted(CAPTURES.glob("*/*.binpb")) if "logs" not in path.name))
    facts = normalise(batch)
    filled = fill_missing(facts, messages(batch, facts, LIMITS), batch, TokenCache(0))
    assert filled.filter(facts["token_source"].is_not_null()).equals(facts.filter(facts["token_source"].is_not_null()))
    added = filled.filter(filled["token_source"].is_not_null() & facts["token_source"].is_null())
    assert added["token_source"].unique().to_list() == ["counted"]
    assert (added.height, len(NO_USAGE)) == (5, 6)  # one library sends an estimate of its own


@pytest.mark.parametrize("path", NO_USAGE, ids=lambda path: path.parent.name)
def test_a_captured_stream_without_usage_has_tokens_and_a_cost(path: Any) -> None:
    spans = pl.DataFrame(observe(raw([path.read_bytes()]), compile_book(), LIMITS, "").tables["spans"].to_pylist())
    (row,) = spans.filter(pl.col("kind") == "llm").to_dicts()
    assert row["token_source"] in ("counted", "estimated")
    assert row["input_tokens"] > 0 and row["output_tokens"] > 0
    assert (row["cost_status"], row["cost_nano"] > 0) == ("priced", True)


CALLS = [
    Sent(call()),
    Sent(call("claude-sonnet-4-5", asked="Bonjour")),
    Sent(call("gpt-4", answered="Bonjour")),
    Sent(call("gpt-4o", asked="Bonjour") | {"gen_ai.tool.definitions": TOOLS}),
    Sent(call(), failed=True),
    Sent(call() | {"gen_ai.usage.input_tokens": 5}),
]


@cache
def alone() -> list[dict[str, Any]]:
    return [fill(sent)[0] for sent in CALLS]


@settings(deadline=None, max_examples=20)
@given(order=st.lists(st.integers(0, len(CALLS) - 1), min_size=1, max_size=8), entries=st.integers(0, 4))
def test_neither_batch_nor_order_nor_cache_changes_a_count(order: list[int], entries: int) -> None:
    seen = TokenCache(entries)
    expected = [alone()[number] for number in order]
    for _ in range(2):
        assert fill(*(CALLS[number] for number in order), seen=seen) == expected
