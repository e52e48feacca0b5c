"""Runs a pure fold (transforms/folds/step.py) in a keyed operator: one key is one bucket.

Timers: one for each `wake_at` that the fold asked for. Flink keeps timers as a set of timestamps, so one may fire
after the fold has asked for a later one; a fold accepts a wake-up that has nothing for it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor

from pipelines.flink.context import Context
from pipelines.flink.ship import Shipped
from pipelines.flink.task import begin_task
from pipelines.stateless import split_by_bucket
from schemas.arrow import from_ipc, to_ipc
from transforms.folds.step import Fold

Element = tuple[str, int, bytes]

# (channel, bucket, Arrow IPC): what flows between operators.
ELEMENT = Types.TUPLE([Types.STRING(), Types.LONG(), Types.PRIMITIVE_ARRAY(Types.BYTE())])

SEGMENTS = "segments"


@dataclass(frozen=True)
class Feed:
    """What a fold says to another fold: the channel, and the bucket of each row.

    aside: to the side output of that id; else among the rows of the tables, behind those told before it.
    """

    channel: str
    buckets_of: Callable[[pa.Table], np.ndarray]
    aside: bool = True


class Segments(Mapping[str, bytes]):
    """A bucket's state as a mapping that reads only the segments asked for."""

    def __init__(self, state: MapState) -> None:
        self._state = state

    def __getitem__(self, name: str) -> bytes:
        value = self._state.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return bool(self._state.contains(name))

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._state.keys() or ()))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class FoldOperator(Shipped, KeyedProcessFunction):
    """Element: (channel, bucket, rows as Arrow IPC). Emits (table, its key, rows as Arrow IPC), empty tables left out.

    `make_fold` runs once in each task; it must be importable, not a closure of the job's script. What the fold says
    on the channel of one of `feeds` goes there by bucket.
    """

    def __init__(self, make_fold: Callable[[], Fold], *feeds: Feed) -> None:
        self._make_fold = make_fold
        self._feeds = {feed.channel: feed for feed in feeds}

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()
        self._fold = self._make_fold()
        self._tags = {name: OutputTag(name, ELEMENT) for name, feed in self._feeds.items() if feed.aside}
        self._segments = runtime_context.get_map_state(
            MapStateDescriptor(SEGMENTS, Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        )

    def process_element(self, value: Element, ctx: Context) -> Iterator:
        yield from self._run(from_ipc(bytes(value[2])), ctx)

    def on_timer(self, timestamp: int, ctx: Context) -> Iterator:
        yield from self._run(None, ctx)

    def _run(self, rows: pa.Table | None, ctx: Context) -> Iterator:
        timers = ctx.timer_service()
        now_ms = timers.current_processing_time()
        step = self._fold(Segments(self._segments), rows, now_ms * 10**6)
        for name, value in step.writes.items():
            if value is None:
                self._segments.remove(name)
            else:
                self._segments.put(name, value)
        if step.wake_at is not None:
            # A timer for the present moment would fire within this call's millisecond, again and again.
            timers.register_processing_time_timer(max(now_ms + 1, -(-step.wake_at // 10**6)))
        bad = () if step.bad is None else (("dead_letters", step.bad),)
        for channel, found in step.out + bad:
            if found.num_rows:
                yield from self._told(channel, found, ctx)

    def _told(self, channel: str, rows: pa.Table, ctx: Context) -> Iterator:
        if channel not in self._feeds:
            yield channel, ctx.get_current_key(), to_ipc(rows)
            return
        for bucket, part in split_by_bucket(rows, self._feeds[channel].buckets_of(rows)):
            element = channel, bucket, to_ipc(part)
            yield (self._tags[channel], element) if channel in self._tags else element
