"""Which sightings of a trace are one call: a table of situations, and the properties."""

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.transforms.billing.test_ledger import billed, entries
from tests.transforms.folding import Run
from tests.transforms.skeletons import SECOND, START, call, layers, skeleton, span_id, trace_id
from transforms.traces.fold import AssembleSettings, make_assemble

Row = dict[str, Any]
REAL, OTHER = "msg_01XFDUDYJgAACzvnptvVoYEL", "chatcmpl-BzT4kQ0vN1xY8"
PROXY = "chatcmpl-1f0c7a52-9f4e-4d8a-8a37-6c1d5a0e2b11"


def outer(**columns: Any) -> Row:
    """What a framework says of a call, 0 to 1,000 ms; beside `inner`, not above it."""
    return call(2, 1, **{"scope": "framework", "start_time": START, "duration_ns": 1_000} | columns)


def inner(**columns: Any) -> Row:
    """What a client says of it, 100 to 900 ms."""
    return call(3, 1, **{"scope": "client", "start_time": START + 100, "duration_ns": 800} | columns)


ONE_CALL: dict[str, list[Row]] = {
    "neither has an id": [outer(), inner()],
    "one has an id": [outer(), inner(response_id=REAL)],
    "the outer one has the id": [outer(response_id=REAL), inner()],
    "a proxy gave an id of its own": [outer(response_id=PROXY), inner(response_id=REAL)],
    "the same id": [outer(response_id=REAL), inner(response_id=REAL, scope="framework")],
    "in another branch, without its parent": [outer(), inner(parent_span_id=span_id(77))],
    "equal starts": [outer(), inner(start_time=START)],
    "siblings that overlap for 95 %": [outer(), inner(start_time=START + 50, duration_ns=1_000)],
    "one asks for an alias, the other knows the dated answer": [
        outer(request_model="openai/gpt-4o"),
        inner(request_model="my-deployment", response_model="gpt-4o-2024-08-06"),
    ],
    "a region and a version of Bedrock": [
        outer(request_model="us.anthropic.claude-sonnet-4-20250514-v1:0"),
        inner(request_model="claude-sonnet-4@20250514"),
    ],
    "an embedding, which has no output and no id": [
        outer(kind="embedding", output_tokens=None),
        inner(kind="embedding", output_tokens=0),
    ],
    "a span of no duration": [outer(), inner(duration_ns=0)],
}
TWO_CALLS: dict[str, list[Row]] = {
    "two calls of one library": [outer(), inner(scope="framework")],
    "a retry after the first ended": [outer(), inner(start_time=START + 1_001)],
    "siblings that overlap for less": [outer(), inner(start_time=START + 51, duration_ns=1_000)],
    "another input": [outer(), inner(input_tokens=11)],
    "another output": [outer(), inner(output_tokens=6)],
    "another model": [outer(), inner(request_model="gpt-4o-mini")],
    "two ids of providers": [outer(response_id=OTHER), inner(response_id=REAL)],
    "another trace": [outer(), inner(trace_id=trace_id(7))],
    "another organisation": [outer(), inner(org="globex")],
}


@pytest.mark.parametrize("rows", ONE_CALL.values(), ids=list(ONE_CALL))
def test_two_sights_of_one_call_are_billed_once(rows: list[Row]) -> None:
    assert billed([skeleton(1), *rows]) == {span_id(3)}
    by = "" if rows[0]["response_id"] == rows[1]["response_id"] != "" else ", by its model, tokens and times,"
    assert ("reversal", -100, f"duplicate{by} of {span_id(3)}") in entries([skeleton(1), *rows])


@pytest.mark.parametrize("rows", TWO_CALLS.values(), ids=list(TWO_CALLS))
def test_two_calls_that_look_alike_are_billed_twice(rows: list[Row]) -> None:
    assert billed([skeleton(1), *rows]) == {span_id(2), span_id(3)}


def test_an_id_that_a_third_sight_shares_tells_which_of_two_calls_it_is() -> None:
    first, second = inner(), inner(span_id=span_id(4), response_id=REAL)
    both = [skeleton(1), first, second, outer(response_id=REAL)]
    assert billed(both) == {span_id(3), span_id(4)}


def test_of_two_sights_that_are_equal_in_all_but_their_scope_the_smaller_id_bills() -> None:
    assert billed([skeleton(1), outer(), inner(start_time=START, duration_ns=1_000)]) == {span_id(2)}


def test_calls_without_input_tokens_are_not_matched() -> None:
    for tokens in (None, 0):
        rows = [outer(input_tokens=tokens), inner(input_tokens=tokens)]
        assert billed([skeleton(1), *rows]) == {span_id(2), span_id(3)}


