"""Every number of the captures tells where on its span it was read."""

from fnmatch import fnmatchcase
from functools import cache

import numpy as np
import orjson
import polars as pl

from schemas.dialects import dialects
from schemas.limits import LIMITS
from tests.transforms.records import CAPTURES, raw
from tests.transforms.spans import Sent, fact
from transforms.normalise.detect import signs
from transforms.normalise.origins import Origins
from transforms.normalise.spans import normalise
from transforms.otlp.decode import Decoded, decode

NUMBERS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_1h_tokens", "reasoning_tokens", "ttft_ns")


@cache
def captures() -> tuple[Decoded, pl.DataFrame]:
    files = sorted(file for file in CAPTURES.rglob("*.binpb") if ".logs." not in file.name)
    decoded = decode(raw([file.read_bytes() for file in files]), LIMITS)
    return decoded, normalise(decoded)


def names_of_spans(decoded: Decoded) -> list[set[str]]:
    """What an origin of each span may name."""
    names = [{"span:name", "span:scope"} for _ in range(decoded.spans.height)]
    for span, code in zip(decoded.attributes.owner, decoded.attributes.code, strict=True):
        names[span].add(decoded.attributes.keys[code])
    for span, event in decoded.events.select("span", "name").iter_rows():
        names[span].add(f"event:{event}")
    return names


def test_a_number_was_read_from_something_that_the_span_has():
    decoded, rows = captures()
    seen = set()
    for row, names in zip(rows.iter_rows(named=True), names_of_spans(decoded), strict=True):
        read_from = orjson.loads(row["read_from"])
        for column, origin in read_from.items():
            within = any(origin.startswith(f"{name}:") or fnmatchcase(name, origin) for name in names)
            assert within, (column, origin)
        numbers = {name for name in NUMBERS if row[name] is not None}
        assert numbers <= read_from.keys()
        seen |= numbers
    assert seen == set(NUMBERS)


def test_what_is_not_known_was_read_from_nothing():
    _, rows = captures()
    for row in rows.iter_rows(named=True):
        for column in orjson.loads(row["read_from"]):
            assert column not in row or row[column] is not None


def test_of_two_spellings_the_one_whose_value_holds_is_named():
    row = fact(Sent({"gen_ai.request.model": "gpt-4o", "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": -1,
                     "gen_ai.usage.prompt_tokens": 7, "gen_ai.usage.output_tokens": 3}))  # fmt: skip
    assert row["input_tokens"] == 7
    assert orjson.loads(row["read_from"])["input_tokens"] == "gen_ai.usage.prompt_tokens"


def test_a_key_found_by_its_pattern_is_named_itself_and_redacted():
    sent = {"jane@example.com/prompt_tokens": 7, "llm.model": "gpt-4o", "vendor.completion_tokens": 3}
    read_from = orjson.loads(fact(Sent(sent))["read_from"])
    assert read_from["output_tokens"] == "vendor.completion_tokens"
    assert read_from["input_tokens"] == "[redacted:email]/prompt_tokens"


def test_the_first_of_several_fields_that_was_read_is_the_origin():
    origins = Origins(3)
    origins.note("a", np.array([0]), origins.code("first"))
    origins.note("b", np.array([0, 1]), origins.code("second"))
    assert origins.texts({"x": origins.of("a", "b")}).to_list() == ['{"x":"first"}', '{"x":"second"}', "{}"]


def test_every_span_shows_a_sign_of_the_dialect_that_it_is_read_by():
    decoded, rows = captures()
    known = {one.name: one for one in dialects()}
    attributes: list[dict[str, str]] = [{} for _ in range(rows.height)]
    texts = decoded.attributes.texts.to_list()
    for at, (span, code) in enumerate(zip(decoded.attributes.owner, decoded.attributes.code, strict=True)):
        attributes[span][decoded.attributes.keys[code]] = texts[at]
    scopes = decoded.spans["scope"].to_list()
    unsigned = {
        name
        for name, scope, own in zip(rows["dialect"], scopes, attributes, strict=True)
        if not signs(known[name], scope, own)
    }
    assert unsigned <= {"plain"}
