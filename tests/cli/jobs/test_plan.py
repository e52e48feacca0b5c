import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.jobs.plan import FLINK_VERSION, Facts, Label, Line, Place, Plan, compare, foreign

GOOD = Place(f"{FLINK_VERSION}.1", partitions=4, slots=4)
SPEC = {"parallelism": 2, "buckets": 8, "topic": "spans.raw", "quiet_gap_s": 5.0, "limits": {"nesting": 100}}
GRAPH = {
    "uids": ["1_source", "assemble", "batch", "observe", "write-facts"],
    "states": {"batch": {"records": 1}, "assemble": {"segments": 2}},
    "max_parallelism": 128,
}
RUNS = Facts(SPEC, "c" * 64, GRAPH)


def with_spec(**changes: Any) -> Facts:
    return replace(RUNS, spec={**SPEC, **changes})


def with_graph(**changes: Any) -> Facts:
    return replace(RUNS, graph={**GRAPH, **changes})


def without(uid: str) -> Facts:
    states = {name: state for name, state in GRAPH["states"].items() if name != uid}
    return with_graph(uids=[name for name in GRAPH["uids"] if name != uid], states=states)


def plan(*lines: Line, **changes: Any) -> Plan:
    asked = {
        "job": "observe", "target": "session", "cluster": "http://flink:8081", "base": 3, "flink_job": "ab",
        "savepoint": "", "wanted": RUNS, "lost": (), "lines": lines,
    }  # fmt: skip
    return Plan(**{**asked, **changes})


def refused(lines: tuple[Line, ...]) -> list[Line]:
    return plan(*lines).refused


uids = st.text("abcdefghij-", min_size=1, max_size=6)
states = st.dictionaries(uids, st.dictionaries(uids, st.integers(1, 3), max_size=2), max_size=4)


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    held = draw(states)
    spec = {**SPEC, "parallelism": draw(st.integers(1, 4)), "buckets": draw(st.integers(1, 128))}
    others = draw(st.lists(uids, max_size=4))
    graph = {
        "uids": sorted({*held, *others}),
        "states": held,
        "max_parallelism": draw(st.sampled_from([128, 256])),
    }
    return Facts(spec, draw(st.text("0123456789abcdef", min_size=64, max_size=64)), graph)


@given(facts())
def test_nothing_changes_between_equal_facts(same: Facts):
    assert compare(same, same, GOOD, ()) == ()


@given(facts(), facts())
def test_a_job_that_begins_empty_is_never_barred_by_what_was_before(before: Facts, wanted: Facts):
    (line,) = compare(None, wanted, GOOD, ())
    assert (line.subject, line.label, line.cure) == ("job", Label.COMPATIBLE, "")


@given(facts(), facts())
def test_what_bars_has_a_reason_and_a_cure_and_what_is_harmless_has_none(before: Facts, wanted: Facts):
    lines = compare(before, wanted, GOOD, ())
    assert all(line.reason for line in lines)
    for line in lines:
        assert bool(line.cure) == (line.label in (Label.BREAKING, Label.LOSES_STATE))
    given_up = compare(before, wanted, GOOD, before.graph["uids"])
    assert not [line for line in refused(given_up) if line.label is Label.LOSES_STATE]


@pytest.mark.parametrize(
    ("name", "value", "cure"), [("buckets", 16, "--set buckets=8"), ("topic", "other", "--set topic=spans.raw")]
)
def test_a_setting_that_the_state_is_bound_to_breaks(name, value, cure):
    (line,) = compare(RUNS, with_spec(**{name: value}), GOOD, ())
    assert (line.subject, line.label, line.new) == (name, Label.BREAKING, str(value))
    assert cure in line.cure
    assert "--fresh" in line.cure


@pytest.mark.parametrize(("name", "value"), [("parallelism", 4), ("quiet_gap_s", 9.0), ("limits", {"nesting": 9})])
def test_any_other_setting_needs_a_savepoint(name, value):
    (line,) = compare(RUNS, with_spec(**{name: value}), GOOD, ())
    assert (line.subject, line.label, line.cure) == (name, Label.NEEDS_SAVEPOINT, "")


def test_a_setting_that_is_new_or_gone_shows_as_such():
    (line,) = compare(RUNS, with_spec(new=1), GOOD, ())
    assert (line.subject, line.old, line.new) == ("new", "", "1")
    (line,) = compare(with_spec(new=1), RUNS, GOOD, ())
    assert (line.subject, line.old, line.new) == ("new", "1", "")


def test_other_code_needs_a_savepoint():
    (line,) = compare(RUNS, replace(RUNS, code="d" * 64), GOOD, ())
    assert (line.subject, line.old, line.new, line.label) == ("code", "c" * 12, "d" * 12, Label.NEEDS_SAVEPOINT)


def test_an_operator_with_state_that_is_gone_loses_it_unless_it_was_given_up_by_name():
    (line,) = compare(RUNS, without("assemble"), GOOD, ())
    assert (line.subject, line.label) == ("operator assemble", Label.LOSES_STATE)
    assert "segments" in line.reason
    assert line.cure == "--allow-lost-state assemble"
    assert refused((line,)) == [line]
    (other,) = compare(RUNS, without("assemble"), GOOD, ["batch"])
    assert refused((other,)) == [line]
    (given_up,) = compare(RUNS, without("assemble"), GOOD, ["assemble"])
    assert given_up.label is Label.LOSES_STATE
    assert refused((given_up,)) == []


def test_operators_without_state_come_and_go():
    (gone,) = compare(RUNS, without("observe"), GOOD, ())
    (new,) = compare(without("observe"), RUNS, GOOD, ())
    assert (gone.label, new.label) == (Label.COMPATIBLE, Label.COMPATIBLE)
    assert refused((gone, new)) == []