def test_three_layers_are_one_call() -> None:
    between = call(4, 1, scope="proxy", start_time=START + 50, duration_ns=900, response_id=PROXY)
    assert billed([skeleton(1), outer(), between, inner(response_id=REAL)]) == {span_id(3)}


def test_parallel_calls_that_are_alike_are_matched_one_to_one() -> None:
    """Three calls of equal tokens at once, seen by two layers; of a fourth the client knows nothing."""
    frames = [call(10 + n, 1, scope="framework", start_time=START + n, duration_ns=1_000) for n in range(4)]
    clients = [call(20 + n, 1, scope="client", start_time=START + 10 + n, duration_ns=800) for n in range(3)]
    assert billed([skeleton(1), *frames, *clients]) == {span_id(n) for n in (13, 20, 21, 22)}


def test_calls_that_are_alike_one_after_the_other_are_matched_each_in_its_time() -> None:
    """Of the second the client knows nothing, as its usage was lost."""
    frames = [call(10 + n, 1, scope="framework", start_time=START + 2_000 * n, duration_ns=1_000) for n in range(4)]
    clients = [call(20 + n, 1, scope="client", start_time=START + 2_000 * n + 1, duration_ns=800) for n in (0, 2, 3)]
    assert billed([skeleton(1), *frames, *clients]) == {span_id(n) for n in (20, 11, 22, 23)}


def test_the_richest_record_of_a_matched_call_bills_as_a_set() -> None:
    """The outer one knows the cached tokens; its numbers bill, and the reasoning of the other is not mixed in."""
    rich = outer(cache_read_tokens=4, cache_write_tokens=2, cost_nano=70)
    poor = inner(response_id=REAL, reasoning_tokens=3)
    for rows in ([rich, poor], [rich, poor | {"parent_span_id": span_id(2)}]):
        assert billed([skeleton(1), *rows]) == {span_id(2)}
        run = Run(make_assemble(AssembleSettings())).send([skeleton(1), *rows]).drain()
        sums = {
            name: sum(row[name] or 0 for row in run.usage().values())
            for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_nano")
        }
        assert list(sums.values()) == [10, 4, 2, 0, 70]


def test_a_layer_with_a_span_of_its_own_below_takes_part_with_the_inner_one() -> None:
    raw = call(4, 2, scope="framework", start_time=START, duration_ns=1_000)
    assert billed([skeleton(1), outer(), raw, inner()]) == {span_id(3)}


def test_a_match_that_a_later_span_undoes_gives_the_call_back() -> None:
    """The first of the framework is the first of the client: until an earlier call of the framework arrives."""
    run = Run(make_assemble(AssembleSettings())).send([skeleton(1), outer(), inner()])
    assert run.usage_cost() == {span_id(2): 0, span_id(3): 100}
    earlier = call(4, 1, scope="framework", start_time=START - 10, duration_ns=950)
    run.send([earlier], SECOND)
    assert run.usage_cost() == {span_id(2): 100, span_id(3): 100, span_id(4): 0}
    assert (
        run.drain().usage()
        == Run(make_assemble(AssembleSettings())).send([earlier, inner(), outer(), skeleton(1)]).drain().usage()
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(layers(), st.data())
def test_what_was_told_of_part_of_a_trace_is_superseded_by_the_whole(rows: list[Row], data: st.DataObject) -> None:
    """Every entry that any part of the spans gives rise to is an entry of the whole: nothing stale stays behind."""
    part = data.draw(st.lists(st.sampled_from(rows), unique_by=lambda row: row["span_id"]))
    whole = Run(make_assemble(AssembleSettings())).send(rows).drain().usage()
    if part:
        told = Run(make_assemble(AssembleSettings())).send(part).drain().usage()
        assert told.keys() <= whole.keys()
        assert all(told[key]["version"] <= whole[key]["version"] for key in told)


def test_as_many_alike_calls_as_a_trace_may_hold_are_matched_in_time() -> None:
    draw = Random(1)
    rows = [
        row
        for n in range(5_000)
        for row in (
            call(2 * n + 2, 1, scope="a", start_time=START + n, duration_ns=10**6),
            call(2 * n + 3, 1, scope="b", start_time=START + n, duration_ns=10**6 - 10),
        )
    ]
    draw.shuffle(rows)
    run = Run(make_assemble(AssembleSettings())).send([skeleton(1), *rows])
    assert sum(run.usage_cost().values()) == 5_000 * 100
