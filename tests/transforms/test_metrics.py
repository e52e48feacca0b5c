"""Metrics against the ledger they are told beside, and their quantiles against exact ones."""

from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.transforms.metering import Metered, histograms, ledger_cells
from tests.transforms.skeletons import SECOND, START, call, families, layers, skeleton, trace_id
from transforms.billing.fold import BillSettings
from transforms.metrics.cells import OTHER
from transforms.metrics.fold import MetricsSettings
from transforms.metrics.histogram import buckets, quantile
from transforms.traces.fold import AssembleSettings

Row = dict[str, Any]
MINUTE = 60 * SECOND
TRACES = AssembleSettings(quiet_gap_ns=5 * SECOND, horizon_ns=600 * SECOND, max_trace_spans=8)
CALLS = BillSettings(horizon_ns=665 * SECOND)
BEGUN = START // MINUTE * MINUTE
ID = "chatcmpl-BzT4kQ0vN1xY8"


def metered(series: int = 100, opened: int = BEGUN - 5 * MINUTE) -> Metered:
    return Metered(TRACES, CALLS, MetricsSettings(series=series), opened)


@st.composite
def sightings(draw: st.DrawFn) -> Row:
    """A sighting of one of few spans in one of several minutes; sightings of one span often disagree."""
    columns: Row = {
        "trace_id": trace_id(draw(st.integers(0, 2))),
        "org": draw(st.sampled_from(["acme"] * 3 + ["globex"])),
        "start_time": START + draw(st.sampled_from([-400, -61, -60, -1, 0, 1, 90])) * SECOND,
        "duration_ns": draw(st.integers(0, 3)) * 10**8,
        "ttft_ns": draw(st.sampled_from([None, 10**7])),
        "status": draw(st.sampled_from(["ok", "ok", "error"])),
        "service": draw(st.sampled_from(["shop", "desk"])),
        "response_model": draw(st.sampled_from(["", "gpt-4o-mini"])),
        "scope": draw(st.sampled_from(["", "client"])),
        "response_id": draw(st.sampled_from([ID] * 3 + [ID + "2", ""])),
        "cost_status": draw(st.sampled_from(["priced", "unpriced"])),
        "day": draw(st.sampled_from([date(2023, 11, 14)] * 4 + [date(1970, 1, 1)])),
        "size": draw(st.integers(0, 2)),
    }
    if columns["cost_status"] == "unpriced":
        columns["cost_nano"] = None
    span, parent = draw(st.integers(1, 3)), draw(st.sampled_from([0, 0, 1, 2]))
    if draw(st.integers(0, 4)) == 0:
        columns |= {"input_tokens": None, "output_tokens": None, "cost_nano": None, "cost_status": "no_usage"}
    return call(span, parent, **columns, billable=draw(st.integers(0, 5)) > 0)


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[list[Row], int]]:
    """Sightings in any order, with repeats (some long after everything was forgotten), groups and pauses."""
    rows = draw(st.one_of(st.lists(sightings(), min_size=2, max_size=8), families(), layers()))
    sent = draw(st.permutations(rows)) + draw(st.lists(st.sampled_from(rows), max_size=4))
    calls = []
    while sent:
        size = draw(st.integers(1, len(sent)))
        calls.append(
            (sent[:size], draw(st.sampled_from([0, SECOND, 3 * SECOND, 6 * SECOND, 100 * SECOND, 700 * SECOND])))
        )
        sent = sent[size:]
    return calls


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules(), st.data())
def test_the_sums_are_those_of_the_ledger_whatever_comes_when_and_whatever_is_played_again(
    schedule: Any, data: st.DataObject
) -> None:
    run = metered(opened=data.draw(st.sampled_from([BEGUN - 20 * MINUTE, BEGUN, BEGUN + 1]), "opened"))
    crash = data.draw(st.integers(0, len(schedule)), "calls before the crash")
    checkpoint = data.draw(st.integers(0, crash), "calls before the checkpoint")
    saved = run.saved()
    for number, (batch, pause) in enumerate(schedule[:crash]):
        if number == checkpoint:
            saved = run.saved()
        run.send(batch, pause)
        if data.draw(st.booleans(), "wakes up in time"):
            run.send([], SECOND)
    if checkpoint < crash:
        run.restore(saved, run.chain.now + SECOND)
    replayed = [row for batch, _ in schedule[min(checkpoint, crash) : crash] for row in batch]
    if replayed:
        run.send(replayed, SECOND)
    for batch, pause in schedule[crash:]:
        run.send(batch, pause)
    run.drain()
    assert run.cells() == ledger_cells(run)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(sightings(), min_size=3, max_size=8), st.data())
