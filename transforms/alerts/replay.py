"""When a rule would have fired on metrics of the past: the same series, judgement and lives as in the stream."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from transforms.alerts.cells import Sums, metric_cells, sums_of
from transforms.alerts.judge import judge
from transforms.alerts.rules import Rule
from transforms.alerts.series import Group, Series
from transforms.alerts.watch import Change, close, peek, take


@dataclass(frozen=True)
class Point:
    """What a series was at the end of `minute`, in the rule's units; band: of an anomaly, what is usual."""

    group: Group
    minute: int
    value: float | None
    limit: float | None
    band: tuple[float, float] | None


@dataclass(frozen=True)
class Replay:
    points: Sequence[Point]
    changes: Sequence[Change]


def replay(org: str, rule: Rule, metrics: pa.Table, first: int, last: int) -> Replay:
    """`rule` over rows of METRICS of `org`, from minute `first` to `last` (since 1970), each complete at its end.

    Rows before `first` are not looked at.
    """
    rows: dict[int, list[tuple[int, Group, Sums]]] = defaultdict(list)
    if metrics.num_rows:
        for row in sums_of(metric_cells([metrics]), rule):
            rows[row[0]].append(row)
    found: dict[Group, Series] = {}
    points: list[Point] = []
    changes: list[Change] = []
    for minute in range(first, last + 1):
        groups = take(found, [minute], rows[minute])
        changes += peek(org, rule, found, groups, range(minute, minute + 1))
        for group, series in found.items():
            if verdict := judge(rule, series, minute):
                points.append(Point(group, minute, verdict.value, verdict.limit, verdict.band))
        changes += close(org, rule, found, minute, minute + 1)
    return Replay(points, [change for change in changes if not change.renewed])
