"""A fold that works in ticks: what comes between two of them waits in the inbox."""

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from transforms.folds.segments import NEVER, Head, pack_rows, read_head, unpack_rows
from transforms.folds.step import Fold, State, Step

# (state, its head, what waited and what came, now in UTC ns) -> Step; it must empty the inbox and write the head.
Tick = Callable[[State, Head, list[pa.Table], int], Step]


def ticking(tick: Tick, tick_ns: int, schema: pa.Schema) -> Fold:
    """The fold over rows of `schema` that calls `tick` when rows come, but not twice within `tick_ns`, and when its
    head wants to wake."""

    def fold(state: State, rows: pa.Table | None, now: int) -> Step:
        head = read_head(state)
        came = rows is not None and rows.num_rows > 0
        if came and head.tick <= now < head.tick + tick_ns:
            waiting = replace(head, inbox=head.inbox + 1, wake=min(head.wake, head.tick + tick_ns))
            writes = {f"in/{head.inbox}": pack_rows(rows), "head": waiting.to_bytes()}
            return Step(writes, wake_at=waiting.wake)
        if not came and now < head.wake:
            return Step(wake_at=None if head.wake == NEVER else head.wake)
        arrived = [unpack_rows(state[f"in/{number}"], schema) for number in range(head.inbox)]
        if came:
            arrived.append(rows)
        return tick(state, head, arrived, now)

    return fold


def rested(head: Head, now: int, wake: int | None) -> dict[str, bytes | None]:
    """Writes at the end of a tick: the inbox is empty, and the head is gone when nothing is due (`wake` is None)."""
    emptied: dict[str, bytes | None] = {f"in/{number}": None for number in range(head.inbox)}
    return emptied | {"head": None if wake is None else replace(head, tick=now, wake=wake, inbox=0).to_bytes()}
