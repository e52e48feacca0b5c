"""The alert fold: what fires when, and that it is the same after a crash."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.alerts.world import START, World, at, cell, rules
from transforms.alerts.cells import MINUTE_NS
from transforms.alerts.fold import LIVE, AlertSettings
from transforms.folds.segments import UnknownSchemaVersion

SPEND = {"kind": "threshold", "metric": "cost", "above": "5", "window": "5m", "resolve_after": "2m"}


def test_a_threshold_fires_in_the_second_in_which_its_sum_is_complete():
    world = World({"acme": rules(SPEND)})
    world.send(at(0, 10), cell(0, cost_nano=5 * 10**9, calls=1))
    assert world.told == []
    world.send(at(0, 12), cell(0, version=2, cost_nano=5 * 10**9 + 1, calls=2))
    [row] = world.told
    assert (row["state"], row["rule"], row["value"], row["threshold"]) == ("firing", "g/r0", 5 * 10**9 + 1, 5 * 10**9)
    assert (row["started_at"], row["at"]) == (at(0), at(1))
    assert row["text"] == "cost in 5 min: $5, limit above $5"


def test_it_is_resolved_when_it_was_calm_for_as_long_as_the_rule_says():
    world = World({"acme": rules(SPEND)}).send(at(0, 10), cell(0, cost_nano=6 * 10**9, calls=1)).until(at(20))
    assert world.states() == ["firing", "resolved"]
    # minutes 0 to 4 have it in their window, 5 is calm, and 7 is two minutes later
    assert world.told[-1]["at"] == at(8)
    assert len({row["incident_id"] for row in world.told}) == 1
    assert world.state == {} and world.wake is None


def test_a_cell_that_is_told_again_counts_once():
    world = World({"acme": rules(SPEND)})
    for second, version in ((5, 1), (10, 2), (15, 3), (20, 2)):
        world.send(at(0, second), cell(0, version, cost_nano=4 * 10**9, calls=1))
    world.send(at(1, 5), cell(1, 1, cost_nano=10**9, calls=1))
    assert world.told == []
    world.send(at(1, 12), cell(1, 1, model="b", cost_nano=1, calls=1))
    assert world.states() == ["firing"]


def test_what_is_older_than_some_minutes_fires_nothing():
    world = World({"acme": rules(SPEND, {"kind": "absence", "window": "5m"})})
    for minute in range(60):
        world.send(at(100, minute * 2), cell(minute, cost_nano=9 * 10**9, calls=5))
    world.send(at(100, 200), cell(100 - LIVE, cost_nano=9 * 10**9, calls=5))
    assert world.told == []


def test_a_hold_time_makes_it_pending_first_and_it_must_hold_throughout():
    world = World({"acme": rules(SPEND | {"for": "3m", "window": "1m"})})
    for minute, cost in enumerate([6, 6, 6, 1, 6, 6, 6, 6, 6, 1, 1, 1, 1]):
        world.send(at(minute, 30), cell(minute, cost_nano=cost * 10**9, calls=1))
    world.until(at(14))
    assert world.states() == ["pending", "ok", "pending", "firing", "resolved"]
    firing = next(row for row in world.told if row["state"] == "firing")
    assert (firing["started_at"], firing["at"]) == (at(4), at(8))


def test_a_value_that_trembles_about_the_limit_is_one_incident():
    world = World({"acme": rules(SPEND | {"window": "1m", "resolve": "2", "resolve_after": "1m"})})
    for minute in range(30):
        world.send(at(minute, 30), cell(minute, cost_nano=(6 if minute % 2 else 3) * 10**9, calls=1))
    assert world.states() == ["firing"]


def test_a_ratio_wants_enough_calls_and_a_group_is_an_incident_of_its_own():
    rule = {
        "kind": "ratio",
        "metric": "errors",
        "above": "20%",
        "by": ["model"],
        "at_least": 10,
        "where": {"team": "a"},
    }
    world = World({"acme": rules(rule)})
    world.send(at(0, 30), cell(0, model="x", team="a", calls=5, attempts=9, errors=9))
    assert world.told == []
    few = cell(1, model="x", team="a", calls=9, attempts=9, errors=2)
    world.send(at(1, 30), few, cell(1, model="y", team="b", calls=99, attempts=99, errors=99))
    world.send(at(1, 40), cell(1, model="y", team="a", calls=10, attempts=10, errors=2))
    [row] = world.told
    assert (json.loads(row["labels"]), row["value"], row["unit"]) == ({"model": "x"}, 11 / 18, "share")


def test_a_quantile_is_that_of_all_cells_of_the_window():
    rule = {"kind": "quantile", "metric": "duration", "quantile": 0.9, "above": "2s", "window": "3m"}
    world = World({"acme": rules(rule)})
    world.send(at(0, 5), cell(0, durations=[10**9] * 90), cell(0, model="b", durations=[3 * 10**9] * 10))
    assert world.told == []
    world.send(at(1, 5), cell(1, durations=[3 * 10**9] * 2))
    [row] = world.told
    assert row["value"] == pytest.approx(3 * 10**9, rel=0.01)


def test_below_is_judged_when_the_minute_is_over():
    rule = {"kind": "threshold", "metric": "calls", "below": 10, "window": "1m"}
    world = World({"acme": rules(rule)})
    world.send(at(0, 5), cell(0, calls=3)).send(at(0, 50), cell(0, 2, calls=12))
    world.send(at(1, 50), cell(1, calls=9)).until(at(2, 7))
    assert world.told == []
    world.until(at(2, 8))
    assert world.states() == ["firing"]


def test_silence_is_an_incident_until_there_are_calls_again():
    world = World({"acme": rules({"kind": "absence", "window": "5m", "by": ["service"], "resolve_after": "0m"})})
    for minute in range(10):
        world.send(at(minute, 30), cell(minute, service="a", calls=1), cell(minute, service="b", calls=int(minute < 3)))
    [row] = world.told
    assert (json.loads(row["labels"]), row["at"], row["text"]) == ({"service": "b"}, at(8), "no calls for 5 min")
    world.send(at(12, 5), cell(12, service="b", calls=1)).until(at(13, 10))
    assert world.states() == ["firing", "resolved"]


def test_an_unpriced_and_a_zero_priced_model_are_found():
    world = World({"acme": rules({"kind": "unpriced"})})
    world.send(
        at(0, 5),
        cell(0, model="free", calls=3, input_tokens=50),
        cell(0, model="new", calls=2, unpriced_calls=1, cost_nano=5),
    )
    world.send(at(0, 12), cell(0, model="good", calls=3, input_tokens=50, cost_nano=7), cell(0, model="mute", calls=1))
    found = {json.loads(row["labels"])["model"]: row["value"] for row in world.told}
    assert found == {"free": 3, "new": 1}


def test_groups_beyond_the_bound_are_one_series():
    world = World({"acme": rules({"kind": "threshold", "metric": "calls", "above": 15, "by": ["model"]})})
    world.send(at(0, 5), *(cell(0, model=f"m{n}", calls=1) for n in range(100)))
    world.send(at(0, 12), *(cell(0, model=f"n{n}", calls=8) for n in range(2)))
    [row] = world.told
    assert (json.loads(row["labels"]), row["value"]) == ({"model": "(other)"}, 16)


def test_a_rule_that_is_deleted_or_measures_another_thing_ends_its_incidents():
    world = World({"acme": rules(SPEND, SPEND | {"window": "9m"})})
    world.send(at(0, 5), cell(0, cost_nano=6 * 10**9, calls=1))
    world.book = {"acme": rules(SPEND | {"window": "7m", "above": 100})}
    world.send(at(0, 8), cell(0, 2, cost_nano=6 * 10**9, calls=1))
    assert sorted(world.states()) == ["firing", "firing", "resolved", "resolved"]
    assert {row["incident_id"] for row in world.told[:2]} == {row["incident_id"] for row in world.told[2:]}
    world.book = {}
    world.until(at(3))
    assert world.state == {}


def test_a_limit_that_changes_keeps_the_incident():
    world = World({"acme": rules(SPEND)}).send(at(0, 5), cell(0, cost_nano=6 * 10**9, calls=1))
    world.book = {"acme": rules(SPEND | {"above": 10, "resolve": 4})}
    world.send(at(1, 5), cell(1, cost_nano=10**9, calls=1)).until(at(3))
    assert world.states() == ["firing"]


def test_a_firing_incident_is_told_again_and_again():
    world = World({"acme": rules(SPEND | {"window": "1m"})})
    for minute in range(20):
        world.send(at(minute, 30), cell(minute, cost_nano=6 * 10**9, calls=1))
    assert world.states() == ["firing"]
    renewed = [row for row in world.told if row["renewed"]]
    assert [row["at"] for row in renewed] == [at(6), at(11), at(16)]
    assert all(row["valid_until"] == row["at"] + 20 * MINUTE_NS for row in renewed)


def test_an_organisation_without_rules_leaves_nothing_behind():
    world = World({"other": rules(SPEND)}).send(at(0, 5), cell(0, calls=1, cost_nano=9 * 10**9))
    assert (world.state, world.told, world.wake) == ({}, [], None)


def test_state_of_another_version_is_refused():
    world = World({"acme": rules(SPEND)}).send(at(0, 5), cell(0, calls=1))
    world.state["rule/acme/g/r0"] = b"[99" + world.state["rule/acme/g/r0"][2:]
    with pytest.raises(UnknownSchemaVersion):
        world.send(at(0, 10), cell(0, 2, calls=1))


RULES = rules(
    SPEND | {"window": "3m", "by": ["model"]},
    SPEND | {"window": "2m", "for": "2m", "resolve": "3"},
    {"kind": "threshold", "metric": "calls", "below": 4, "window": "2m", "resolve_after": "1m"},
    {"kind": "absence", "window": "3m", "by": ["model"], "resolve_after": "0m"},
)
# For each minute: what the two models cost and how many calls they had.
MINUTES = st.lists(st.tuples(*[st.integers(0, 4)] * 4), min_size=5, max_size=14)


def _played(minutes, crash: tuple[int, int, int] | None = None) -> set[tuple[str, str]]:
    """Each minute's cells come in three versions. crash: at which delivery, back by how many, down for how long (s)."""
    deliveries = []
    for minute, (cost_a, calls_a, cost_b, calls_b) in enumerate(minutes):
        for part in (1, 2, 3):
            pairs = [("a", cost_a, calls_a), ("b", cost_b, calls_b)]
            rows = [
                cell(minute, part, model=model, cost_nano=cost * part * 10**9, calls=calls * part)
                for model, cost, calls in pairs
                if calls
            ]
            deliveries.append((at(minute, 15 * part), rows))
    world = World({"acme": RULES})
    saved: list[tuple[dict[str, bytes], int | None]] = [({}, None)]
    place, delay = 0, 0
    while place < len(deliveries):
        if crash and place == crash[0]:
            back = min(crash[1], place)
            world.state, world.wake = saved[place - back]
            world.settings = AlertSettings(run="after the crash")
            again = [row for _, rows in deliveries[place - back : place + 1] for row in rows]
            now = deliveries[place][0] + crash[2] * 10**9
            if world.wake is not None and world.wake <= now:
                world._run(None, now)  # Flink's timers that are due fire first, at the time it is by then
            if again:
                world.send(now + 10**9, *again)
            delay, crash = now + 2 * 10**9, None
            saved += [saved[-1]] * 99
        else:
            now, rows = deliveries[place]
            world.send(max(now, delay + place), *rows)
            saved.append((dict(world.state), world.wake))
        place += 1
    world.until(at(len(minutes) + 30))
    return {(row["incident_id"], row["state"]) for row in world.told if row["state"] in ("firing", "resolved")}


