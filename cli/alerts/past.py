"""`spanmill alert test`: a rule over the metrics that the store has, as rows and as a plot."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import plotext
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from cli.exits import Failure
from schemas.arrow import METRICS
from transforms.alerts.life import State
from transforms.alerts.replay import Replay
from transforms.alerts.rules import Rule
from transforms.alerts.series import Group
from transforms.alerts.tell import incident_rows, named, unit_of

_HEIGHT = 20
_UNITS = {"nano_dollars": ("dollars", 1e9), "ns": ("seconds", 1e9), "share": ("%", 0.01), "minutes": ("minutes", 1)}


def past_metrics(client: Client, org: str, first: int, last: int) -> pa.Table:
    """Rows of METRICS of `org` from minute `first` to `last` (since 1970). Raises Failure."""
    sql = (
        f"SELECT {', '.join(METRICS.names)} FROM metrics_1m WHERE org = {{org:String}}"
        " AND minute >= toDateTime({first:Int64}, 'UTC') AND minute <= toDateTime({last:Int64}, 'UTC')"
    )
    try:
        found = client.query(sql, parameters={"org": org, "first": first * 60, "last": last * 60})
    except DatabaseError as error:
        raise Failure(f"the metrics cannot be read: {str(error).splitlines()[0]}", "spanmill migrate") from error
    columns: dict[str, list[Any]] = {name: [] for name in METRICS.names}
    for row in found.named_results():
        for name, value in row.items():
            columns[name].append(list(value.items()) if isinstance(value, Mapping) else value)
    return pa.table(columns, schema=METRICS)


def fired(found: Replay) -> list[dict[str, Any]]:
    """A row for each incident: when it would have fired and been resolved, and what was said."""
    rows: dict[str, dict[str, Any]] = {}
    for change, row in zip(found.changes, incident_rows(found.changes).to_pylist(), strict=True):
        if change.state is State.FIRING:
            rows[change.incident_id] = {
                "fired_at": _time(change.minute + 1),
                "resolved_at": None,
                "labels": row["labels"],
                "value": row["value"],
                "text": row["text"],
            }
        elif change.state is State.RESOLVED and change.incident_id in rows:
            rows[change.incident_id]["resolved_at"] = _time(change.minute + 1)
    return list(rows.values())


def points(found: Replay, rule: Rule) -> list[dict[str, Any]]:
    """A row for each point of each series, in the rule's units."""
    return [
        {
            "time": _time(point.minute),
            "labels": dict(zip(rule.by, point.group, strict=True)),
            "value": point.value,
            "threshold": point.limit,
            "usual": point.band,
        }
        for point in found.points
    ]


def plot(found: Replay, rule: Rule, width: int, colour: bool) -> str:
    """The series that would have fired most, with its limit or what was usual, and where it would have fired."""
    group = _worst(found)
    shown = [point for point in found.points if point.group == group and point.value is not None]
    unit, factor = _UNITS.get(unit_of(rule), ("", 1))
    values = {point.minute: float(point.value or 0) / factor for point in shown}
    fires = [change.minute for change in found.changes if change.state is State.FIRING and change.group == group]
    labels = ", ".join(f"{k}={v}" for k, v in zip(rule.by, group, strict=True))
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, _HEIGHT)
    figure.date().activate(form="%d/%m %H:%M", zone=0)
    figure.title(f"{rule.name}: {named(rule)} {f'({unit}) ' if unit else ''}{labels}")
    for edge, label in ((0, "usual from"), (1, "usual to")):
        _draw({point.minute: point.band[edge] / factor for point in shown if point.band}, label, "·")
    _draw(values, "value", "braille", lines=True)
    _draw({minute: values.get(minute, 0.0) for minute in fires}, "fired", "X")
    if shown and shown[0].limit is not None:
        figure.line(shown[0].limit / factor, label="limit")
    return figure.build().string(colorless=not colour)


def _draw(values: Mapping[int, float], label: str, marker: str, lines: bool = False) -> None:
    if values:
        signal = plotext.figure.signal([minute * 60 for minute in values], list(values.values()), marker=marker)
        signal.label(label)
        signal.lines(lines)
        plotext.figure.draw(signal)


def _worst(found: Replay) -> Group:
    fires = Counter(change.group for change in found.changes if change.state is State.FIRING)
    seen = Counter(point.group for point in found.points)
    return (fires or seen).most_common(1)[0][0]


def _time(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
