from collections import defaultdict
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.transforms.billing.test_ledger import rank, standing
from tests.transforms.folding import Chain, Run
from tests.transforms.skeletons import SECOND, START, call, families, layers, span_id, table, trace_id
from transforms.billing.fold import BillSettings, call_buckets, make_bill
from transforms.folds.segments import UnknownSchemaVersion
from transforms.traces.fold import AssembleSettings, make_assemble

ASSEMBLE = AssembleSettings(quiet_gap_ns=5 * SECOND, horizon_ns=60 * SECOND)
BILL = BillSettings(horizon_ns=100 * SECOND)
ID = "chatcmpl-BzT4kQ0vN1xY8"
Row = dict[str, Any]


def chain() -> Chain:
    return Chain(Run(make_assemble(ASSEMBLE)), Run(make_bill(BILL)))


def seen(trace: int, span: int = 1, parent: int = 0, **columns: Any) -> Row:
    """One sighting of the call ID in a trace."""
    return call(span, parent, trace_id=trace_id(trace), **{"response_id": ID} | columns)


def reversals(run: Chain) -> list[tuple[str, int | None, str]]:
    return [(row["trace_id"], row["cost_nano"], row["reason"]) for row in run.calls.rows("usage")]


def billed(run: Chain) -> set[str]:
    """The traces that bill something."""
    return {trace for (_, trace, _), cost in run.sums("cost_nano").items() if cost}


@st.composite
def shared_sightings(draw: st.DrawFn) -> Row:
    """A sighting of one of few spans; most claim one call, and sightings of one span often disagree."""
    columns: dict[str, Any] = {
        "trace_id": trace_id(draw(st.integers(0, 2))),
        "org": draw(st.sampled_from(["acme"] * 5 + ["globex"])),
        "start_time": START + draw(st.integers(0, 1)),
        "dialect": draw(st.sampled_from(["traceloop", "anthropic_sdk"])),
        "scope": draw(st.sampled_from(["", "client"])),
        "response_id": draw(st.sampled_from([ID] * 4 + [ID + "2", ""])),
        "reasoning_tokens": draw(st.sampled_from([None, 3])),
        "size": draw(st.integers(0, 2)),
    }
    span, parent = draw(st.integers(1, 2)), draw(st.sampled_from([0, 0, 1, 2]))
    if draw(st.integers(0, 4)) == 0:
        columns |= {"input_tokens": None, "output_tokens": None, "cost_nano": None, "cost_status": "no_usage"}
    return call(span, parent, **columns, billable=draw(st.integers(0, 5)) > 0)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[Row], list[tuple[list[Row], int]]]:
    """A set of sightings, and a way to send it: any order, repeats, groups, and pauses within the horizon."""
    rows = draw(st.lists(shared_sightings(), min_size=2, max_size=7))
    if draw(st.booleans()):  # each span sighted once
        rows = list({(row["org"], row["trace_id"], row["span_id"]): row for row in rows}.values())
    sent = draw(st.permutations(rows)) + draw(st.lists(st.sampled_from(rows), max_size=3))
    calls = []
    while sent:
        size = draw(st.integers(1, len(sent)))
        calls.append((sent[:size], draw(st.sampled_from([0, SECOND, 3 * SECOND, 6 * SECOND]))))
        sent = sent[size:]
    return rows, calls


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules(), st.data())
def test_the_ledger_depends_only_on_the_set_of_spans(schedule: Any, data: st.DataObject) -> None:
    """Any order, grouping and repetition, and a crash whose rows stay in the store, give the same rows."""
    rows, calls = schedule
    expected = chain().send(rows).drain()
    actual = chain()
    crash = data.draw(st.integers(0, len(calls)), "calls before the crash")
    checkpoint = data.draw(st.integers(0, crash), "calls before the checkpoint")
    saved = actual.saved()
    for number, (batch, pause) in enumerate(calls[:crash]):
        if number == checkpoint:
            saved = actual.saved()
        actual.send(batch, pause)
        if data.draw(st.booleans(), "wakes up in time"):
            actual.send([], SECOND)
    if checkpoint < crash:
        actual.restore(saved)
    replayed = [row for batch, _ in calls[min(checkpoint, crash) :] for row in batch]
    half = data.draw(st.integers(0, len(replayed)), "first call of the replay")
    for batch in (replayed[:half], replayed[half:]):
        actual.send(batch, SECOND)
    actual.drain()
    assert actual.usage() == expected.usage()
    assert (actual.traces.state, actual.calls.state) == ({}, {})


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(shared_sightings(), min_size=2, max_size=7) | families() | layers(), st.data())
def test_spans_sent_again_after_their_state_was_dropped_change_nothing(rows: list[Row], data: st.DataObject) -> None:
    """Whichever of them, and in whatever groups: what the job knew when it had all is the last word."""
    run = chain().send(rows).drain()
    before = run.usage()
    assert (run.traces.state, run.calls.state) == ({}, {})
    again = data.draw(st.lists(st.sampled_from(rows), min_size=1, max_size=5))
    half = data.draw(st.integers(0, len(again)))
    run.send(again[:half], SECOND).send(again[half:], 2 * SECOND).drain()
    assert run.usage() == before


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules())
def test_each_call_bills_once_in_all_traces(schedule: Any) -> None:
    """Of the records of a call that stand in their traces the best one's numbers are billed, and no other's."""
    rows, calls = schedule
    run = chain()
    for batch, pause in calls:
        run.send(batch, pause)
    run.drain()
    bills = survivors(rows)
    for key, total in run.sums("output_tokens").items():
        assert total == ((bills[key]["output_tokens"] or 0) if key in bills else 0), key


