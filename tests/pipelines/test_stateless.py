from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.stateless import FACTS, observe_records, split_by_bucket, trace_buckets
from schemas.arrow import RAW, TABLES
from schemas.limits import LIMITS
from schemas.price_book import PriceBook, compile_book

CAPTURES = Path(__file__).parent.parent / "captures"


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return compile_book()


def _raw(*orgs: str | None) -> pa.Table:
    bodies = [path.read_bytes() for path in sorted(CAPTURES.glob("*/chat_stream.binpb"))]
    rows = [
        {
            "topic": "spans.raw",
            "partition": 0,
            "offset": offset,
            "org": org,
            "team": "",
            "key_id": "",
            "signal": "traces",
            "redact": True,
            "received_at": 1_790_000_000_000_000_000,
            "body": bodies[offset % len(bodies)],
        }
        for offset, org in enumerate(orgs)
    ]
    return pa.Table.from_pylist(rows, RAW)


def test_a_record_without_an_org_is_a_dead_letter_and_the_others_are_observed(book):
    observed = observe_records(_raw("acme", "", "acme", None), book, LIMITS, "1.2.3")
    letters = observed.tables["dead_letters"].to_pylist()
    assert [(row["error"], row["step"], row["offset"], row["org"]) for row in letters] == [
        ("MissingTenant", "source", 1, ""),
        ("MissingTenant", "source", 3, ""),
    ]
    assert all(row["raw"] and row["code_version"] == "1.2.3" for row in letters)
    counts = {row["offset"]: row for row in observed.tables["requests"].to_pylist()}
    assert sorted(counts) == [0, 1, 2, 3]
    for row in counts.values():
        assert row["received"] == row["written"] + row["dead_lettered"]
    assert [counts[offset]["dead_lettered"] for offset in range(4)] == [0, 1, 0, 1]
    assert set(observed.tables["spans"]["org"].to_pylist()) == {"acme"}
    assert set(observed.skeletons["org"].to_pylist()) == {"acme"}


@pytest.mark.parametrize("orgs", [(), ("",), ("acme",)])
def test_every_table_has_its_schema_whatever_came(book, orgs):
    observed = observe_records(_raw(*orgs), book, LIMITS, "1.2.3")
    assert set(observed.tables) == set(FACTS)
    for name, rows in observed.tables.items():
        assert rows.schema.equals(TABLES[name])


def test_buckets_share_out_the_skeletons_by_trace(book):
    skeletons = observe_records(_raw(*["acme"] * 12), book, LIMITS, "1.2.3").skeletons
    parts = dict(split_by_bucket(skeletons, trace_buckets(skeletons, 4)))
    assert len(parts) > 1
    assert sum(rows.num_rows for rows in parts.values()) == skeletons.num_rows
    for bucket, rows in parts.items():
        assert set(trace_buckets(rows, 4).tolist()) == {bucket}
    nothing = skeletons.slice(0, 0)
    assert list(split_by_bucket(nothing, trace_buckets(nothing, 4))) == []
