"""The contract of every stateful step: a pure fold over Arrow tables, with the clock as an argument.

State is a mapping of named segments, so that a tick reads and writes only the segments it needs: an engine's
adapter keeps each segment under its own key, reads it when the fold asks for it, and stores what `writes` says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

State = Mapping[str, bytes]


@dataclass(frozen=True)
class Step:
    """What one call of a fold says.

    writes: segments to store (bytes) or to drop (None); a segment not named stays as it is.
    out: (table name, rows) in the order in which they must reach the sink.
    bad: dead letters (schema DEAD_LETTERS) for rows that the fold refused.
    wake_at: UTC ns at which to call again without rows; None for never. Calling earlier is harmless.
    """

    writes: Mapping[str, bytes | None] = field(default_factory=dict)
    out: tuple[tuple[str, pa.Table], ...] = ()
    bad: pa.Table | None = None
    wake_at: int | None = None


# (state, rows or None for a wake-up, now in UTC ns) -> Step
Fold = Callable[[State, pa.Table | None, int], Step]


def apply(state: State, writes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """`state` after `writes`: what an adapter does with a Step, for tests and for Beam."""
    merged = {**state, **writes}
    return {name: value for name, value in merged.items() if value is not None}
