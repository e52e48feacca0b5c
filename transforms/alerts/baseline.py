"""What a series usually is at this hour of the week, and whether a step of it is unusual.

Robust throughout: the median of an hour's steps, the median of that hour in the last four weeks, the median residual of
the last day as the level that trends move, and median absolute deviations as the scale. A step far out is an anomaly at
once; a CUSUM adds up steps that are a little out for long. In the first week nothing is known of a pattern and nothing
is said; from the third week on an incident is no pattern of the weeks after it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from transforms.alerts.rules import COST, Direction, Rule

HOUR = 60
DAY, WEEK = 24, 7 * 24  # hours
_KEPT = 4 * WEEK
# A CUSUM takes what is beyond this many deviations; at so many times the sensitivity it is an anomaly.
_SLACK, _CUSUM = 1.5, 3.0
_FLOOR = 0.03  # the least deviation, in logarithms: some 3 %
_MAD = 1.4826  # of a normal distribution's standard deviation
_NONE = math.nan


@dataclass(frozen=True)
class Baseline:
    """first: hour since 1970 of the first entry of `hours`, one entry an hour, NaN where it was not seen.

    hours: median of its steps. rest: median residual. noise: deviation of the steps about their median. All
    are logarithms of 1 + value. hour: the one at hand; steps: its values so far; usual: what it and the hours beside it
    are expected to be, scale: their deviation, NaN while that is not known. cusum: up and down.
    """

    first: int = 0
    hours: tuple[float, ...] = ()
    rest: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()
    hour: int = 0
    steps: tuple[float, ...] = ()
    usual: tuple[float, float, float] = (_NONE, _NONE, _NONE)
    scale: float = _NONE
    up: float = 0.0
    down: float = 0.0

    def to_json(self) -> list[Any]:
        if not self.hour:
            return []
        lists = [_shown(one, 4) for one in (self.hours, self.rest, self.noise)]
        return [
            self.first,
            *lists,
            self.hour,
            self.steps,
            _shown(self.usual),
            *_shown((self.scale,)),
            self.up,
            self.down,
        ]

    @staticmethod
    def from_json(kept: list[Any]) -> "Baseline":
        if not kept:
            return Baseline()
        first, *lists, hour, steps, usual, scale, up, down = kept
        hours, rest, noise, (a, b, c), (scale,) = (_read(one) for one in (*lists, usual, [scale]))
        return Baseline(first, hours, rest, noise, hour, tuple(steps), (a, b, c), scale, up, down)


@dataclass(frozen=True)
class Step:
    """band: the values between which nothing is unusual; None while the pattern is not known."""

    breached: bool
    calm: bool
    band: tuple[float, float] | None
    baseline: Baseline


def judge_step(baseline: Baseline, rule: Rule, minute: int, value: float | None) -> Step:
    """The step of `rule` that ends with `minute`. Without a value nothing is learnt, and it is calm."""
    hour = minute // HOUR
    if hour != baseline.hour:
        baseline = _turned(baseline, hour)
    if value is None:
        return Step(False, True, None, baseline)
    logarithm = math.log1p(max(0.0, value * _unit(rule)))
    # A cliff between two hours is one of the pattern: what is as the hour itself is is usual too.
    centre = min(_centre(baseline, minute, rule.window), baseline.usual[1], key=lambda x: abs(logarithm - x))
    baseline = replace(baseline, steps=(*baseline.steps, logarithm))
    if math.isnan(centre):
        return Step(False, True, None, baseline)
    z, limit = (logarithm - centre) / baseline.scale, rule.sensitivity
    up, down = _added(baseline.up, z, limit), _added(baseline.down, -z, limit)
    wants_up, wants_down = rule.direction is not Direction.DOWN, rule.direction is not Direction.UP
    breached = (wants_up and (z > limit or up > _CUSUM * limit)) or (
        wants_down and (z < -limit or down > _CUSUM * limit)
    )
    calm = not breached and (not wants_up or z < limit / 2) and (not wants_down or z > -limit / 2)
    edges = (centre - limit * baseline.scale, centre + limit * baseline.scale)
    lower, upper = (max(0.0, math.expm1(edge)) / _unit(rule) for edge in edges)
    return Step(breached, calm, (lower, upper), replace(baseline, up=up, down=down))


def _added(kept: float, out: float, limit: float) -> float:
    """The CUSUM after a step that is `out` deviations out; it ends little above its limit, so that it comes back."""
    return min(_CUSUM * limit + 2 * _SLACK, max(0.0, kept + min(out, limit) - _SLACK))


def _centre(baseline: Baseline, minute: int, window: int) -> float:
    """What the step that ends with `minute` is expected to be: its middle lies between the middles of two hours."""
    at = (minute + 1 - window / 2) / HOUR - 0.5 - (baseline.hour - 1)
    at = min(max(at, 0.0), 2.0)
    before = min(int(at), 1)
    return baseline.usual[before] + (at - before) * (baseline.usual[before + 1] - baseline.usual[before])


def _turned(baseline: Baseline, hour: int) -> Baseline:
    """The baseline at the start of `hour`: the one at hand is written down, hours that were not seen are NaN."""
    if not baseline.hour:
        return Baseline(hour, hour=hour)
    mine = _NONE, _NONE, _NONE
    if baseline.steps:
        steps = np.array(baseline.steps)
        middle, usual = float(np.median(steps)), _usual(baseline, baseline.hour)
        mine = middle, middle - usual, _MAD * float(np.median(np.abs(steps - middle)))
    gap = [_NONE] * min(hour - baseline.hour - 1, _KEPT)
    hours = (*baseline.hours, mine[0], *gap)[-_KEPT:]
    rest = (*baseline.rest, mine[1], *gap)[-WEEK:]
    noise = (*baseline.noise, mine[2], *gap)[-WEEK:]
    turned = replace(baseline, first=hour - len(hours), hours=hours, rest=rest, noise=noise, hour=hour, steps=())
    level = _median(rest[-DAY:])
    a, b, c = (_usual(turned, one) + (0.0 if math.isnan(level) else level) for one in (hour - 1, hour, hour + 1))
    return replace(turned, usual=(a, b, c), scale=_scale(rest, noise))


def _scale(rest: tuple[float, ...], noise: tuple[float, ...]) -> float:
    """Deviation of a step at the hour to come, by the last week: that of hours about their level, and that of steps
    within an hour at this time of the day."""
    middle = _median(rest)
    between = _MAD * _median([abs(x - middle) for x in rest])
    near = [noise[-back + aside] for back in range(DAY, len(noise), DAY) for aside in (-1, 0, 1)]
    within = _median(near or noise)
    return math.hypot(_FLOOR, *(0.0 if math.isnan(x) else x for x in (between, within)))


def _usual(baseline: Baseline, hour: int) -> float:
    """The median of `hour` in the weeks before."""
    return _median([_at(baseline, hour - back) for back in range(WEEK, _KEPT + 1, WEEK)])


def _at(baseline: Baseline, hour: int) -> float:
    place = hour - baseline.first
    return baseline.hours[place] if 0 <= place < len(baseline.hours) else _NONE


def _median(values: Sequence[float]) -> float:
    known = [x for x in values if not math.isnan(x)]
    return float(median(known)) if known else _NONE


def _unit(rule: Rule) -> float:
    """Shares are small numbers: they are told in thousandths, money in thousands of nano-dollars, times in ms."""
    if rule.signal.over:
        return 1_000.0
    if rule.signal.quantile:
        return 1e-6
    return 1e-3 if rule.signal.metric == COST else 1.0


def _shown(values: Sequence[float], digits: int = 6) -> list[float | None]:
    return [None if math.isnan(x) else round(x, digits) for x in values]


def _read(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(_NONE if x is None else x for x in values)
