"""The table of flags against the code that sets them."""

import re
from pathlib import Path

import polars as pl

from schemas.limits import LIMITS
from schemas.price_book import compile_book
from schemas.vocabulary.flags import flags
from tests.transforms.records import CAPTURES, raw
from transforms.observe import observe

TRANSFORMS = Path(__file__).parents[2] / "transforms"


def test_every_flag_of_the_captures_is_in_the_table_and_in_its_column():
    files = sorted(file for file in CAPTURES.rglob("*.binpb") if ".logs." not in file.name)
    spans = observe(raw([file.read_bytes() for file in files]), compile_book(), LIMITS, "test").tables["spans"]
    seen = {name: set(pl.Series(spans[name]).explode().drop_nulls()) for name in ("flags", "token_flags")}
    assert seen["flags"] <= flags().span.keys()
    assert seen["token_flags"] <= flags().tokens.keys()
    assert {"input_was_exclusive", "reasoning_counted_twice"} <= seen["token_flags"]


def test_every_flag_of_the_table_is_set_somewhere():
    words = set(re.findall(r"[a-z_]+_[a-z0-9_]+", "\n".join(file.read_text() for file in TRANSFORMS.rglob("*.py"))))
    named = flags().span.keys() | flags().tokens.keys()
    assert {name for name in named if name not in words} <= {"events_dropped", "links_dropped"}  # `<children>_dropped`


def test_an_invariant_names_flags_of_the_table():
    broken = {name for names in flags().invariants.values() for name in names}
    assert broken <= flags().span.keys() | flags().tokens.keys()
    assert all(flags().says(name) for name in broken)