def survivors(rows: list[Row]) -> dict[tuple[str, str, str], Row]:
    """The spans that bill, found trace by trace and then call by call."""
    traces: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: row["version"]):
        traces[row["org"], row["trace_id"]][row["span_id"]] = row
    calls: dict[tuple, list[tuple]] = defaultdict(list)
    for (org, trace), spans in traces.items():
        for span in standing(spans):
            row = spans[span]
            key = (org, trace, span)
            calls[(org, row["response_id"]) if row["response_id"] else key].append((key, row))
    best = [min(group, key=lambda item: (rank(item[1]), item[0])) for group in calls.values()]
    return dict(best)


def test_a_call_that_two_traces_saw_is_billed_by_one_and_the_other_says_which() -> None:
    run = chain().send([seen(1), seen(2, start_time=seen(1)["start_time"] + 1)])
    assert reversals(run) == [(trace_id(1), -100, f"duplicate of span {span_id(1)} in trace {trace_id(2)}")]
    assert run.sums("input_tokens") == {("acme", trace_id(1), span_id(1)): 0, ("acme", trace_id(2), span_id(1)): 10}


def test_the_second_sight_is_taken_back_whenever_it_comes() -> None:
    for pause in (0, SECOND, 10 * SECOND, 90 * SECOND):
        run = chain().send([seen(1)]).send([seen(2)], pause).send([], SECOND)
        assert billed(run) == {trace_id(1)}, pause


def test_a_call_seen_once_says_nothing_and_is_forgotten_after_the_horizon() -> None:
    run = chain().send([seen(1), call(2, 1, trace_id=trace_id(1))])
    assert run.calls.out == [] and set(run.calls.state) == {"head", "cold/0", "index/0"}
    run.drain()
    assert run.calls.out == [] and run.calls.state == {}


def test_calls_of_other_organisations_without_an_id_or_with_a_counter_for_one_are_not_matched() -> None:
    pairs = [(seen(1), seen(2, org="globex"))]
    pairs += [(seen(1, response_id=name), seen(2, response_id=name)) for name in ("", "chatcmpl-123")]
    for pair in pairs:
        assert billed(chain().send([*pair])) == {trace_id(1), trace_id(2)}


def test_a_retry_has_another_response_id_and_is_billed_too() -> None:
    run = chain().send([seen(1), seen(1, 2, response_id=ID + "x"), seen(2), seen(2, 2, response_id=ID + "x")])
    assert sum(run.sums("cost_nano").values()) == 200


def test_what_the_providers_own_sdk_says_is_believed_before_a_layer_around_it() -> None:
    wrapper = seen(1, dialect="traceloop", output_tokens=7, start_time=2 * SECOND)
    native = seen(2, dialect="anthropic_sdk", output_tokens=5, start_time=SECOND)
    assert sum(chain().send([wrapper, native]).sums("output_tokens").values()) == 5


def test_the_richest_numbers_survive() -> None:
    rich = seen(1, dialect="traceloop", reasoning_tokens=3)
    poor = seen(2, dialect="anthropic_sdk", reasoning_tokens=0)
    assert sum(chain().send([rich, poor]).sums("reasoning_tokens").values()) == 3
    counted = seen(3, token_source="counted", cache_read_tokens=4, reasoning_tokens=9)
    assert billed(chain().send([rich, poor, counted])) == {trace_id(1)}


def test_a_survivor_that_its_trace_takes_back_gives_the_call_to_the_next() -> None:
    """The better record turns out to be a roll-up of a call with another id."""
    outer, other = seen(1, reasoning_tokens=3), seen(2)
    run = chain().send([outer, other])
    assert billed(run) == {trace_id(1)}
    inner = call(2, 1, trace_id=trace_id(1), response_id=ID + "x", cost_nano=60)
    run.send([inner], SECOND).send([], SECOND)
    assert reversals(run)[1:] == [(trace_id(2), 0, "stands after all")]
    assert sum(run.sums("cost_nano").values()) == 160
    before, after = run.calls.rows("usage")
    assert before["entry_id"] == after["entry_id"] and before["version"] < after["version"]
    assert run.drain().usage() == chain().send([outer, other, inner]).drain().usage()


