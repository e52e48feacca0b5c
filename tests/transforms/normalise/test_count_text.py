import json
import random
from typing import Any

import polars as pl
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.encodings import encoding, encodings
from transforms.normalise.count_text import LONGEST_PIECE, LONGEST_RUN, TokenCache, count_tokens, segments, text_tokens

NAMES = ["o200k_base", "cl100k_base"]
SPECIAL = ["<|endoftext|>", "<|fim_prefix|>", "<|endofprompt|>", "<|im_start|>"]
WORDS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        [*SPECIAL, " ", "\n\n", "don't", "2024-01-01", "هل", "日本語", "👍🏽", "e\u0301", "/\n/\n", "\t\t  "]
    ),
)
# runs beyond the bound, of all that a pattern can take in one piece, among shorter ones
RUNS = st.lists(
    st.tuples(
        st.sampled_from(["a", "A", "é", "語", "'s", "^", "/", "\n", " ", "\t", "/\n", "7", "x,", "\u0301", " a"])
    ).flatmap(lambda one: st.integers(1, 3 * LONGEST_RUN).map(lambda times: one[0] * times)),
    max_size=4,
).map("".join)


def message(*parts: dict[str, Any], role: str = "user", **more: str) -> str:
    return json.dumps({"role": role, "parts": list(parts), **more})


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "content": content}


def count(body: str, name: str = "o200k_base") -> dict[str, Any]:
    bodies = pl.DataFrame({"hash": ["h"], "body": [body]})
    return count_tokens(bodies, name, TokenCache(0)).to_dicts()[0]


def pieces(part: str, name: str) -> list[str]:
    """What the pattern of an encoding splits a text into, before any merge."""
    return [found.group() for found in regex.finditer(encodings().definitions[name].pattern, part)]


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(words=st.lists(WORDS, max_size=30))
def test_counts_are_those_of_tiktoken(name: str, words: list[str]) -> None:
    said = "".join(words)
    assert text_tokens(said, encoding(name)) == (len(encoding(name).encode(said, disallowed_special=())), True)


@pytest.mark.parametrize("special", SPECIAL)
def test_special_tokens_in_a_text_are_plain_text(special: str) -> None:
    tokens, exact = text_tokens(f"say {special}", encoding("o200k_base"))
    assert tokens > 4
    assert exact


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(said=RUNS)
def test_no_piece_is_longer_than_the_bound(name: str, said: str) -> None:
    parts, exact = segments(said)
    assert "".join(parts) == said
    assert max((len(piece) for part in parts for piece in pieces(part, name)), default=0) <= LONGEST_PIECE
    if exact and len(said) < 5 * LONGEST_RUN:
        assert text_tokens(said, encoding(name))[0] == len(encoding(name).encode_ordinary(said))


@pytest.mark.parametrize("one", ["a", " ", "\t", "^", "/\n"])
def test_a_run_without_a_place_to_cut_is_one_piece_that_is_cut_all_the_same(one: str) -> None:
    said = one * (3 * LONGEST_RUN)
    assert max(map(len, pieces(said, "o200k_base"))) > LONGEST_PIECE
    parts, exact = segments(said)
    assert len(parts) >= 3
    assert not exact


def test_before_an_apostrophe_a_cut_is_not_exact() -> None:
    parts, exact = segments("don't" * LONGEST_RUN)
    assert (len(parts), exact) == (5, False)


@pytest.mark.parametrize("said", ["a" * 10**6, " " * 10**6 + "x", "\t" * 10**6, "/\n" * 5 * 10**5])
@pytest.mark.parametrize("name", NAMES)
def test_a_million_times_one_character_is_counted(name: str, said: str) -> None:
    tokens, exact = text_tokens(said, encoding(name))
    assert 1_000 < tokens < 10**6
    assert not exact


@pytest.mark.parametrize("name", NAMES)
def test_long_text_without_blanks_is_cut_where_it_changes_nothing(name: str) -> None:
    rows = [{"id": number, "it's": "Größe", "path": "/a/b"} for number in range(2_000)]
    said = json.dumps(rows, separators=(",", ":"), ensure_ascii=False).replace(" ", "")
    parts, exact = segments(said)
    assert (len(parts) > 10, exact) == (True, True)
    assert text_tokens(said, encoding(name))[0] == len(encoding(name).encode_ordinary(said))


