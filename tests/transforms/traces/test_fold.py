from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.arrow import SKELETONS
from tests.transforms.folding import Run
from tests.transforms.skeletons import (
    SECOND,
    START,
    call,
    families,
    layers,
    sightings,
    skeleton,
    span_id,
    table,
    trace_id,
)
from transforms.folds.cold import CHUNKS_PER_TICK
from transforms.folds.segments import UnknownSchemaVersion
from transforms.traces.fold import AssembleSettings, make_assemble

SETTINGS = AssembleSettings(quiet_gap_ns=5 * SECOND, horizon_ns=60 * SECOND)
FOLD = make_assemble(SETTINGS)


def run(settings: AssembleSettings = SETTINGS) -> Run:
    return Run(make_assemble(settings))


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[dict], list[tuple[list[dict], int]]]:
    """A set of sightings, and a way to send it: any order, repeats, groups, and pauses within the horizon."""
    spans, traces = draw(st.sampled_from([(8, 2), (3, 1)]))
    rows = draw(st.lists(sightings(spans, traces), min_size=1, max_size=14) | families() | layers())
    sent = draw(st.permutations(rows)) + draw(st.lists(st.sampled_from(rows), max_size=4))
    calls = []
    while sent:
        size = draw(st.integers(1, len(sent)))
        calls.append((sent[:size], draw(st.sampled_from([0, SECOND, 3 * SECOND, 6 * SECOND, 20 * SECOND]))))
        sent = sent[size:]
    return rows, calls


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules(), st.data())
def test_the_tables_depend_only_on_the_set_of_spans(schedule: Any, data: st.DataObject) -> None:
    rows, calls = schedule
    expected = run().send(rows).drain()
    actual = run()
    crash = data.draw(st.integers(0, len(calls)), "calls before the crash")
    checkpoint = data.draw(st.integers(0, crash), "calls before the checkpoint")
    saved = (dict(actual.state), actual.now)
    for number, (batch, pause) in enumerate(calls[:crash]):
        if number == checkpoint:
            saved = (dict(actual.state), actual.now)
        actual.send(batch, pause)
        if data.draw(st.booleans(), "wakes up in time") and actual.wake_at is not None:
            actual.send([], max(0, actual.wake_at - actual.now))
    actual.state, actual.now = saved if checkpoint < crash else (actual.state, actual.now)
    replayed = [row for batch, _ in calls[min(checkpoint, crash) :] for row in batch]
    half = data.draw(st.integers(0, len(replayed)), "first call of the replay")
    for batch in (replayed[:half], replayed[half:]):
        actual.send(batch, SECOND)
    actual.drain()
    assert actual.usage() == expected.usage()
    assert actual.traces() == expected.traces()
    assert actual.state == {}


def test_a_trace_is_emitted_as_soon_as_its_root_has_ended() -> None:
    one = run().send([skeleton(1), call(2, 1)])
    [row] = one.rows("traces")
    assert row["state"] == "provisional"
    assert (row["root_name"], row["span_count"], row["call_count"], row["cost_nano"]) == ("span 1", 2, 1, 100)
    assert row["span_ids"] == [span_id(1), span_id(2)]
    assert row["parent_indexes"] == [-1, 0]
    assert row["total_cost_nano"] == [100, 100]
    assert row["self_cost_nano"] == [0, 100]


def test_a_trace_without_a_root_is_emitted_when_it_is_quiet() -> None:
    one = run().send([call(2, 1)])
    assert one.rows("traces") == []
    one.send([], 5 * SECOND)
    [row] = one.rows("traces")
    assert (row["root_span_id"], row["orphan_count"], row["root_count"]) == ("", 1, 0)


def test_a_trace_that_grows_without_a_pause_is_shown_again_once_in_a_quiet_gap() -> None:
    one = run()
    for number in range(20):
        one.send([skeleton(number + 2, 1)], SECOND)
    assert len(one.rows("traces")) == 3


def test_a_late_span_brings_its_trace_back_and_only_its_chunk_is_read() -> None:
    one = run()
    for number in range(10):
        one.send([skeleton(1, trace_id=trace_id(number))], 2 * SECOND)
    one.send([], 6 * SECOND)
    chunks = {name for name in one.state if name.startswith("cold/")}
    assert len(chunks) > 3

    class Watched(dict):
        read: set[str] = set()

        def __getitem__(self, key: str) -> bytes:
            self.read.add(key)
            return super().__getitem__(key)

    state = Watched(one.state)
    step = FOLD(state, None, one.now)
    assert step.writes == {} and not any(name.startswith("cold/") for name in Watched.read)
    one.state = state
    before = len(one.rows("traces"))
    one.send([call(2, 1, trace_id=trace_id(0))], SECOND).send([], 5 * SECOND)
    assert len([name for name in Watched.read if name.startswith("cold/")]) == 1
    [row] = one.rows("traces")[before:]
    assert (row["span_count"], row["state"], row["trace_id"]) == (2, "provisional", trace_id(0))


def test_a_trace_is_final_once_and_its_state_is_gone_after_the_horizon() -> None:
    one = run().send([skeleton(1), call(2, 1)]).drain()
    assert [row["state"] for row in one.rows("traces")] == ["provisional", "final"]
    assert one.now == START + 65 * SECOND
    assert one.state == {}


def test_a_trace_that_came_back_is_not_final_before_its_own_horizon() -> None:
    one = run().send([skeleton(1)]).send([], 10 * SECOND)
    one.send([skeleton(2, 1)], 40 * SECOND).send([], 10 * SECOND).send([], 30 * SECOND)
    assert {row["state"] for row in one.rows("traces")} == {"provisional"}
    one.drain()
    assert [row["span_count"] for row in one.rows("traces") if row["state"] == "final"] == [2]
    assert one.state == {}