def test_a_survivor_whose_fuller_sighting_is_the_worse_record_gives_the_call_to_the_next() -> None:
    good, other = seen(1, reasoning_tokens=3), seen(2)
    run = chain().send([good, other])
    fuller = seen(1, size=1, start_time=START)
    run.send([fuller], SECOND).send([], SECOND)
    assert billed(run) == {trace_id(2)}
    assert run.drain().usage() == chain().send([good, other, fuller]).drain().usage()


def test_rows_of_a_run_that_crashed_are_superseded() -> None:
    """It saw both sightings of the survivor before the other trace; after the restart all came at once."""
    good, other, fuller = seen(1, reasoning_tokens=3), seen(2), seen(1, size=1, start_time=START)
    expected = chain().send([good, other, fuller]).drain().usage()
    for lost in ([good, other], [fuller, other]):
        run = chain()
        saved = run.saved()
        run.send(lost).send([], SECOND)
        run.restore(saved)
        assert run.send([good, other, fuller], SECOND).drain().usage() == expected


def test_a_call_seen_twice_in_each_of_two_traces_is_billed_once() -> None:
    run = chain().send([seen(1), seen(1, 2, 1), seen(2), seen(2, 2, 1)]).drain()
    assert sum(run.sums("cost_nano").values()) == 100
    assert sum(run.sums("output_tokens").values()) == 5


def test_a_fuller_sighting_of_a_beaten_span_is_taken_back_with_its_own_numbers() -> None:
    run = chain().send([seen(1, reasoning_tokens=1), seen(2, size=1)])
    run.send([seen(2, size=2, cost_nano=130)], SECOND).send([], SECOND)
    assert run.sums("cost_nano") == {("acme", trace_id(1), span_id(1)): 100, ("acme", trace_id(2), span_id(1)): 0}


def test_a_span_seen_with_two_ids_claims_both_calls_and_bills_the_one_of_its_fullest_sighting() -> None:
    early, late = seen(1, version=5), seen(1, version=6, response_id=ID + "x")
    for batches in ([[early, late]], [[early], [late]], [[late], [early]]):
        run = chain().send([seen(2), seen(3, response_id=ID + "x", reasoning_tokens=1)])
        for batch in batches:
            run.send(batch, SECOND)
        run.drain()
        assert billed(run) == {trace_id(2), trace_id(3)}


def test_many_sightings_of_one_call_in_many_traces_are_billed_once() -> None:
    run = chain()
    for number in range(50):
        run.send([seen(number)], SECOND // 3)
    assert sum(run.send([], SECOND).sums("cost_nano").values()) == 100


def test_a_call_takes_at_most_100_bytes() -> None:
    draw = Random(1)
    rows = [
        call(
            draw.getrandbits(63),
            trace_id=f"{draw.getrandbits(128):032x}",
            response_id=f"chatcmpl-{draw.getrandbits(110):029d}",
            start_time=START + n * 1_234_567,
            duration_ns=draw.randrange(SECOND),
            input_tokens=draw.randrange(5000),
            output_tokens=draw.randrange(900),
            cost_nano=draw.randrange(10**7),
        )
        for n in range(3000)
    ]
    run = chain().send(rows)
    size = sum(map(len, run.calls.state.values())) / len(rows)
    print(f"bytes a call: {size:.0f}")
    assert size < 100


def test_the_claims_of_one_call_are_in_one_bucket() -> None:
    run = Run(make_assemble(ASSEMBLE)).give(
        table([seen(n, n + 1) for n in range(20)] + [seen(1, 50, response_id=ID + "2")])
    )
    [claims] = [rows for name, rows in run.out if name == "claims"]
    buckets = dict(zip(claims["response_id"].to_pylist(), call_buckets(claims, 64).tolist(), strict=True))
    assert len(set(call_buckets(claims, 64).tolist())) == len(set(buckets.values())) == 2


def test_state_of_another_version_is_refused() -> None:
    run = chain().send([seen(1)]).calls
    for name in run.state:
        state = run.state | {name: b"\x09" + run.state[name][1:]}
        with pytest.raises(UnknownSchemaVersion, match="version 9"):
            run.fold(state, run_claims(), run.now + 2 * SECOND)


def run_claims() -> Any:
    [claims] = [rows for name, rows in Run(make_assemble(ASSEMBLE)).send([seen(2)]).out if name == "claims"]
    return claims
