"""Runs a pure fold (transforms/step.py) in a keyed operator: one key is one bucket.

Timers: one for each `wake_at` that the fold asked for. Flink keeps timers as a set of timestamps, so one may fire
after the fold has asked for a later one; a fold accepts a wake-up that has nothing for it.
"""

from collections.abc import Callable, Iterator, Mapping

import pyarrow as pa
from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor

from pipelines.flink.context import Context
from pipelines.flink.task import begin_task
from schemas.arrow import from_ipc, to_ipc
from transforms.step import Fold

Element = tuple[str, int, bytes]

# (channel, bucket, Arrow IPC): what flows between operators.
ELEMENT = Types.TUPLE([Types.STRING(), Types.LONG(), Types.PRIMITIVE_ARRAY(Types.BYTE())])

_SEGMENTS = "segments"


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


class FoldOperator(KeyedProcessFunction):
    """Element: (channel, bucket, rows as Arrow IPC). Emits (table, 0, rows as Arrow IPC), empty tables left out.

    `make_fold` runs once in each task; it must be importable, not a closure of the job's script.
    """

    def __init__(self, make_fold: Callable[[], Fold]) -> None:
        self._make_fold = make_fold

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()
        self._fold = self._make_fold()
        self._segments = runtime_context.get_map_state(
            MapStateDescriptor(_SEGMENTS, Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        )

    def process_element(self, value: Element, ctx: Context) -> Iterator[Element]:
        yield from self._run(from_ipc(bytes(value[2])), ctx)

    def on_timer(self, timestamp: int, ctx: Context) -> Iterator[Element]:
        yield from self._run(None, ctx)

    def _run(self, rows: pa.Table | None, ctx: Context) -> Iterator[Element]:
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
        for table, found in step.out:
            if found.num_rows:
                yield table, 0, to_ipc(found)
        if step.bad is not None and step.bad.num_rows:
            yield "dead_letters", 0, to_ipc(step.bad)
