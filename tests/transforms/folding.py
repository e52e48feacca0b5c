"""Runs the assemble fold over calls in time, and says what a table holds after it."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tests.transforms.skeletons import START, table
from transforms.step import Fold, apply

Row = dict[str, Any]


@dataclass
class Run:
    """A fold with its state and everything that it wrote, as an engine's adapter would keep it."""

    fold: Fold
    state: dict[str, bytes] = field(default_factory=dict)
    now: int = START
    wake_at: int | None = None
    out: list[tuple[str, pa.Table]] = field(default_factory=list)

    def send(self, rows: list[Row], after: int = 0) -> "Run":
        """Give `rows` (none: a wake-up) to the fold `after` ns."""
        self.now += after
        step = self.fold(self.state, table(rows) if rows else None, self.now)
        self.state = apply(self.state, step.writes)
        self.wake_at = step.wake_at
        self.out += step.out
        return self

    def drain(self) -> "Run":
        """Wake the fold whenever it asks to be, until it keeps nothing."""
        for _ in range(10_000):
            if self.wake_at is None:
                return self
            self.now = max(self.now, self.wake_at)
            self.send([])
        raise AssertionError("the fold never comes to rest")

    def rows(self, name: str) -> list[Row]:
        """All rows written to a table, in order."""
        return [row for table_name, rows in self.out if table_name == name for row in rows.to_pylist()]

    def usage(self) -> dict[str, Row]:
        """The ledger as a reader sees it: by entry_id the row of the greatest version."""
        return _greatest(self.rows("usage"), "entry_id")

    def usage_cost(self) -> dict[str, int]:
        """Nano-dollars of each span, summed over the ledger."""
        costs: dict[str, int] = defaultdict(int)
        for row in self.usage().values():
            costs[row["span_id"]] += row["cost_nano"] or 0
        return dict(costs)

    def traces(self) -> dict[tuple[str, str], Row]:
        """By org and trace_id the row of the greatest version, without what depends on the first sight."""
        rows = _greatest(self.rows("traces"), "org", "trace_id")
        return {key: {k: v for k, v in row.items() if k not in ("fragment", "day")} for key, row in rows.items()}


def _greatest(rows: list[Row], *keys: str) -> dict[Any, Row]:
    found: dict[Any, Row] = {}
    for row in rows:
        named = tuple(row[name] for name in keys)
        key = named[0] if len(named) == 1 else named
        if key not in found or row["version"] >= found[key]["version"]:
            found[key] = row
    return found
