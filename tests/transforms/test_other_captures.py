"""Captures of libraries and versions other than those that the dialects were first written from."""

import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from schemas.arrow import RAW
from schemas.limits import LIMITS
from schemas.price_book import compile_book
from tests.transforms.folding import Chain, Run
from tests.transforms.records import raw
from tests.transforms.skeletons import SECOND
from transforms.billing.fold import BillSettings, make_bill
from transforms.observe import Observed, observe
from transforms.traces.fold import AssembleSettings, make_assemble

FOLDER = Path(__file__).parents[1] / "other_captures"
EXPECTED: dict[str, dict[str, Any]] = json.loads((FOLDER / "EXPECTED.json").read_text())


@cache
def observed() -> Observed:
    """All captures in one batch, each sent by an organisation of its own."""
    records = raw([(FOLDER / f"{name}.binpb").read_bytes() for name in EXPECTED])
    at = RAW.get_field_index("org")
    records = records.set_column(at, RAW.field(at), pa.array(list(EXPECTED), pa.string()))
    return observe(records, compile_book(), LIMITS, "test")


@cache
def sums() -> dict[str, dict[str, int]]:
    run = Chain(Run(make_assemble(AssembleSettings())), Run(make_bill(BillSettings())))
    run.send(observed().skeletons.to_pylist(), SECOND)
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in run.drain().usage().values():
        for column in (name for name in row if name.endswith("_tokens")):
            found[row["org"]][column] += row[column] or 0
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_the_ledger_has_what_the_library_passed_on_of_the_providers_counts(name: str) -> None:
    truth = EXPECTED[name]
    assert {column: sums()[name][column] for column in truth["sent"]} == truth["sent"]
    assert {column: sums()[name][column] for column in truth["not_sent"]} == dict.fromkeys(truth["not_sent"], 0)


def test_a_first_token_is_there_where_the_library_recorded_one_and_nowhere_else() -> None:
    spans = pl.DataFrame(pl.from_arrow(observed().tables["spans"].select(["org", "ttft_ns"])))
    found = set(spans.drop_nulls()["org"])
    assert found == {name for name, truth in EXPECTED.items() if truth["first_token"]}


def test_every_call_is_priced() -> None:
    spans = pl.DataFrame(pl.from_arrow(observed().tables["spans"].select(["org", "cost_status"])))
    assert set(spans["cost_status"]) <= {"priced", "none", "no_usage"}