def test_beyond_the_limit_of_series_nothing_is_lost(rows: list[Row], data: st.DataObject) -> None:
    run = metered(series=1)
    for row in data.draw(st.permutations(rows)):
        run.send([row], data.draw(st.sampled_from([0, SECOND])))
    shown = [
        (cell[0], cell[-1]) for cell in run.stored if OTHER not in cell and (cell[0], cell[-1]) not in run.recounted
    ]
    assert len(shown) == len(set(shown))
    run.drain()
    assert run.cells() == ledger_cells(run)


def test_a_duplicate_within_the_horizon_changes_nothing_and_needs_no_recount() -> None:
    run = metered().send([call(1)]).send([call(1)], 30 * SECOND).drain()
    [cell] = run.cells().values()
    assert (cell["calls"], cell["input_tokens"], cell["cost_nano"]) == (1, 10, 100)
    assert run.recounted == set()


def test_a_duplicate_after_the_horizon_is_counted_by_the_store() -> None:
    run = metered().send([call(1)]).drain().send([call(1)], 700 * SECOND).drain()
    assert [sums["calls"] for sums in run.cells().values()] == [1]
    assert run.recounted == {("acme", BEGUN // SECOND)}


def test_a_roll_up_that_turns_out_late_is_taken_back() -> None:
    outer, inner = call(1, scope="outer", cost_nano=100), call(2, 1, scope="inner", input_tokens=7, cost_nano=70)
    run = metered().send([outer]).send([inner], 20 * SECOND).drain()
    assert [(sums["calls"], sums["cost_nano"]) for sums in run.cells().values()] == [(1, 70)]


def test_minutes_before_the_state_began_and_ahead_of_the_clock_are_counted_by_the_store() -> None:
    run = metered(opened=BEGUN + SECOND).send([call(1), call(2, start_time=START + 200 * SECOND)]).drain()
    assert run.recounted == {("acme", BEGUN // SECOND), ("acme", (START + 200 * SECOND) // MINUTE * 60)}
    assert run.cells() == ledger_cells(run)


def test_spans_of_a_trace_that_was_cut_are_counted_by_the_store() -> None:
    rows = [call(number) for number in range(1, 12)]
    run = metered().send(rows).send(rows, SECOND).drain()
    assert run.cells() == ledger_cells(run)
    assert run.recounted


def test_a_failed_call_is_an_error_and_an_attempt_and_the_layer_above_it_is_not() -> None:
    failed: Row = {
        "status": "error", "input_tokens": None, "output_tokens": None, "cost_nano": None,
        "cost_status": "no_usage", "billable": False,
    }  # fmt: skip
    run = metered().send([call(1, **failed), call(3), skeleton(4, status="error")])
    assert _counts(run) == (1, 1, 2)
    run.send([call(2, 1, **failed)], 20 * SECOND).send([call(5, status="error")], SECOND).send([], SECOND)
    assert _counts(run) == (2, 2, 3)
    run.send([call(2, 1, size=1)], SECOND).drain()  # a richer sighting knows better
    assert _counts(run) == (3, 1, 3)


def _counts(run: Metered) -> tuple[int, ...]:
    return tuple(sum(row[name] for row in run.stored.values()) for name in ("calls", "errors", "attempts"))


def test_of_many_models_the_busiest_keep_their_series_and_the_others_are_counted_together() -> None:
    many = [call(n, trace_id=trace_id(n), request_model=f"m{n}") for n in range(1, 200)]
    busy = [call(n, trace_id=trace_id(n)) for n in range(300, 305)]
    others = [call(1, org="globex", trace_id=trace_id(n), request_model=f"m{n}") for n in range(3)]
    run = metered(series=10).send([*many, *busy, *others])
    models = {(cell[0], cell[5]): row["calls"] for cell, row in run.stored.items()}
    assert models["acme", "gpt-4o"] == 5
    assert models["acme", OTHER] == 204 - 5 - 9
    assert len(models) == 11 + 3
    assert {cell[1] for cell in run.stored} == {"blue"}


def test_what_a_run_wrote_that_was_cut_off_is_superseded_though_the_replay_sees_it_otherwise() -> None:
    """Before the crash the outer call came alone and was shown; in the replay it comes together with what rolls it up,
    so that nothing is ever told of it."""
    outer, inner = call(1, scope="outer", service="framework"), call(2, 1, scope="inner", cost_nano=70)
    run = metered().send([call(3, org="globex", trace_id=trace_id(3))])
    saved = run.saved()
    run.send([outer], SECOND)
    run.restore(saved, run.chain.now + SECOND)
    run.send([outer, inner], SECOND).drain()
    assert run.cells() == ledger_cells(run)
    assert sorted(sums["cost_nano"] for sums in run.cells().values()) == [70, 100]
    assert run.recounted == set()


def test_what_is_held_at_a_checkpoint_is_written_again_by_the_run_that_goes_on_from_it() -> None:
    """After the checkpoint a call below takes the outer one back; in the replay one more span shows at once that the
    call below is none of it, so that the series of the outer one does not change."""
    outer = call(1, scope="outer", service="framework")
    run = metered().send([outer])
    saved = run.saved()
    run.send([call(2, 1, scope="inner")], SECOND).send([], SECOND)
    assert ("acme", "blue", "k1", "framework") not in {cell[:4] for cell in run.cells()}
    run.restore(saved, run.chain.now + SECOND)
    run.send([call(7, trace_id=trace_id(9))], SECOND)
    assert ("acme", "blue", "k1", "framework") in {cell[:4] for cell in run.cells()}


def test_a_row_that_is_written_again_has_a_greater_version_also_by_a_clock_that_went_back() -> None:
    run = metered().send([call(1)])
    saved = run.saved()
    first = max(row["version"] for row in run.stored.values())
    run.restore(saved, BEGUN - 60 * MINUTE)
    run.send([call(2, trace_id=trace_id(1))], SECOND)
    assert max(row["version"] for row in run.stored.values()) > first


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=300), st.floats(0, 1))
def test_a_quantile_is_within_one_percent_of_the_exact_one(values: list[int], q: float) -> None:
    positive = np.array([value for value in values if value > 0])
    found, counts = np.unique(buckets(positive), return_counts=True)
    told = quantile(dict(zip(found.tolist(), counts.tolist(), strict=True)), values.count(0), q)
    exact = sorted(values)[max(1, int(np.ceil(q * len(values)))) - 1]
    assert told is not None and abs(told - exact) <= 0.01 * exact


def test_without_values_there_is_no_quantile() -> None:
    assert quantile({}, 0, 0.5) is None


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**9), st.integers(0, 50)), min_size=1, max_size=40))
def test_the_histograms_of_a_series_hold_each_billed_call_once(calls: list[tuple[int, int, int]]) -> None:
    rows = [
        call(1, trace_id=trace_id(number), duration_ns=duration, ttft_ns=min(first, duration), output_tokens=tokens)
        for number, (duration, first, tokens) in enumerate(calls)
    ]
    found = histograms(metered().send(rows).send(rows, SECOND).drain())
    durations = sorted(duration for duration, _, _ in calls)
    for q in (0.5, 0.9, 1.0):
        exact = durations[max(1, int(np.ceil(q * len(durations)))) - 1]
        assert quantile(*found["duration"], q) == pytest.approx(exact, rel=0.01)
    tpots = [(d - min(f, d)) // (tokens - 1) for d, f, tokens in calls if tokens >= 2]
    histogram, zeros = found["tpot"]
    assert sum(histogram.values()) + zeros == len(tpots)