def test_a_message_is_counted_by_the_rule_of_the_cookbook() -> None:
    """OpenAI's API reference answers this request with 19 prompt tokens: two messages, 3 for the reply."""
    system = count(message(text("You are a helpful assistant."), role="developer"))
    user = count(message(text("Hello!")))
    assert (system["content"], user["content"]) == (6, 2)
    assert system["content"] + system["framing"] + user["content"] + user["framing"] + 3 == 19
    assert system["exact"] and system["whole"]


def test_a_name_costs_its_text_and_one_token() -> None:
    named = count(message(text("hi"), name="bob"))
    assert named["framing"] == count(message(text("hi")))["framing"] + 1 + len(encoding("o200k_base").encode("bob"))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"type": "tool_call", "id": "1", "name": "f", "arguments": {"city": "Rome"}}, ["f", '{"city":"Rome"}']),
        ({"type": "tool_call", "name": "f", "arguments": "not json"}, ["f", "not json"]),
        ({"type": "tool_call_response", "id": "1", "response": "sunny"}, ["sunny"]),
        ({"type": "tool_call_response", "id": "1", "response": [{"a": 1}]}, ['[{"a":1}]']),
        ({"type": "tool_call_response", "id": "1"}, []),
        ({"type": "reasoning", "content": "let me think"}, ["let me think"]),
    ],
)
def test_tool_calls_results_and_thoughts_are_counted_as_text_but_not_exact(
    part: dict[str, Any], said: list[str]
) -> None:
    counted = count(message(part))
    assert counted["content"] == sum(len(encoding("o200k_base").encode(one)) for one in said)
    assert (counted["exact"], counted["whole"]) == (False, True)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "blob", "modality": "image", "content": "iVBORw0KGgo" * 1_000},
        {"type": "uri", "uri": "https://example.org/a.png"},
        {"type": "acme", "text": "?"},
        {"type": "text", "content": ["no", "text"]},
        {"type": "text"},
        {},
    ],
)
def test_what_is_no_text_is_left_out_and_said_to_be(part: dict[str, Any]) -> None:
    counted = count(message(text("look"), part))
    assert (counted["content"], counted["exact"], counted["whole"]) == (1, False, False)


def test_several_texts_in_a_message_are_not_exact() -> None:
    assert not count(message(text("one"), text("two")))["exact"]


BODIES = [message(text(f"message {number} " * (number + 1)), role="user") for number in range(8)]


@settings(deadline=None)
@given(
    entries=st.integers(0, 10),
    batches=st.lists(st.tuples(st.sampled_from(NAMES), st.sets(st.integers(0, 7))), max_size=12),
)
def test_a_cache_of_any_size_changes_no_result(entries: int, batches: list[tuple[str, set[int]]]) -> None:
    cache = TokenCache(entries)
    for name, numbers in batches:
        chosen = sorted(numbers)
        bodies = pl.DataFrame(
            {"hash": [f"h{n}" for n in chosen], "body": [BODIES[n] for n in chosen]},
            schema={"hash": pl.String, "body": pl.String},
        )
        assert count_tokens(bodies, name, cache).equals(count_tokens(bodies, name, TokenCache(0)))
        assert len(cache) <= entries


def test_a_message_in_the_cache_is_not_counted_again() -> None:
    cache = TokenCache(10)
    first = pl.DataFrame({"hash": ["h"], "body": [message(text("hello"))]})
    unreadable = pl.DataFrame({"hash": ["h"], "body": ["{"]})
    assert count_tokens(unreadable, "o200k_base", _filled(cache, first)).equals(
        count_tokens(first, "o200k_base", cache)
    )
    with pytest.raises(ValueError):
        count_tokens(unreadable, "cl100k_base", cache)


def test_what_was_not_used_for_longest_leaves_the_cache_first() -> None:
    cache = TokenCache(2)
    rows = [pl.DataFrame({"hash": [f"h{n}"], "body": [BODIES[n]]}) for n in range(3)]
    for number in (0, 1, 0, 2):
        count_tokens(rows[number], "o200k_base", cache)
    assert [cache.get(f"h{n}", "o200k_base") is not None for n in range(3)] == [True, False, True]


def test_random_prose_of_many_lengths_is_exact() -> None:
    chance = random.Random(7)
    words = ["the", "Straße", "río", "東京", "naïve", "x=1;", "--", "…", "\n", "42", "isn't", "\t"]
    for length in (10, 1_000, 30_000):
        said = " ".join(chance.choice(words) for _ in range(length))
        assert text_tokens(said, encoding("o200k_base")) == (len(encoding("o200k_base").encode(said)), True)


def _filled(cache: TokenCache, bodies: pl.DataFrame) -> TokenCache:
    count_tokens(bodies, "o200k_base", cache)
    return cache
