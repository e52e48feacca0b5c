import pyarrow as pa
import pytest

from pipelines.flink.sink import write
from pipelines.sinks import RefusedRows, StoreSink
from schemas.arrow import DEAD_LETTERS, REQUESTS, from_ipc, to_ipc


class PickySink(StoreSink):
    """Keeps what it takes; refuses batches in which a row has an organisation that it does not like."""

    def __init__(self, *refused: str, tables: tuple[str, ...] = ("requests",)) -> None:
        self.refused = set(refused)
        self.tables = tables
        self.taken: list[tuple[str, pa.Table]] = []

    def write(self, table: str, ipc: bytes) -> None:
        rows = from_ipc(ipc)
        if table in self.tables and self.refused & set(rows["org"].to_pylist()):
            raise RefusedRows(table, 27, "cannot parse")
        self.taken.append((table, rows))


def _requests(*orgs: str) -> bytes:
    rows = [
        {
            "topic": "spans.raw",
            "partition": 0,
            "offset": offset,
            "org": org,
            "signal": "traces",
            "received_at": 7,
            "received": 1,
            "written": 1,
            "dead_lettered": 0,
        }
        for offset, org in enumerate(orgs)
    ]
    return to_ipc(pa.Table.from_pylist(rows, REQUESTS))


def test_a_batch_that_the_store_takes_is_written_once_as_it_is():
    sink = PickySink()
    write(sink, "requests", _requests("a", "b"))
    assert [(table, rows["org"].to_pylist()) for table, rows in sink.taken] == [("requests", ["a", "b"])]


def test_a_row_that_the_store_refuses_becomes_a_dead_letter_and_the_others_are_written():
    sink = PickySink("bad")
    write(sink, "requests", _requests("a", "b", "bad", "c"))
    written = [org for table, rows in sink.taken if table == "requests" for org in rows["org"].to_pylist()]
    assert written == ["a", "b", "c"]
    ((table, letters),) = [(table, rows) for table, rows in sink.taken if table == "dead_letters"]
    (letter,) = letters.to_pylist()
    assert letters.schema.equals(DEAD_LETTERS)
    assert (letter["step"], letter["error"], letter["topic"]) == ("store", "RefusedRow", "table requests")
    assert "cannot parse" in letter["message"]
    assert from_ipc(letter["raw"])["org"].to_pylist() == ["bad"]


def test_a_repeated_refusal_is_the_same_dead_letter():
    sink = PickySink("bad")
    for _ in range(2):
        write(sink, "requests", _requests("bad"))
    (_, first), (_, second) = sink.taken
    assert first.equals(second)


def test_dead_letters_that_the_store_refuses_stop_the_job():
    sink = PickySink("bad", tables=("requests", "dead_letters"))
    with pytest.raises(RefusedRows):
        write(sink, "requests", _requests("bad"))
