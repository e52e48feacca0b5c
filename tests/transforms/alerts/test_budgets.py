"""Rules on budgets: judged by the last balance of each window, which holds until the next one."""

import json
from typing import Any

import pyarrow as pa

from schemas.arrow import BUDGET_BALANCES
from tests.transforms.alerts.world import World, at, rules
from transforms.alerts.fold import AlertSettings

DOLLAR = 10**9
HOUR = 60


def _balances(*rows: dict[str, Any]) -> pa.Table:
    base: dict[str, Any] = {f.name: "" for f in BUDGET_BALANCES} | {"org": "acme", "budget": "team-a", "hard": True}
    base |= {"unit": "nano_dollars", "window": "day", "window_start": at(0), "window_end": at(24 * HOUR)}
    base |= {"limit": 10 * DOLLAR, "spent": 0, "pending": 0, "time": at(0), "version": 1}
    return pa.Table.from_pylist([base | row for row in rows], BUDGET_BALANCES)


def _world(*given: dict[str, Any]) -> World:
    return World({"acme": rules(*given)}, settings=AlertSettings(budgets=True))


def test_a_budget_fires_when_so_much_of_it_is_used_and_stays_so_without_news():
    world = _world({"kind": "budget", "above": "80%", "resolve": "50%", "resolve_after": "1m"})
    world.give(at(0, 10), _balances({"spent": 7 * DOLLAR, "pending": DOLLAR, "time": at(0, 9), "version": 5}))
    assert world.told == []
    world.give(at(0, 20), _balances({"spent": 8 * DOLLAR, "pending": DOLLAR, "time": at(0, 19), "version": 6}))
    world.until(at(3 * HOUR))
    [fired] = [row for row in world.told if not row["renewed"]]
    assert (fired["state"], json.loads(fired["labels"]), fired["value"]) == ("firing", {"budget": "team-a"}, 0.9)
    assert fired["text"] == "budget used: 90 %, limit above 80 %"
    world.give(at(3 * HOUR, 5), _balances({"spent": 4 * DOLLAR, "time": at(3 * HOUR, 4), "version": 7}))
    world.until(at(3 * HOUR + 5))
    assert world.states() == ["firing", "resolved"]


def test_a_correction_of_a_window_that_is_over_says_nothing_of_the_present():
    world = _world({"kind": "budget", "above": "80%"})
    over = {"window_start": at(-24 * HOUR), "window_end": at(0), "spent": 99 * DOLLAR, "version": 9}
    world.give(at(1, 10), _balances(over | {"time": at(1, 5)}, {"spent": DOLLAR, "time": at(1, 6), "version": 10}))
    assert world.until(at(10)).told == []


def test_rules_on_metrics_are_none_of_budgets():
    world = _world({"kind": "threshold", "metric": "calls", "above": 0}, {"kind": "budget", "above": "10%"})
    world.give(at(0, 10), _balances({"spent": 9 * DOLLAR, "time": at(0, 9), "version": 5}))
    assert {row["rule"] for row in world.told} == {"g/r1"}
