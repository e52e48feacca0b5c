"""What gathers elements in keyed state until they are worth their cost: large elements are cheap elements.

Timers: the first element of a batch sets one `linger_ms` ahead; the batch leaves when it fires, or before, when
it has `batch_bytes`. A timer that was set for a batch which left before is stale and does nothing.

A batch gathers for at least half as long as the one before it took to be processed (up to _LONGEST_LINGER), so that
batches grow, and cost less an element, when the machine is behind.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor

from pipelines.flink.context import Context
from pipelines.flink.ship import Shipped
from pipelines.flink.task import begin_task

_LONGEST_LINGER = 10  # times `linger_ms`


class Gather(Shipped, KeyedProcessFunction):
    """Keeps what `kept` makes of each element in the list state `state`, and gives whole batches to `sent`."""

    state: ClassVar[str]

    def __init__(self, batch_bytes: int, linger_ms: int) -> None:
        self._batch_bytes = batch_bytes
        self._linger_ms = linger_ms
        self._took_ms = 0

    @abstractmethod
    def kept(self, value: Any) -> tuple[tuple, int]:
        """What state holds of the element `value`, and how many bytes it counts for."""

    @abstractmethod
    def sent(self, batch: list[tuple]) -> Iterator[Any]:
        """What a batch is made into; what an older version of the code kept is in it too."""

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()
        self._gathered = runtime_context.get_list_state(ListStateDescriptor(self.state, Types.PICKLED_BYTE_ARRAY()))
        # Key -> (bytes, deadline) of its open batch. Not in the checkpoint: after a restore the timers, which
        # are, send whatever the state holds.
        self._open: dict[int, tuple[int, int]] = {}

    def process_element(self, value: Any, ctx: Context) -> Iterator[Any]:
        kept, added = self.kept(value)
        self._gathered.add(kept)
        key = ctx.get_current_key()
        size, deadline = self._open.get(key) or (0, self._set_timer(ctx))
        self._open[key] = (size + added, deadline)
        if size + added >= self._batch_bytes:
            yield from self._send(ctx)

    def on_timer(self, timestamp: int, ctx: Context) -> Iterator[Any]:
        key = ctx.get_current_key()
        if key not in self._open or self._open[key][1] <= timestamp:
            yield from self._send(ctx)

    def _set_timer(self, ctx: Context) -> int:
        timers = ctx.timer_service()
        linger = min(max(self._linger_ms, self._took_ms // 2), _LONGEST_LINGER * self._linger_ms)
        deadline = timers.current_processing_time() + linger
        timers.register_processing_time_timer(deadline)
        return deadline

    def _send(self, ctx: Context) -> Iterator[Any]:
        batch: list[tuple] = list(self._gathered.get() or [])
        self._gathered.clear()
        self._open.pop(ctx.get_current_key(), None)
        if batch:
            timers = ctx.timer_service()
            began = timers.current_processing_time()
            # An operator that is fused to this one runs here: control comes back when the batch has been through it.
            yield from self.sent(batch)
            self._took_ms = timers.current_processing_time() - began
