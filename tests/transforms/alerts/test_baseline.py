"""The seasonal baseline: what it takes for usual, and what it does not."""

import math

import numpy as np

from benchmarks.alerts import anomaly, generate, score
from tests.transforms.alerts.world import START, rules
from transforms.alerts.baseline import Baseline, judge_step
from transforms.alerts.series import Series, pack, unpack

[RULE] = rules({"kind": "anomaly", "metric": "calls", "window": "5m", "resolve_after": "10m"})
DAY = 288  # steps
BEGIN = START - START % (7 * 24 * 60)


def _level(step: int) -> float:
    """Twice as much at noon as at midnight, half of it at weekends."""
    return 300 * (1.5 - 0.5 * math.cos(step / DAY * 2 * math.pi)) * (0.5 if step // DAY % 7 >= 5 else 1)


def _run(values: list[float]) -> tuple[list[int], Baseline]:
    """The steps that are unusual, and the baseline after them."""
    odd, baseline = [], Baseline()
    for step, value in enumerate(values):
        found = judge_step(baseline, RULE, BEGIN + 5 * step + 4, value)
        baseline = found.baseline
        odd += [step] if found.breached else []
    return odd, baseline


def _usual(days: int) -> list[float]:
    chance = np.random.default_rng(1)
    return [float(chance.poisson(_level(step))) for step in range(days * DAY)]


def test_nothing_is_said_while_the_pattern_is_not_known():
    values = _usual(1)
    values[100] = 100_000
    assert _run(values)[0] == []


def test_a_night_that_is_busy_as_a_noon_is_unusual_and_the_noon_is_not():
    values = _usual(21)
    night = 16 * DAY  # a Wednesday's midnight, by the pattern of the made-up weeks
    values[night : night + 6] = [_level(night + DAY // 2)] * 6
    odd, _ = _run(values)
    assert set(range(night, night + 6)) <= set(odd)
    assert [step for step in odd if not night <= step < night + 12] == []


def test_an_outage_is_unusual_and_does_not_become_the_pattern():
    values = _usual(22)
    values[14 * DAY + 100 : 14 * DAY + 112] = [0.0] * 12
    odd, _ = _run(values)
    assert set(range(14 * DAY + 100, 14 * DAY + 112)) <= set(odd)
    assert not [step for step in odd if step >= 21 * DAY]


def test_what_stays_different_becomes_usual_within_days():
    values = _usual(21) + [3 * value for value in _usual(28)[21 * DAY :]]
    odd, _ = _run(values)
    assert 21 * DAY in odd or 21 * DAY + 1 in odd
    assert not [step for step in odd if step >= 24 * DAY]


def test_direction_says_which_side_counts():
    [down] = rules({"kind": "anomaly", "metric": "calls", "direction": "down"})
    _, baseline = _run(_usual(15))
    minute = BEGIN + 5 * 15 * DAY + 4
    assert not judge_step(baseline, down, minute, 5_000).breached
    assert judge_step(baseline, down, minute, 0).breached
    assert judge_step(baseline, RULE, minute, 5_000).breached


def test_a_baseline_is_small_and_the_same_after_it_was_kept():
    odd, baseline = _run(_usual(40))
    assert odd == []
    data = pack(RULE, {(): Series(baseline=baseline, seen=1)})
    assert len(data) < 12_000
    kept = unpack(data).series[()].baseline
    minute = BEGIN + 5 * 40 * DAY + 4
    for value in (0, 150, 400, 5_000):
        assert judge_step(kept, RULE, minute, value).breached == judge_step(baseline, RULE, minute, value).breached


def test_hours_that_were_not_seen_leave_gaps_and_the_pattern_is_kept():
    _, baseline = _run(_usual(15))
    found = judge_step(baseline, RULE, BEGIN + 5 * 17 * DAY + 4, None)
    assert (found.breached, found.calm, found.band) == (False, True, None)
    later = judge_step(found.baseline, RULE, BEGIN + 5 * 17 * DAY + 9, _level(17 * DAY + 1))
    assert later.band is not None and not later.breached


def test_it_finds_more_and_is_wrong_less_often_than_thresholds_that_fit_two_weeks():
    all_series = generate(3, 3)[1:]
    found = score(all_series, [list(anomaly(series, RULE)) for series in all_series])
    assert found.recall > 0.6 and found.precision > 0.6