def test_a_newer_version_of_a_state_reads_what_the_older_one_wrote():
    changed = with_graph(states={**GRAPH["states"], "assemble": {"segments": 3}})
    (line,) = compare(RUNS, changed, GOOD, ())
    assert (line.subject, line.label, line.cure) == ("state assemble.segments", Label.NEEDS_SAVEPOINT, "")


def test_an_older_version_of_a_state_breaks():
    changed = with_graph(states={**GRAPH["states"], "assemble": {"segments": 1}})
    (line,) = compare(RUNS, changed, GOOD, ())
    assert (line.subject, line.old, line.new) == ("state assemble.segments", "version 2", "version 1")
    assert line.label is Label.BREAKING
    assert refused((line,)) == [line]


def test_a_state_that_an_operator_stops_to_read_is_lost():
    changed = with_graph(states={**GRAPH["states"], "assemble": {"pieces": 1}})
    (line,) = compare(RUNS, changed, GOOD, ())
    assert (line.subject, line.label) == ("state assemble.segments", Label.LOSES_STATE)
    assert line.cure == "--allow-lost-state assemble"
    (given_up,) = compare(RUNS, changed, GOOD, ["assemble"])
    assert refused((given_up,)) == []


def test_another_max_parallelism_breaks():
    (line,) = compare(RUNS, with_graph(max_parallelism=256), GOOD, ())
    assert (line.subject, line.label) == ("max parallelism", Label.BREAKING)


@pytest.mark.parametrize(
    ("place", "subject", "cure"),
    [
        (replace(GOOD, partitions=1), "topic", "spanmill migrate --partitions 2, or --parallelism 1"),
        (replace(GOOD, partitions=0), "topic", "spanmill migrate --partitions 2, or --parallelism 1"),
        (replace(GOOD, absent=("budget.log",)), "topic", "spanmill migrate"),
        (replace(GOOD, slots=1), "slots", "start 1 more TaskManagers, or --parallelism 1"),
        (replace(GOOD, flink_version="2.3.0"), "cluster", "use a cluster of Flink 2.2"),
        (replace(GOOD, flink_version="2.20.1"), "cluster", "use a cluster of Flink 2.2"),
    ],
)
@pytest.mark.parametrize("running", [RUNS, None])
def test_a_place_that_does_not_fit_breaks(place, subject, cure, running):
    line = compare(running, RUNS, place, ())[-1]
    assert (line.subject, line.label, line.cure) == (subject, Label.BREAKING, cure)


def test_migrations_are_listed_and_bar_nothing():
    lines = compare(RUNS, RUNS, replace(GOOD, migrations=("0001_a", "0002_b")), ())
    assert [(line.subject, line.new, line.label) for line in lines] == [
        ("table", "0001_a", Label.COMPATIBLE),
        ("table", "0002_b", Label.COMPATIBLE),
    ]


def saved(**changes: Any) -> list[dict[str, Any]]:
    """What a savepoint of RUNS says of itself."""
    known = [
        {"uid": uid, "states": list(names), "max_parallelism": 128, **changes} for uid, names in GRAPH["states"].items()
    ]
    return [*known, {"uid": "1_source", "states": [], "max_parallelism": 128}, {"uid": None, "states": ["x"]}]


def test_a_savepoint_of_the_job_is_none_of_a_foreign_one():
    assert list(foreign(saved(), RUNS)) == []


def test_a_savepoint_of_another_job_is_refused():
    others = [{"uid": "else", "states": ["segments"], "max_parallelism": 128}]
    lines = list(foreign(others, RUNS))
    assert {line.new for line in lines} == {"batch", "assemble"}
    assert all(line.label is Label.BREAKING and line.cure for line in lines)


def test_an_operator_that_an_older_release_did_not_have_bars_nothing():
    [batch, *_] = saved()
    assert list(foreign([batch], RUNS)) == []


def test_a_savepoint_of_process_mode_is_refused():
    lines = list(foreign(saved(states=["python-state-0"]), RUNS))
    assert len(lines) == 2
    assert all("thread mode" in line.cure and line.label is Label.BREAKING for line in lines)


def test_an_operator_that_had_nothing_to_save_bars_nothing():
    assert list(foreign(saved(states=[]), RUNS)) == []


def test_a_savepoint_of_another_max_parallelism_is_refused():
    lines = list(foreign(saved(max_parallelism=256), RUNS))
    assert [(line.subject, line.old, line.new) for line in lines] == [("max parallelism", "256", "128")] * 2
    assert all(line.label is Label.BREAKING for line in lines)


def test_equal_plans_have_one_digest_and_each_field_changes_it():
    line = Line("code", "a", "b", Label.NEEDS_SAVEPOINT, "because")
    assert plan(line).digest == plan(replace(line)).digest
    others = {
        "job": "other", "target": "kubernetes", "cluster": "http://else:8081", "base": 4, "flink_job": "cd",
        "savepoint": "file:///s", "wanted": with_spec(buckets=9), "lost": ("batch",), "lines": (),
    }  # fmt: skip
    assert set(others) == {field.name for field in fields(Plan)}
    digests = {plan(line, **{name: value}).digest for name, value in others.items()}
    assert len(digests | {plan(line).digest}) == len(others) + 1
    for name in ("subject", "old", "new", "reason", "cure"):
        assert plan(replace(line, **{name: "other"})).digest != plan(line).digest


def test_a_plan_as_json_carries_its_digest():
    made = plan()
    assert json.loads(made.to_json())["digest"] == made.digest
    assert not made.changes
