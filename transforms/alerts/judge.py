"""What a rule says of one of its series in one minute."""

from dataclasses import dataclass

from transforms.alerts.baseline import Baseline, judge_step
from transforms.alerts.cells import Sums
from transforms.alerts.rules import Kind, Rule, Signal
from transforms.alerts.series import Series
from transforms.metrics.histogram import quantile


@dataclass(frozen=True)
class Verdict:
    """value, limit: in the units of the signal; None: nothing can be said. band: of an anomaly, what was expected."""

    value: float | None
    limit: float | None
    breached: bool
    calm: bool
    band: tuple[float, float] | None = None
    baseline: Baseline | None = None  # what it is after this minute, where it changed


def is_early(rule: Rule) -> bool:
    """Whether it may fire before its minute is over: what is beyond the limit then stays so when more comes."""
    return rule.above is not None and rule.hold == 0


def judge(rule: Rule, series: Series, minute: int) -> Verdict | None:
    """None when the rule says nothing at this minute: an anomaly speaks at the end of each of its steps."""
    if rule.kind is Kind.ANOMALY:
        if (minute + 1) % rule.window:
            return None
        value = measure(rule.signal, series.window(rule, minute), rule.at_least)
        found = judge_step(series.baseline, rule, minute, value)
        return Verdict(value, None, found.breached, found.calm, found.band, found.baseline)
    if rule.kind is Kind.ABSENCE:
        called = series.called(minute)
        if not called:
            return _held(None, rule.window, None, 1)
        silent = minute - called
        breached = silent >= rule.window
        return Verdict(silent, rule.window, breached, not breached)
    sums = series.latest(minute) if rule.kind is Kind.BUDGET else series.window(rule, minute)
    value = measure(rule.signal, sums, rule.at_least)
    if rule.above is not None:
        return _held(value, rule.above, rule.resolve, 1)
    if minute < series.first + rule.window - 1:
        value = None  # so little of a new series is no window
    return _held(value, rule.below, rule.resolve, -1)


def _held(value: float | None, limit: float | None, resolve: float | None, sign: int) -> Verdict:
    assert limit is not None
    if value is None:
        return Verdict(None, limit, False, True)
    resolve = limit if resolve is None else resolve
    return Verdict(value, limit, sign * value > sign * limit, sign * value <= sign * resolve)


def measure(signal: Signal, sums: Sums, at_least: int) -> float | None:
    """The value of `signal` over `sums`; None with fewer than `at_least` calls or nothing to divide by."""
    if sums.get("c", 0) < at_least:
        return None
    if signal.quantile is not None:
        return _quantile(sums, signal.quantile)
    if not signal.over:
        return sums.get("n", 0)
    return sums.get("n", 0) / sums["d"] if sums.get("d", 0) > 0 else None


def _quantile(sums: Sums, q: float) -> float | None:
    buckets = {int(name): count for name, count in sums.items() if name not in ("n", "d", "c", "z")}
    return quantile(buckets, sums.get("z", 0), q)
