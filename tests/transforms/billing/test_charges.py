from datetime import UTC, datetime

import pyarrow as pa

from schemas.arrow import CHARGES, USAGE
from transforms.billing.charges import charges

ENTRY = {
    "entry": "reversal", "entry_id": "e1", "call_id": "c1", "response_id": "r1", "request_id": "q1", "version": 7,
    "time": datetime(2026, 3, 1, tzinfo=UTC), "input_tokens": -5, "output_tokens": None, "cost_nano": -9,
}  # fmt: skip


def test_budgets_hear_of_the_entries_of_each_organisation_apart() -> None:
    rows = pa.Table.from_pylist([{"org": org, "team": org, **ENTRY} for org in ("b", "a", "b")], schema=USAGE)
    told = dict(charges(rows))
    assert {org: found.num_rows for org, found in told.items()} == {"a": 1, "b": 2}
    [row] = told["a"].to_pylist()
    assert told["a"].schema == CHARGES
    assert (row["team"], row["entry_id"], row["request_id"], row["version"]) == ("a", "e1", "q1", 7)
    assert (row["input_tokens"], row["output_tokens"], row["cost_nano"]) == (-5, None, -9)
    assert row["time"] == int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 10**9


def test_no_entries_say_nothing() -> None:
    assert list(charges(USAGE.empty_table())) == []


def test_many_entries_are_told_in_pieces_so_that_decisions_come_between() -> None:
    entries = [{"org": "a", "team": "", **ENTRY, "entry_id": str(n)} for n in range(1_201)]
    pieces = list(charges(pa.Table.from_pylist(entries, schema=USAGE)))
    assert [(org, rows.num_rows) for org, rows in pieces] == [("a", 500), ("a", 500), ("a", 201)]
    assert pa.concat_tables([rows for _, rows in pieces])["entry_id"].to_pylist() == [str(n) for n in range(1_201)]
