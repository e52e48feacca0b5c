"""Made-up metrics, and the alert fold over them as an engine runs it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.arrow import METRICS
from transforms.alerts.cells import MINUTE_NS
from transforms.alerts.fold import AlertSettings, Book, make_alerts
from transforms.alerts.parse import parse_rules
from transforms.alerts.rules import Rule
from transforms.folds.step import apply
from transforms.metrics.histogram import buckets

START = 29_830_000  # minutes since 1970: in 2026
SECOND = 10**9
Row = dict[str, Any]
_TEXTS = [f.name for f in METRICS if f.type == pa.string()]


def rules(*given: dict[str, Any]) -> tuple[Rule, ...]:
    """Rules r0, r1 ... of the group g."""
    return parse_rules([{"name": "g", "rules": [{"name": f"r{n}"} | one for n, one in enumerate(given)]}])


def cell(
    minute: int, version: int = 1, org: str = "acme", durations: Sequence[int] = (), **values: Any
) -> dict[str, Any]:
    """A row of METRICS, `minute` counted from START; durations: ns."""
    row: Row = {f.name: 0 for f in METRICS} | dict.fromkeys(_TEXTS, "")
    row |= {"org": org, "minute": (START + minute) * 60, "version": version}
    row |= {"duration_ns": [], "ttft_ns": [], "tpot_ns": []}
    if durations:
        found, counts = np.unique(buckets(np.array(durations)), return_counts=True)
        row |= {"duration_ns": list(zip(found.tolist(), counts.tolist(), strict=True)), "calls": len(durations)}
    return row | values


def table(cells: Sequence[Row]) -> pa.Table:
    columns = {
        f.name: pa.array([c[f.name] for c in cells], pa.int64() if f.name == "minute" else f.type) for f in METRICS
    }
    columns["minute"] = columns["minute"].cast(pa.timestamp("s", "UTC"))
    return pa.table(columns, schema=METRICS)


def at(minute: float, second: float = 0) -> int:
    return int((START + minute) * MINUTE_NS + second * SECOND)


@dataclass
class World:
    """The fold, its state, and all that it told. Wake-ups come when they are due."""

    book: Book
    state: dict[str, bytes] = field(default_factory=dict)
    wake: int | None = None
    told: list[Row] = field(default_factory=list)
    settings: AlertSettings = AlertSettings()

    def send(self, now: int, *cells: Row) -> "World":
        """Gives `cells` at `now`, and before that every wake-up until then."""
        self.until(now)
        if cells:
            self._run(table(cells), now)
        return self

    def give(self, now: int, rows: pa.Table) -> "World":
        self.until(now)
        self._run(rows, now)
        return self

    def until(self, now: int) -> "World":
        while self.wake is not None and self.wake <= now:
            self._run(None, self.wake)
        return self

    def _run(self, rows: pa.Table | None, now: int) -> None:
        step = make_alerts(lambda _: self.book, self.settings)(self.state, rows, now)
        self.state = apply(self.state, step.writes)
        self.wake = step.wake_at
        assert self.wake is None or self.wake > now, "it would be called again and again"
        for name, found in step.out:
            assert name == "incidents"
            self.told += found.to_pylist()

    def states(self, rule: str = "") -> list[str]:
        """The states told in order, renewals left out."""
        return [row["state"] for row in self.told if not row["renewed"] and row["rule"].endswith(rule)]
