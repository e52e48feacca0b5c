"""What changed, as rows of INCIDENTS, with a text for people."""

import json
from collections.abc import Sequence

import pyarrow as pa

from schemas.arrow import INCIDENTS
from transforms.alerts.cells import MINUTE_NS
from transforms.alerts.life import State
from transforms.alerts.rules import COST, UNPRICED, Kind, Rule
from transforms.alerts.watch import GRACE, RENEW, Change


def incident_rows(changes: Sequence[Change]) -> pa.Table:
    """Schema INCIDENTS, a row for each change. Times are those of the data: the same after a replay."""
    return pa.Table.from_pylist([_row(change) for change in changes], INCIDENTS)


def unit_of(rule: Rule) -> str:
    """nano_dollars | ns | minutes | share | '' (a count, or one count for each of another)."""
    signal = rule.signal
    if rule.kind is Kind.ABSENCE:
        return "minutes"
    if signal.quantile is not None:
        return "ns"
    if signal.metric == COST and signal.over != COST:
        return "nano_dollars"
    return "share" if signal.over else ""


def shown(value: float | None, unit: str) -> str:
    """`value` as people read it."""
    if value is None:
        return "nothing"
    match unit:
        case "nano_dollars":
            return f"${value / 10**9:,.4f}".rstrip("0").rstrip(".")
        case "ns":
            return f"{value / 10**9:.2f} s" if value >= 10**9 else f"{value / 10**6:.0f} ms"
        case "share":
            return f"{value * 100:.4g} %"
        case "minutes":
            return f"{value:g} min"
        case _:
            return f"{value:,.6g}"


def named(rule: Rule) -> str:
    """What the rule measures, in words."""
    signal = rule.signal
    if rule.kind is Kind.BUDGET:
        return "budget used"
    what = "calls without a price" if signal.metric == UNPRICED else signal.metric.replace("_", " ")
    if signal.quantile is not None:
        what = f"{what} at quantile {signal.quantile:g}"
    over = f" / {signal.over.replace('_', ' ')}" if signal.over else ""
    return f"{what}{over} in {rule.window} min"


def _text(change: Change) -> str:
    rule, unit = change.rule, unit_of(change.rule)
    if change.value is None and change.limit is None and change.band is None:
        return "it is not watched any more"
    if rule.kind is Kind.ABSENCE:
        return "calls came again" if change.state is State.RESOLVED else f"no calls for {shown(change.value, unit)}"
    said = f"{named(rule)}: {shown(change.value, unit)}"
    if change.band is not None:
        low, high = (shown(edge, unit) for edge in change.band)
        return f"{said}, usual at this time {low} to {high}"
    if change.limit is None:
        return said
    return f"{said}, limit {'above' if rule.above is not None else 'below'} {shown(change.limit, unit)}"


def _row(change: Change) -> dict[str, object]:
    rule, end = change.rule, (change.minute + 1) * MINUTE_NS
    return {
        "org": change.org,
        "incident_id": change.incident_id,
        "rule": rule.name,
        "kind": str(rule.kind),
        "state": str(change.state),
        "renewed": change.renewed,
        "labels": json.dumps(dict(zip(rule.by, change.group, strict=True))),
        "value": change.value,
        "threshold": change.limit,
        "unit": unit_of(rule),
        "text": _text(change),
        "severity": rule.severity,
        "summary": rule.summary,
        "runbook": rule.runbook,
        "receivers": list(rule.receivers),
        "started_at": change.since * MINUTE_NS,
        "at": end,
        "valid_until": end + (RENEW + GRACE) * MINUTE_NS,
    }
