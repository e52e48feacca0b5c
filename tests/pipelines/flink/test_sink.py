import numpy as np
import pyarrow as pa
import pytest

from pipelines.flink.fold_operator import Feed
from pipelines.flink.sink import GatheringWriter, united, write
from pipelines.sinks import RefusedRows, StoreSink
from pipelines.store import StoreSettings
from schemas.arrow import DEAD_LETTERS, RECOUNTS, REQUESTS, USAGE, from_ipc, to_ipc
from tests.pipelines.flink.fakes import FakeContext, FakeGroup, FakeRuntime
from transforms.folds.segments import UnknownSchemaVersion


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


class _Runtime(FakeRuntime):
    def get_metrics_group(self):
        return FakeGroup()


def _gathering(runtime, sink, *feeds, batch_bytes=2**20):
    writer = GatheringWriter(StoreSettings("http://127.0.0.1:9"), ("usage", "requests"), batch_bytes, 200, *feeds)
    writer.open(runtime)
    writer._sink.close()
    writer._sink = sink
    return writer


def test_what_many_buckets_say_within_the_linger_time_is_one_insert_a_table_in_the_order_of_the_tables():
    sink, ctx = PickySink(), FakeContext(now_ms=5_000)
    writer = _gathering(_Runtime(), sink)
    for bucket, org in enumerate(("a", "b", "c")):
        list(writer.process_element(("requests", bucket, _requests(org)), ctx))
        list(writer.process_element(("usage", bucket, to_ipc(USAGE.empty_table())), ctx))
    assert sink.taken == []
    ctx.advance(5_200, writer.on_timer)
    assert [table for table, _ in sink.taken] == ["usage", "requests"]
    assert sink.taken[1][1]["org"].to_pylist() == ["a", "b", "c"]
    ctx.advance(9_000, writer.on_timer)
    assert len(sink.taken) == 2


def test_what_was_gathered_when_the_task_died_is_written_by_the_next_one():
    runtime, sink, ctx = _Runtime(), PickySink(), FakeContext(now_ms=5_000)
    list(_gathering(runtime, PickySink()).process_element(("requests", 0, _requests("a")), ctx))
    ctx.advance(6_000, _gathering(runtime, sink).on_timer)
    assert [rows["org"].to_pylist() for _, rows in sink.taken] == [["a"]]


def test_gathered_elements_of_a_table_that_nobody_announced_are_written_too():
    assert dict(united([(1, "requests", _requests("a"))], ("usage",))) == {"requests": _requests("a")}


def test_gathered_elements_of_another_schema_version_are_refused():
    with pytest.raises(UnknownSchemaVersion, match="schema version 2"):
        list(united([(2, "requests", _requests("a"))], ("requests",)))


def test_what_is_fed_to_others_comes_when_all_rows_of_its_batch_are_written_and_by_bucket():
    sink, ctx = PickySink(), FakeContext(now_ms=5_000)
    feed = Feed("requests", lambda rows: np.array([int(org == "b") for org in rows["org"].to_pylist()]))
    writer = _gathering(_Runtime(), sink, feed)
    for org in ("a", "b", "c"):
        list(writer.process_element(("requests", 0, _requests(org)), ctx))
    told = []
    for tag, (channel, bucket, rows) in writer.on_timer(5_200, ctx):
        assert [table for table, _ in sink.taken] == ["requests"]
        told.append((tag.tag_id, channel, bucket, from_ipc(rows)["org"].to_pylist()))
    assert told == [("requests", "requests", 0, ["a", "c"]), ("requests", "requests", 1, ["b"])]


def test_minutes_that_the_store_shall_count_are_given_to_it_behind_the_rows():
    class Counting(PickySink):
        def recount(self, cells):
            self.taken.append(("recounts", cells))

    sink, ctx = Counting(), FakeContext(now_ms=5_000)
    writer = _gathering(_Runtime(), sink)
    recounts = pa.table({"org": ["acme"], "minute": [60]}, schema=RECOUNTS)
    list(writer.process_element(("recounts", 0, to_ipc(recounts)), ctx))
    list(writer.process_element(("usage", 0, to_ipc(USAGE.empty_table())), ctx))
    list(writer.on_timer(5_200, ctx))
    assert [table for table, _ in sink.taken] == ["usage", "recounts"]
    assert sink.taken[1][1].to_pylist() == [{"org": "acme", "minute": 60}]
