"""Gathers Kafka records into Arrow batches before anything decodes them: large elements are cheap elements.

Timers: the first record of a batch sets one `linger_ms` ahead; the batch leaves when it fires, or before, when
it has `batch_bytes`. A timer that was set for a batch which left before is stale and does nothing.
"""

from collections.abc import Iterator

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor

from pipelines.flink.context import Context
from pipelines.flink.source import Record, raw_table
from schemas.arrow import to_ipc

BATCH = Types.PRIMITIVE_ARRAY(Types.BYTE())  # Arrow IPC, schema RAW
_RECORDS = "records"


class Batcher(KeyedProcessFunction):
    """Element: a Record as a row. Emits BATCH."""

    def __init__(self, topic: str, batch_bytes: int, linger_ms: int) -> None:
        self._topic = topic
        self._batch_bytes = batch_bytes
        self._linger_ms = linger_ms

    def open(self, runtime_context: RuntimeContext) -> None:
        self._records = runtime_context.get_list_state(ListStateDescriptor(_RECORDS, Types.PICKLED_BYTE_ARRAY()))
        # Key -> (bytes, deadline) of its open batch. Not in the checkpoint: after a restore the timers, which
        # are, send whatever the state holds.
        self._open: dict[int, tuple[int, int]] = {}

    def process_element(self, value, ctx: Context) -> Iterator[bytes]:
        record = Record(*value)
        self._records.add(tuple(record))
        key = ctx.get_current_key()
        size, deadline = self._open.get(key) or (0, self._set_timer(ctx))
        size += len(record.body or b"")
        self._open[key] = (size, deadline)
        if size >= self._batch_bytes:
            yield from self._send(key)

    def on_timer(self, timestamp: int, ctx: Context) -> Iterator[bytes]:
        key = ctx.get_current_key()
        if key not in self._open or self._open[key][1] <= timestamp:
            yield from self._send(key)

    def _set_timer(self, ctx: Context) -> int:
        timers = ctx.timer_service()
        deadline = timers.current_processing_time() + self._linger_ms
        timers.register_processing_time_timer(deadline)
        return deadline

    def _send(self, key: int) -> Iterator[bytes]:
        records = [Record(*record) for record in self._records.get() or ()]
        self._records.clear()
        self._open.pop(key, None)
        if records:
            yield to_ipc(raw_table(self._topic, records))
