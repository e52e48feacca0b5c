"""Writes rows to the store: an element counts as processed when the store has acknowledged its rows.

What is fed to others comes behind the rows that came before it: who receives it finds them in the store.

A row that the store will never take becomes a dead letter, and the rest of its batch is written.
"""

from collections.abc import Iterator
from hashlib import blake2b
from importlib.metadata import version

import pyarrow as pa
from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext

from pipelines.flink.fold_operator import ELEMENT, Element, Feed
from pipelines.flink.gather import Gather
from pipelines.flink.measures import Measures, StoreMeasures
from pipelines.flink.ship import Shipped
from pipelines.flink.task import begin_task, is_cancelled
from pipelines.sinks import RefusedRows, StoreSink
from pipelines.stateless import split_by_bucket
from pipelines.store import StoreSettings
from schemas.arrow import DEAD_LETTERS, TABLES, from_ipc, to_ipc
from transforms.folds.segments import UnknownSchemaVersion
from transforms.isolate import isolate

GATHERED = "gathered"
RECOUNTS = "recounts"  # minutes that the store counts itself: see StoreSink.recount
SCHEMA_VERSION = 1  # of an element in state: (version, table, Arrow IPC)


class StoreWriter(Shipped, ProcessFunction):
    """Element: (table, bucket, rows as Arrow IPC). Emits nothing."""

    def __init__(self, store: StoreSettings, tables: tuple[str, ...]) -> None:
        self._store = store
        self._tables = tables  # that come here: what is counted of them is there from the start

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()
        self._sink = _sink(self._store, self._tables, runtime_context)

    def process_element(self, value: Element, ctx: ProcessFunction.Context) -> Iterator[Element]:
        table, _bucket, rows = value
        write(self._sink, table, bytes(rows))
        yield from ()

    def close(self) -> None:
        self._sink.close()


class GatheringWriter(Gather):
    """A StoreWriter for the small elements of many buckets: one insert for all rows of a table in a batch.

    The tables of a batch are written in the order of `tables`. Then what comes on the channels of `feeds`, tables or
    not, goes to their side outputs by bucket.
    """

    state = GATHERED

    def __init__(
        self, store: StoreSettings, tables: tuple[str, ...], batch_bytes: int, linger_ms: int, *feeds: Feed
    ) -> None:
        super().__init__(batch_bytes, linger_ms)
        self._store = store
        self._tables = tables
        self._feeds = feeds

    def open(self, runtime_context: RuntimeContext) -> None:
        super().open(runtime_context)
        self._tags = {feed.channel: OutputTag(feed.channel, ELEMENT) for feed in self._feeds}
        self._sink = _sink(self._store, self._tables, runtime_context)

    def kept(self, value: Element) -> tuple[tuple, int]:
        table, _bucket, rows = value
        return (SCHEMA_VERSION, table, bytes(rows)), len(rows)

    def sent(self, batch: list[tuple]) -> Iterator:
        found = dict(united(batch, self._tables))
        for table, ipc in found.items():
            if table == RECOUNTS:
                self._sink.recount(from_ipc(ipc))
            elif table in TABLES:
                write(self._sink, table, ipc)
        for feed in self._feeds:
            rows = from_ipc(found[feed.channel]) if feed.channel in found else None
            if rows is not None:
                for bucket, part in split_by_bucket(rows, feed.buckets_of(rows)):
                    yield self._tags[feed.channel], (feed.channel, bucket, to_ipc(part))

    def close(self) -> None:
        self._sink.close()


def united(batch: list[tuple], tables: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """All rows of each table in `batch`, (version, table, Arrow IPC) each, in the order of `tables`.

    Raises UnknownSchemaVersion.
    """
    parts: dict[str, list[bytes]] = {table: [] for table in tables}
    for written_by, table, rows in batch:
        if written_by != SCHEMA_VERSION:
            raise UnknownSchemaVersion(f"state has schema version {written_by}, this code reads {SCHEMA_VERSION}")
        parts.setdefault(table, []).append(rows)
    for table, found in parts.items():
        if len(found) == 1:
            yield table, found[0]
        elif found:
            yield table, to_ipc(pa.concat_tables([from_ipc(rows) for rows in found]).combine_chunks())


def _sink(store: StoreSettings, tables: tuple[str, ...], context: RuntimeContext) -> StoreSink:
    return StoreSink(store, StoreMeasures(Measures(context.get_metrics_group()), tables), is_cancelled)


def write(sink: StoreSink, table: str, ipc: bytes) -> None:
    """Writes all rows that the store takes, and dead letters for the others.

    Raises RefusedRows when it does not even take those, StoreMisconfigured when it takes nothing.
    """
    try:
        sink.write(table, ipc)
    except RefusedRows:
        if table == "dead_letters":
            raise
        rows = from_ipc(ipc)
        found = isolate(
            rows.num_rows,
            lambda start, stop: sink.write(table, to_ipc(rows.slice(start, stop - start))),
            (RefusedRows,),
        )
        for row, error in found.bad:
            sink.write("dead_letters", to_ipc(_dead_letter(table, rows.slice(row, 1), str(error))))


def _dead_letter(table: str, row: pa.Table, reason: str) -> pa.Table:
    """Its raw bytes are the row as Arrow IPC; its offset is a hash of them, so that it is one row when repeated."""
    raw = to_ipc(row)
    columns = row.to_pylist()[0]
    letter = {
        "org": columns["org"],
        "team": columns.get("team", ""),
        "key_id": columns.get("key_id", ""),
        "received_at": columns.get("received_at", 0),
        "step": "store",
        "error": "RefusedRow",
        "message": reason[:1_000],
        "topic": f"table {table}",
        "partition": -1,
        "offset": int.from_bytes(blake2b(raw, digest_size=8).digest(), "big") >> 1,
        "position": -1,
        "raw": raw,
        "code_version": version("spanmill"),
    }
    return pa.Table.from_pylist([letter], DEAD_LETTERS)
