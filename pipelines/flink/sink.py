"""Writes rows to the store: an element counts as processed when the store has acknowledged its rows.

What is passed on comes behind the rows that came before it: who receives it finds them in the store.

A row that the store will never take becomes a dead letter, and the rest of its batch is written.
"""

from collections.abc import Iterator
from hashlib import blake2b
from importlib.metadata import version

import pyarrow as pa
from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext

from pipelines.flink.fold_operator import ELEMENT, Element
from pipelines.flink.measures import Measures, StoreMeasures
from pipelines.flink.ship import Shipped
from pipelines.flink.task import begin_task, is_cancelled
from pipelines.sinks import RefusedRows, StoreSink
from pipelines.store import StoreSettings
from schemas.arrow import DEAD_LETTERS, TABLES, from_ipc, to_ipc
from transforms.isolate import isolate

RECOUNTS = "recounts"  # minutes that the store counts itself: see StoreSink.recount


class StoreWriter(Shipped, ProcessFunction):
    """Element: (table, bucket, rows as Arrow IPC). Emits to the side outputs of those ids the elements of `passed`;
    those that are no table are not written."""

    def __init__(self, store: StoreSettings, tables: tuple[str, ...], passed: tuple[str, ...] = ()) -> None:
        self._store = store
        self._passed = passed
        self._tables = tables  # that come here: what is counted of them is there from the start

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()
        measures = StoreMeasures(Measures(runtime_context.get_metrics_group()), self._tables)
        self._sink = StoreSink(self._store, measures, is_cancelled)
        self._tags = {name: OutputTag(name, ELEMENT) for name in self._passed}

    def process_element(self, value: Element, ctx: ProcessFunction.Context) -> Iterator:
        table, bucket, rows = value
        if table == RECOUNTS:
            self._sink.recount(from_ipc(bytes(rows)))
        elif table in TABLES:
            write(self._sink, table, bytes(rows))
        if table in self._tags:
            yield self._tags[table], (table, bucket, rows)

    def close(self) -> None:
        self._sink.close()


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
