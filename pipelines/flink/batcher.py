"""Gathers Kafka records into Arrow batches before anything decodes them: large elements are cheap elements.

Timers: the first record of a batch sets one `linger_ms` ahead; the batch leaves when it fires, or before, when
it has `batch_bytes`. A timer that was set for a batch which left before is stale and does nothing.

A batch gathers for at least as long as the one before it took to be processed (up to _LONGEST_LINGER), so that
batches grow, and cost less a record, when the machine is behind.
"""

from collections.abc import Iterator

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor

from pipelines.flink.context import Context
from pipelines.flink.ship import Shipped
from pipelines.flink.source import Record, raw_table
from pipelines.flink.task import begin_task
from schemas.arrow import to_ipc
from transforms.segments import UnknownSchemaVersion

BATCH = Types.PRIMITIVE_ARRAY(Types.BYTE())  # Arrow IPC, schema RAW
RECORDS = "records"
SCHEMA_VERSION = 1  # of a record in state: (version, *Record)
_LONGEST_LINGER = 5  # times `linger_ms`


class Batcher(Shipped, KeyedProcessFunction):
    """Element: a Record as a row. Emits BATCH."""

    def __init__(self, topic: str, batch_bytes: int, linger_ms: int) -> None:
        self._topic = topic
        self._batch_bytes = batch_bytes
        self._linger_ms = linger_ms
        self._took_ms = 0

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()
        self._records = runtime_context.get_list_state(ListStateDescriptor(RECORDS, Types.PICKLED_BYTE_ARRAY()))
        # Key -> (bytes, deadline) of its open batch. Not in the checkpoint: after a restore the timers, which
        # are, send whatever the state holds.
        self._open: dict[int, tuple[int, int]] = {}

    def process_element(self, value, ctx: Context) -> Iterator[bytes]:
        record = Record(*value)
        self._records.add((SCHEMA_VERSION, *record))
        key = ctx.get_current_key()
        size, deadline = self._open.get(key) or (0, self._set_timer(ctx))
        size += len(record.body or b"")
        self._open[key] = (size, deadline)
        if size >= self._batch_bytes:
            yield from self._send(ctx)

    def on_timer(self, timestamp: int, ctx: Context) -> Iterator[bytes]:
        key = ctx.get_current_key()
        if key not in self._open or self._open[key][1] <= timestamp:
            yield from self._send(ctx)

    def _set_timer(self, ctx: Context) -> int:
        timers = ctx.timer_service()
        linger = min(max(self._linger_ms, self._took_ms), _LONGEST_LINGER * self._linger_ms)
        deadline = timers.current_processing_time() + linger
        timers.register_processing_time_timer(deadline)
        return deadline

    def _send(self, ctx: Context) -> Iterator[bytes]:
        records = [_read(stored) for stored in self._records.get() or ()]
        self._records.clear()
        self._open.pop(ctx.get_current_key(), None)
        if records:
            timers = ctx.timer_service()
            began = timers.current_processing_time()
            # `observe` is fused to this operator: control comes back when the batch has been through it.
            yield to_ipc(raw_table(self._topic, records))
            self._took_ms = timers.current_processing_time() - began


def _read(stored: tuple) -> Record:
    """A record from state. Raises UnknownSchemaVersion."""
    version, *fields = stored if len(stored) > len(Record._fields) else (SCHEMA_VERSION, *stored)
    if version != SCHEMA_VERSION:
        raise UnknownSchemaVersion(f"state has schema version {version}, this code reads {SCHEMA_VERSION}")
    return Record(*fields)
