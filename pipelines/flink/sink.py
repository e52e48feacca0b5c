"""Writes rows to the store: an element counts as processed when the store has acknowledged its rows."""

from collections.abc import Iterator

from pyflink.datastream import ProcessFunction, RuntimeContext

from pipelines.flink.fold_operator import Element
from pipelines.sinks import StoreSink


class StoreWriter(ProcessFunction):
    """Element: (table, bucket, rows as Arrow IPC). Emits nothing."""

    def __init__(self, url: str, database: str) -> None:
        self._url = url
        self._database = database

    def open(self, runtime_context: RuntimeContext) -> None:
        self._sink = StoreSink(self._url, self._database)

    def process_element(self, value: Element, ctx: ProcessFunction.Context) -> Iterator[Element]:
        table, _bucket, rows = value
        self._sink.write(table, bytes(rows))
        yield from ()