def test_after_a_long_stop_the_cold_is_dropped_by_and_by() -> None:
    one = run()
    for number in range(20):
        one.send([skeleton(1, trace_id=trace_id(number))], 2 * SECOND)
    one.send([], 6 * SECOND)
    chunks = [name for name in one.state if name.startswith("cold/")]
    one.send([], 3600 * SECOND)
    left = [name for name in one.state if name.startswith("cold/")]
    assert len(left) == len(chunks) - CHUNKS_PER_TICK > 0
    one.drain()
    assert len([row for row in one.rows("traces") if row["state"] == "final"]) == 20
    assert one.state == {}


def test_a_span_after_the_horizon_opens_a_further_fragment() -> None:
    one = run().send([skeleton(1)]).drain()
    one.send([skeleton(2, 1)]).drain()
    fragments = {row["fragment"]: row["span_ids"] for row in one.rows("traces")}
    assert sorted(fragments.values()) == [[span_id(1)], [span_id(2)]]


def test_a_span_sent_again_writes_nothing_new() -> None:
    one = run().send([skeleton(1), call(2, 1)])
    before = len(one.rows("usage")), len(one.rows("traces"))
    one.send([call(2, 1)], 2 * SECOND).send([call(2, 1)], 20 * SECOND)
    assert (len(one.rows("usage")), len(one.rows("traces"))) == before


def test_the_richer_of_two_sightings_wins_in_any_order() -> None:
    poor, rich = call(1, input_tokens=None, version=5), call(1, input_tokens=99, version=6)
    for rows in ([poor, rich], [rich, poor]):
        one = run().send(rows[:1]).send(rows[1:], SECOND).drain()
        assert [row["input_tokens"] for row in one.traces().values()] == [99]


def test_rows_within_a_tick_wait_in_the_inbox() -> None:
    one = run().send([skeleton(1)]).send([call(2, 1)], SECOND // 2)
    assert one.rows("usage") == []
    assert set(one.state) == {"head", "hot", "in/0"}
    one.send([], SECOND // 2)
    assert [row["entry"] for row in one.rows("usage")] == ["charge"]
    assert set(one.state) == {"head", "hot"}


def test_a_stale_wake_up_changes_nothing() -> None:
    one = run().send([skeleton(1)])
    step = FOLD(one.state, None, one.now + 1)
    assert (step.writes, step.out, step.wake_at) == ({}, (), one.wake_at)
    assert FOLD({}, None, START).wake_at is None


def test_a_clock_that_goes_back_does_not_hold_rows_up() -> None:
    one = run().send([skeleton(1)]).send([call(2, 1)], -3600 * SECOND)
    assert [row["entry"] for row in one.rows("usage")] == ["charge"]


def test_a_trace_beyond_its_limit_goes_on_in_new_fragments() -> None:
    one = run(AssembleSettings(max_trace_spans=4)).send([skeleton(n, n - 1) for n in range(1, 4)])
    one.send([skeleton(n, n - 1) for n in range(4, 12)], SECOND).drain()
    final = [row for row in one.rows("traces") if row["state"] == "final"]
    assert sorted(row["span_count"] for row in final) == [3, 4, 4]
    assert len({row["fragment"] for row in final}) == 3
    assert sorted(name for row in final for name in row["span_ids"]) == [span_id(n) for n in range(1, 12)]
    assert one.state == {}


def test_a_trace_of_100_000_spans_is_one_row() -> None:
    """A chain in which every span is a call: all but the last are roll-ups."""
    ids = [span_id(n) for n in range(1, 100_001)]
    one = pl.DataFrame(pl.from_arrow(table([call(1)])))
    chain = pl.concat([one] * len(ids)).with_columns(span_id=pl.Series(ids), parent_span_id=pl.Series(["", *ids[:-1]]))
    step = FOLD({}, chain.to_arrow().cast(SKELETONS), START)
    out = dict(step.out)
    [row] = out["traces"].to_pylist()
    assert (row["span_count"], row["depth"], row["call_count"]) == (100_000, 100_000, 1)
    assert out["usage"].num_rows == 199_999
    assert sum(out["usage"]["cost_nano"].to_pylist()) == 100


def test_an_open_span_takes_at_most_200_bytes() -> None:
    spans = [
        row
        for number in range(3000)
        for row in (
            skeleton(3 * number + 1, trace_id=trace_id(number)),
            skeleton(3 * number + 2, 3 * number + 1, trace_id=trace_id(number)),
            call(3 * number + 3, 3 * number + 2, trace_id=trace_id(number), response_id=f"chatcmpl-{number:029d}"),
        )
    ]
    one = run().send(spans)
    hot = sum(map(len, one.state.values())) / len(spans)
    one.send([], 5 * SECOND)
    cold = sum(map(len, one.state.values())) / len(spans)
    print(f"bytes an open span: {hot:.0f} hot, {cold:.0f} cold")
    assert hot < 200 and cold < 200


def test_10_000_traces_of_one_span_leave_nothing_behind() -> None:
    one = run().send([call(n + 1, trace_id=trace_id(n)) for n in range(10_000)]).drain()
    assert len(one.traces()) == 10_000
    assert len(one.usage()) == 10_000
    assert one.state == {}


def test_state_of_another_version_is_refused() -> None:
    one = run().send([skeleton(1)])
    for name in one.state:
        state = one.state | {name: b"\x09" + one.state[name][1:]}
        with pytest.raises(UnknownSchemaVersion, match="version 9"):
            FOLD(state, None, one.now + 60 * SECOND)
