"""Runs the folds up to that over metrics, and counts the series of the ledger as a reader of the store would."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from schemas.arrow import MEASURES, SERIES, from_ipc, to_ipc
from tests.transforms.folding import Chain, Row, Run
from transforms.billing.duplicates import TAKEN_BACK
from transforms.billing.fold import BillSettings, make_bill
from transforms.billing.ledger import STANDS
from transforms.metrics.fold import MetricsSettings, make_metrics
from transforms.traces.blocks import TOKENS
from transforms.traces.fold import AssembleSettings, make_assemble

NAMES = tuple(name for name, _ in SERIES)
SUMS = ("calls", "unpriced_calls", *TOKENS, "cost_nano")
Cell = tuple[Any, ...]


@dataclass
class Metered:
    """The chain of folds with metrics at its end, and a store that counts what it is asked to."""

    traces: AssembleSettings
    calls: BillSettings
    metrics: MetricsSettings
    opened: int
    chain: Chain = field(init=False)
    run: Run = field(init=False)
    stored: dict[Cell, Row] = field(default_factory=dict)
    recounted: set[tuple[str, int]] = field(default_factory=set)
    _seen: int = 0
    _told: dict[str, int] = field(default_factory=lambda: {"traces": 0, "calls": 0})

    def __post_init__(self) -> None:
        self.chain = Chain(Run(make_assemble(self.traces)), Run(make_bill(self.calls)))
        self.run = Run(make_metrics(self.metrics, self.opened))

    def send(self, rows: list[Row], after: int = 0) -> "Metered":
        self.chain.send(rows, after)
        self.run.now = self.chain.now
        changes = []
        for name, run in (("traces", self.chain.traces), ("calls", self.chain.calls)):
            changes += [rows for channel, rows in run.out[self._told[name] :] if channel == "changes"]
            self._told[name] = len(run.out)
        for rows_of_changes in changes or [None]:
            self.run.give(None if rows_of_changes is None else from_ipc(to_ipc(rows_of_changes)))
        self._store()
        return self

    def drain(self) -> "Metered":
        for _ in range(10_000):
            runs = (self.chain.traces, self.chain.calls, self.run)
            wakes = [run.wake_at for run in runs if run.wake_at is not None]
            if not wakes:
                return self
            self.send([], max(0, min(wakes) - self.chain.now))
        raise AssertionError("the folds never come to rest")

    def saved(self) -> Any:
        return self.chain.saved(), dict(self.run.state), self.run.wake_at

    def restore(self, saved: Any, opened: int) -> None:
        """Go back to a checkpoint in a task that was opened at `opened`; what was written stays written."""
        chain, state, wake = saved
        self.chain.restore(chain)
        self.chain.traces.now = max(self.chain.now, opened)
        self.run = Run(make_metrics(self.metrics, opened), dict(state), self.chain.now, wake, self.run.out)

    def _store(self) -> None:
        """What the sink does with what was told since: the row of the greatest version stands, or what was counted."""
        for channel, rows in self.run.out[self._seen :]:
            if channel == "recounts":
                for org, minute in zip(rows["org"].to_pylist(), rows["minute"].to_pylist(), strict=True):
                    self._recount(org, minute)
                continue
            for row in rows.to_pylist():
                row["minute"] = int(row["minute"].timestamp())
                cell = (*(row[name] for name in NAMES), row["minute"])
                before = self.stored.get(cell)
                if before is None or row["version"] > before["version"]:
                    self.stored[cell] = row
        self._seen = len(self.run.out)

    def _recount(self, org: str, minute: int) -> None:
        self.recounted.add((org, minute))
        for cell in [cell for cell in self.stored if (cell[0], cell[-1]) == (org, minute)]:
            self.stored[cell] = dict.fromkeys(SUMS, 0) | {"version": 2**63}
        for cell, sums in ledger_cells(self).items():
            if (cell[0], cell[-1]) == (org, minute):
                self.stored[cell] = sums | {"version": 2**63}

    def cells(self) -> dict[Cell, dict[str, int]]:
        """The sums of each series and minute that are not all 0."""
        found = {cell: {name: row[name] for name in SUMS} for cell, row in self.stored.items()}
        return {cell: sums for cell, sums in found.items() if any(sums.values())}


def ledger_cells(run: Metered) -> dict[Cell, dict[str, int]]:
    """The same, summed over the rows of the ledger."""
    found: dict[Cell, dict[str, int]] = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    for row in run.chain.usage().values():
        out_of_range = row["day"].year == 1970
        minute = 0 if out_of_range else row["time"].value // 60_000_000_000 * 60
        sums = found[*(row[name] for name in NAMES), minute]
        calls = 1 if row["entry"] == "charge" else -1 if row["reason"] not in (STANDS, TAKEN_BACK) else 0
        sums["calls"] += calls
        sums["unpriced_calls"] += calls * (row["cost_status"] == "unpriced")
        for name in (*TOKENS, "cost_nano"):
            sums[name] += row[name] or 0
    return {cell: sums for cell, sums in found.items() if any(sums.values())}


def histograms(run: Metered) -> dict[str, tuple[dict[int, int], int]]:
    """By measure: all histograms of what the fold wrote last, added up, and the zeros."""
    found = {}
    for name in MEASURES:
        buckets: dict[int, int] = defaultdict(int)
        for row in run.stored.values():
            for bucket, count in row[f"{name}_ns"]:
                buckets[bucket] += count
        found[name] = dict(buckets), sum(row[f"{name}_zeros"] for row in run.stored.values())
    return found
