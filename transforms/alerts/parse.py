"""From a rules file (YAML or JSON, read already) to rules; every fault names its field and its cure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transforms.alerts.fields import Fields, RuleError
from transforms.alerts.receivers import Receiver, read_receivers
from transforms.alerts.rules import (
    BUDGET_DIMENSIONS,
    COST,
    COUNTERS,
    DIMENSIONS,
    HISTOGRAMS,
    MAX_GROUPS,
    MAX_QUANTILE_WINDOW,
    MAX_RULES,
    MAX_WINDOW,
    UNPRICED,
    Direction,
    Kind,
    Rule,
    Signal,
)

SEVERITIES = ("critical", "warning", "info")
_UNIT = {Kind.UNPRICED: "", Kind.BUDGET: "share", Kind.QUANTILE: "ns"}


@dataclass(frozen=True)
class RuleFile:
    """All alerting of one organisation. budget_events: receivers of what the budgets say of their own accord."""

    org: str
    rules: tuple[Rule, ...]
    receivers: tuple[Receiver, ...]
    budget_events: tuple[str, ...]


def parse_file(given: Any) -> RuleFile:
    """The whole file. Raises RuleError with all its faults, a line each."""
    faults: list[str] = []
    fields = Fields(given, "", faults)
    org = fields.name("org")
    receivers = read_receivers(fields.value("receivers"), faults)
    rules = _groups(fields.value("groups"), faults)
    events = fields.texts("budget_events")
    fields.rest()
    known = {one.name for one in receivers}
    for name, used in [("budget_events", events), *((rule.name, rule.receivers) for rule in rules)]:
        for one in used:
            if one not in known:
                faults.append(f"{name}: there is no receiver {one!r}: add it to receivers, or name one of them")
    if faults:
        raise RuleError("\n".join(faults))
    return RuleFile(org, rules, receivers, events)


def parse_rules(groups: Any) -> tuple[Rule, ...]:
    """The rules in the field `groups` of a file alone. Raises RuleError."""
    faults: list[str] = []
    rules = _groups(groups, faults)
    if faults:
        raise RuleError("\n".join(faults))
    return rules


def _groups(given: Any, faults: list[str]) -> tuple[Rule, ...]:
    groups = _list(given, "groups", MAX_GROUPS, faults)
    rules: list[Rule] = []
    for number, one in enumerate(groups):
        fields = Fields(one, f"groups[{number}]", faults)
        name = fields.name("name")
        for at, rule in enumerate(_list(fields.value("rules"), f"groups[{number}].rules", MAX_RULES, faults)):
            rules.append(_rule(Fields(rule, f"groups[{number}].rules[{at}]", faults), name))
        fields.rest()
    names = [rule.name for rule in rules]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        faults.append(f"groups: there are two rules {twice!r}: give one of them another name")
    return tuple(rules)


def _list(given: Any, place: str, most: int, faults: list[str]) -> list[Any]:
    if given is None:
        return []
    if not isinstance(given, list) or len(given) > most:
        faults.append(f"{place}: must be a list of at most {most}")
        return []
    return given


def _rule(fields: Fields, group: str) -> Rule:
    name = f"{group}/{fields.name('name')}"
    kind = Kind(fields.one_of("kind", [str(kind) for kind in Kind]))
    signal = _signal(fields, kind)
    budget = kind is Kind.BUDGET
    dimensions = BUDGET_DIMENSIONS if budget else DIMENSIONS
    by = {Kind.BUDGET: ("budget",), Kind.UNPRICED: ("provider", "model")}.get(kind, ())
    above, below, resolve = _limits(fields, kind, signal)
    anomaly = kind is Kind.ANOMALY
    longest = 60 if anomaly else MAX_QUANTILE_WINDOW if signal.quantile else MAX_WINDOW
    rule = Rule(
        name,
        kind,
        signal,
        above,
        below,
        resolve,
        window=1 if budget else fields.minutes("window", {Kind.UNPRICED: 15}.get(kind, 5), 1, longest),
        hold=fields.minutes("for", 0, 0, MAX_WINDOW),
        calm=fields.minutes("resolve_after", 5, 0, MAX_WINDOW),
        by=fields.some_of("by", dimensions, by),
        where=_where(fields, dimensions),
        at_least=0 if budget else fields.whole("at_least", {Kind.RATIO: 10, Kind.QUANTILE: 10}.get(kind, 0), 0, 10**9),
        direction=Direction(fields.one_of("direction", [str(one) for one in Direction], "both"))
        if anomaly
        else Direction.BOTH,
        sensitivity=_sensitivity(fields) if anomaly else 6.0,
        severity=fields.one_of("severity", SEVERITIES, "warning"),
        summary=fields.text("summary"),
        runbook=fields.text("runbook"),
        receivers=fields.texts("receivers"),
    )
    fields.rest()
    return rule


def _signal(fields: Fields, kind: Kind) -> Signal:
    match kind:
        case Kind.BUDGET:
            return Signal("used", "limit")
        case Kind.UNPRICED:
            return Signal(UNPRICED)
        case Kind.ABSENCE:
            return Signal("calls")
        case Kind.QUANTILE:
            return Signal(fields.one_of("metric", HISTOGRAMS), quantile=_quantile(fields))
        case Kind.RATIO:
            metric = fields.one_of("metric", COUNTERS)
            return Signal(metric, fields.one_of("over", COUNTERS, "attempts" if metric == "errors" else "calls"))
        case Kind.ANOMALY:
            metric = fields.one_of("metric", [*COUNTERS, *HISTOGRAMS])
            if metric in HISTOGRAMS:
                return Signal(metric, quantile=_quantile(fields))
            return Signal(metric, fields.one_of("over", ["", *COUNTERS]) if fields.has("over") else "")
        case Kind.THRESHOLD:
            return Signal(fields.one_of("metric", COUNTERS))


def _quantile(fields: Fields) -> float:
    found = fields.number("quantile", "")
    if found is None or not 0 < found < 1:
        fields.fault("quantile", "must lie between 0 and 1, as 0.95")
        return 0.5
    return found


def _sensitivity(fields: Fields) -> float:
    found = fields.number("sensitivity", "")
    if found is not None and not 2 <= found <= 100:
        fields.fault("sensitivity", "must lie between 2 and 100 robust standard deviations; 6 is usual")
    return 6.0 if found is None else float(found)


def _limits(fields: Fields, kind: Kind, signal: Signal) -> tuple[float | None, float | None, float | None]:
    """above, below, resolve."""
    if kind in (Kind.ANOMALY, Kind.ABSENCE):
        return None, None, None
    dollars = signal.metric == COST and signal.over != COST
    unit = _UNIT.get(kind) if kind in _UNIT else "dollars" if dollars else "share" if signal.over else ""
    above, below = fields.number("above", unit or ""), fields.number("below", unit or "")
    resolve = fields.number("resolve", unit or "")
    given = fields.has("above") + fields.has("below")
    if not given and kind is Kind.UNPRICED:
        above = 0
    elif given != 1:
        fields.fault("above", "give either above or below, the value beyond which it is to fire")
    if (above is None) == (below is None):
        return 0, None, 0  # a fault was told
    limit = above if above is not None else below
    resolve = limit if resolve is None else resolve
    assert resolve is not None and limit is not None
    if (above is not None and resolve > limit) or (below is not None and resolve < limit):
        fields.fault("resolve", "must lie on the safe side of the limit: not beyond above or below")
    return above, below, resolve


def _where(fields: Fields, dimensions: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    given = fields.value("where")
    if given is None:
        return ()
    inner = Fields(given, f"{fields.where}.where", fields.faults)
    found = tuple((name, inner.texts(name)) for name in dimensions if inner.has(name))
    if isinstance(given, Mapping):
        for name in given.keys() - set(dimensions):
            inner.fault(str(name), f"is not known here: one of {', '.join(dimensions)}")
    return found


__all__ = ["RuleError", "RuleFile", "parse_file", "parse_rules"]
