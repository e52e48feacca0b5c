"""Runs the folds over calls in time, and says what a table holds after it."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tests.transforms.skeletons import START, table
from transforms.folds.step import Fold, apply

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
        return self.give(table(rows) if rows else None)

    def give(self, rows: pa.Table | None) -> "Run":
        """Give `rows` (None: a wake-up) to the fold now."""
        step = self.fold(self.state, rows, self.now)
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


@dataclass
class Chain:
    """The folds over traces and over calls, the second fed with the claims of the first, by one clock."""

    traces: Run
    calls: Run

    @property
    def now(self) -> int:
        return self.traces.now

    def send(self, rows: list[Row], after: int = 0) -> "Chain":
        """Give `rows` (none: a wake-up) to the fold over traces `after` ns, and its claims to that over calls."""
        told = len(self.traces.out)
        self.traces.send(rows, after)
        self.calls.now = self.traces.now
        claims = [rows for name, rows in self.traces.out[told:] if name == "claims"]
        for rows_of_calls in claims or [None]:
            self.calls.give(rows_of_calls)
        return self

    def drain(self) -> "Chain":
        """Wake both whenever one asks to be, until they keep nothing."""
        for _ in range(10_000):
            wakes = [run.wake_at for run in (self.traces, self.calls) if run.wake_at is not None]
            if not wakes:
                return self
            self.send([], max(0, min(wakes) - self.now))
        raise AssertionError("the folds never come to rest")

    def saved(self) -> tuple[dict[str, bytes], dict[str, bytes], int]:
        """What a checkpoint holds."""
        return dict(self.traces.state), dict(self.calls.state), self.now

    def restore(self, saved: tuple[dict[str, bytes], dict[str, bytes], int]) -> None:
        """Go back to a checkpoint; what was written since stays written."""
        self.traces.state, self.calls.state, self.traces.now = saved

    def usage(self) -> dict[str, Row]:
        """The ledger as a reader sees it: by entry_id the row of the greatest version."""
        return _greatest(self.traces.rows("usage") + self.calls.rows("usage"), "entry_id")

    def sums(self, column: str) -> dict[tuple[str, str, str], int]:
        """The ledger's sum over `column`, by org, trace and span."""
        found: dict[tuple[str, str, str], int] = defaultdict(int)
        for row in self.usage().values():
            found[row["org"], row["trace_id"], row["span_id"]] += row[column] or 0
        return dict(found)


def _greatest(rows: list[Row], *keys: str) -> dict[Any, Row]:
    found: dict[Any, Row] = {}
    for row in rows:
        named = tuple(row[name] for name in keys)
        key = named[0] if len(named) == 1 else named
        if key not in found or row["version"] >= found[key]["version"]:
            found[key] = row
    return found