@settings(max_examples=12, deadline=None)
@given(MINUTES, st.integers(1, 60), st.integers(0, 10), st.integers(0, 50))
def test_a_crash_and_a_replay_find_the_same_incidents(minutes, place, back, down):
    assert _played(minutes, (min(place, 3 * len(minutes) - 1), back, down)) == _played(minutes)


@settings(max_examples=12, deadline=None)
@given(MINUTES, st.data())
def test_any_split_of_a_minutes_rows_finds_the_same_incidents(minutes, data):
    whole, split = World({"acme": RULES}), World({"acme": RULES})
    for minute, (cost_a, calls_a, cost_b, calls_b) in enumerate(minutes):
        rows = [
            cell(minute, 1, model="a", cost_nano=cost_a * 10**9, calls=calls_a),
            cell(minute, 1, model="b", cost_nano=cost_b * 10**9, calls=calls_b),
            cell(minute, 2, model="a", cost_nano=cost_a * 2 * 10**9, calls=calls_a),
        ]
        whole.send(at(minute, 30), *rows)
        cuts = sorted(data.draw(st.lists(st.integers(0, 3), max_size=2)))
        for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, 3], strict=True)):
            split.send(at(minute, 20 + 10 * number), *rows[start:stop])
    for world in (whole, split):
        world.until(at(len(minutes) + 30))
    told = [{(row["incident_id"], row["state"]) for row in world.told} for world in (whole, split)]
    assert told[0] == told[1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=5, max_size=40))
def test_each_incident_begins_once_and_ends_once(costs):
    world = World({"acme": rules(SPEND | {"window": "1m", "resolve": "3", "resolve_after": "1m"})})
    for minute, cost in enumerate(costs):
        world.send(at(minute, 30), cell(minute, cost_nano=cost * 10**9, calls=1))
    world.until(at(len(costs) + 10))
    states = world.states()
    assert states == ["firing", "resolved"] * (len(states) // 2)
    ids = [row["incident_id"] for row in world.told if row["state"] == "firing" and not row["renewed"]]
    assert len(set(ids)) == len(ids)
    assert START > 0


def test_an_anomaly_with_long_steps_is_said_again_between_them():
    world = World({"acme": rules({"kind": "anomaly", "metric": "calls", "window": "1h"})})
    chance = [100 + (minute * 7919) % 40 for minute in range(60)]
    for hour in range(15 * 24):
        counts = 900 if hour == 15 * 24 - 1 else sum(chance) // 60
        world.send(at(hour * 60 + 59, 30), cell(hour * 60 + 59, calls=counts))
    world.until(at(15 * 24 * 60 + 70))
    assert world.states() == ["firing"]
    assert len([row for row in world.told if row["renewed"]]) >= 5
