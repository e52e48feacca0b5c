import pyarrow as pa
import pytest

from pipelines.flink.measures import Measures, StoreMeasures
from schemas.arrow import DEAD_LETTERS, REQUESTS, SPANS, to_ipc
from tests.pipelines.flink.fakes import FakeGroup

NOW = 1_800_000_000 * 10**9


@pytest.fixture
def group() -> FakeGroup:
    return FakeGroup()


@pytest.fixture
def measures(group) -> StoreMeasures:
    return StoreMeasures(Measures(group), ("spans", "requests"), lambda: NOW)


def _requests(*rows: tuple[str, int, int, int]) -> bytes:
    """signal, ms ago, written, dead_lettered"""
    made = [
        {"topic": "spans.raw", "partition": 0, "offset": offset, "org": "acme", "signal": signal,
         "received_at": NOW - ago * 10**6, "received": written + refused, "written": written, "dead_lettered": refused}
        for offset, (signal, ago, written, refused) in enumerate(rows)
    ]  # fmt: skip
    return to_ipc(pa.Table.from_pylist(made, REQUESTS))


def test_what_was_written_and_refused_is_counted_by_signal_when_its_requests_row_is_acknowledged(group, measures):
    measures.acknowledged("requests", _requests(("traces", 80, 5, 1), ("logs", 80, 2, 0), ("traces", 400, 4, 0)), 7)
    measures.acknowledged("requests", _requests(("traces", 80, 1, 0)), 7)
    counted = {name: n for name, n in group.values.items() if "items" in name and n}
    assert counted == {
        "spanmill signal=traces status=success items": 10,
        "spanmill signal=traces status=dead_letter items": 1,
        "spanmill signal=logs status=success items": 2,
    }


def test_the_lag_weighs_a_record_by_its_items(group, measures):
    measures.acknowledged("requests", _requests(("traces", 80, 5, 1), ("traces", 400, 4, 0)), 7)
    lag = {name.split("=")[1].split()[0]: n for name, n in group.values.items() if "lag" in name}
    assert (lag["50"], lag["100"], lag["300"], lag["400"], lag["Inf"]) == (0, 6, 6, 10, 10)


def test_inserts_are_counted_by_table_with_their_rows_bytes_and_time(group, measures):
    ipc = to_ipc(SPANS.empty_table())
    measures.acknowledged("spans", ipc, 5_000)
    measures.acknowledged("spans", ipc, 6_000)
    measures.repeated("spans")
    found = {name.split()[-1]: n for name, n in group.values.items() if "table=spans" in name}
    assert found == {"inserts": 2, "insert_rows": 0, "insert_bytes": 2 * len(ipc), "insert_ns": 11_000,
                     "insert_repeats": 1}  # fmt: skip


def test_dead_letters_are_counted_by_the_step_that_refused_them(group, measures):
    filled = {field.name: 0 if pa.types.is_integer(field.type) else "" for field in DEAD_LETTERS}
    letters = [{**filled, "raw": b"", "received_at": 0, "step": step} for step in ("decode", "price", "decode")]
    measures.acknowledged("dead_letters", to_ipc(pa.Table.from_pylist(letters, DEAD_LETTERS)), 7)
    assert (group.values["spanmill step=decode dead_letters"], group.values["spanmill step=price dead_letters"]) == (
        2,
        1,
    )


def test_counters_are_there_before_anything_is_counted(group, measures):
    names = set(group.values)
    assert {"spanmill table=spans insert_repeats", "spanmill signal=traces status=success items",
            "spanmill le=30000 lag"} <= names  # fmt: skip
    assert set(group.values.values()) == {0}
