"""A rule on past metrics says what the fold says of the same metrics as they come."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.alerts.world import START, World, at, cell, rules, table
from transforms.alerts.replay import replay

RULES = rules(
    {"kind": "threshold", "metric": "calls", "above": 6, "window": "3m", "by": ["model"], "resolve": 3},
    {"kind": "threshold", "metric": "calls", "below": 3, "window": "2m", "for": "1m", "resolve_after": "1m"},
    {"kind": "ratio", "metric": "errors", "above": 0.5, "window": "2m", "at_least": 2, "by": ["model"]},
    {"kind": "absence", "window": "3m", "by": ["model"], "resolve_after": "0m"},
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=4, max_size=20), st.sampled_from(RULES))
def test_the_past_is_judged_as_the_stream_was(minutes, rule):
    world, cells = World({"acme": (rule,)}), []
    for minute, (calls, others, errors) in enumerate(minutes):
        counted = {"calls": calls, "attempts": calls, "errors": min(calls, errors)}
        cells += [cell(minute, model="a", **counted)] if calls else []
        cells += [cell(minute, model="b", calls=others, attempts=others)] if others else []
        world.send(at(minute, 30), *(one for one in cells if one["minute"] == (START + minute) * 60))
    last = START + len(minutes) - 1
    world.until(at(len(minutes), 20))
    past = replay("acme", rule, table(cells), START, last)
    told = [(row["incident_id"], row["state"]) for row in world.told if not row["renewed"]]
    assert sorted((change.incident_id, str(change.state)) for change in past.changes) == sorted(told)


def test_nothing_is_found_where_there_are_no_metrics():
    assert replay("acme", RULES[0], table([]), START, START + 60).points == []
