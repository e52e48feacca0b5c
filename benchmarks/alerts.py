"""How well the anomaly rule finds incidents, beside static thresholds: python -m benchmarks.alerts [SEED ...]

Made-up series of six weeks in steps of five minutes: a daily and a weekly pattern, a trend, noise wider than Poisson's,
levels from 2 to 4,000 calls a step. From the third week on each has incidents of known kinds. A detection is an
incident of the rule that begins while one of the series' is there, or within half an hour of it; another one is false.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from transforms.alerts.baseline import Baseline, judge_step
from transforms.alerts.life import Life, State, step
from transforms.alerts.rules import Kind, Rule, Signal

STEP, DAY = 5, 288  # minutes; steps a day
WEEKS, LEARNT = 6, 2
FIRST = 491_000 * 60  # a minute of 2026
LATE = 6  # steps after an incident in which it may still be found
# kind -> (factors on the level, steps)
INCIDENTS = {
    "spike x3, 30 min": (3.0, 6),
    "surge x2, 2 h": (2.0, 24),
    "creep x1.5, 6 h": (1.5, 72),
    "drop to a third, 1 h": (0.33, 12),
    "outage, 30 min": (0.0, 6),
}


@dataclass(frozen=True)
class Incident:
    kind: str
    start: int  # step
    end: int


@dataclass(frozen=True)
class Series:
    values: np.ndarray
    incidents: Sequence[Incident]


@dataclass(frozen=True)
class Score:
    found: int
    incidents: int
    false: int
    alerts: int
    delays: Sequence[int]  # minutes

    @property
    def precision(self) -> float:
        return 1 - self.false / self.alerts if self.alerts else 0.0

    @property
    def recall(self) -> float:
        return self.found / self.incidents


def generate(seed: int, count: int = 16) -> list[Series]:
    chance = np.random.default_rng(seed)
    return [_series(chance, level) for level in np.geomspace(2, 4_000, count)]


def _series(chance: np.random.Generator, level: float) -> Series:
    at = np.arange(WEEKS * 7 * DAY)
    hour, day = at % DAY / 12, at // DAY % 7
    peak = chance.uniform(11, 17)
    daily = np.exp(chance.uniform(0.4, 1.4) * np.cos((hour - peak) / 24 * 2 * np.pi))
    weekly = np.where(day >= 5, chance.uniform(0.2, 1.0), 1.0)
    trend = chance.uniform(0.97, 1.08) ** (at / (7 * DAY))
    usual = level * daily * weekly * trend
    factors, incidents = np.ones(len(at)), []
    for number, start in enumerate(range(LEARNT * 7 * DAY, len(at) - DAY, 2 * DAY)):
        kind = list(INCIDENTS)[number % len(INCIDENTS)]
        factor, length = INCIDENTS[kind]
        begin = start + int(chance.integers(0, DAY))
        factors[begin : begin + length] = factor
        incidents.append(Incident(kind, begin, begin + length))
    wide = chance.gamma(shape := chance.uniform(30, 200), 1 / shape, len(at))
    return Series(chance.poisson(usual * factors * wide), incidents)


def anomaly(series: Series, rule: Rule) -> Iterator[int]:
    """The steps at which incidents of the anomaly rule begin."""
    baseline, life = Baseline(), Life()
    for at, value in enumerate(series.values):
        minute = FIRST + (at + 1) * STEP - 1
        found = judge_step(baseline, rule, minute, float(value))
        baseline = found.baseline
        life, told = step(life, minute, found.breached, found.calm, rule.hold, rule.calm)
        if told is State.FIRING:
            yield at


def static(series: Series, low: float, high: float, rule: Rule) -> Iterator[int]:
    """The steps at which incidents of two thresholds begin."""
    life = Life()
    for at, value in enumerate(series.values):
        out = value > high or value < low
        life, told = step(life, FIRST + (at + 1) * STEP - 1, out, not out, rule.hold, rule.calm)
        if told is State.FIRING:
            yield at


def bounds(series: Series) -> tuple[float, float]:
    """Thresholds that the weeks without incidents stayed within."""
    learnt = series.values[: LEARNT * 7 * DAY]
    return float(learnt.min()), float(learnt.max())


def score(all_series: Sequence[Series], alerts: Sequence[Sequence[int]], kind: str = "") -> Score:
    """With `kind`, recall and delay of that kind alone."""
    found, false, total, delays, count = 0, 0, 0, [], 0
    for series, raised in zip(all_series, alerts, strict=True):
        judged = [at for at in raised if at >= LEARNT * 7 * DAY]
        total += len(judged)
        false += sum(not any(i.start <= at <= i.end + LATE for i in series.incidents) for at in judged)
        for incident in (i for i in series.incidents if not kind or i.kind == kind):
            hits = [at for at in judged if incident.start <= at <= incident.end + LATE]
            count += 1
            found += bool(hits)
            delays += [(hits[0] + 1 - incident.start) * STEP] if hits else []
    return Score(found, count, false, total, delays)


def run(seed: int) -> None:
    all_series = generate(seed)
    plain = Rule("b/anomaly", Kind.ANOMALY, Signal("calls"))
    rules = {f"anomaly, sensitivity {s}": replace(plain, sensitivity=float(s)) for s in (4, 6, 8)}
    raised = {name: [list(anomaly(series, rule)) for series in all_series] for name, rule in rules.items()}
    raised["static: all that two weeks had"] = [list(static(one, *bounds(one), plain)) for one in all_series]
    weeks = len(all_series) * (WEEKS - LEARNT)
    incidents = sum(len(series.incidents) for series in all_series)
    print(f"{len(all_series)} series of {WEEKS} weeks, {incidents} incidents, seed {seed}")
    print("rule | precision | recall | false a series and week | median delay, min")
    for name, alerts in raised.items():
        all_ = score(all_series, alerts)
        delay = median(all_.delays or [0])
        print(f"{name} | {all_.precision:.2f} | {all_.recall:.2f} | {all_.false / weeks:.2f} | {delay:g}")
    print("recall by kind | " + " | ".join(raised))
    for kind in INCIDENTS:
        print(f"{kind} | " + " | ".join(f"{score(all_series, alerts, kind).recall:.2f}" for alerts in raised.values()))


if __name__ == "__main__":
    for given in sys.argv[1:] or ["7"]:
        run(int(given))
