from collections import defaultdict
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.transforms.folding import Run
from tests.transforms.skeletons import SECOND, call, families, layers, sightings, skeleton, span_id, trace_id
from transforms.traces.fold import AssembleSettings, make_assemble

Row = dict[str, Any]


def ledger(rows: list[Row]) -> list[Row]:
    run = Run(make_assemble(AssembleSettings())).send(rows).drain()
    return sorted(run.usage().values(), key=lambda row: (row["span_id"], row["entry"]))


def billed(rows: list[Row]) -> set[str]:
    """The spans whose entries do not cancel out."""
    run = Run(make_assemble(AssembleSettings())).send(rows).drain()
    return {span for span, cost in run.usage_cost().items() if cost}


def entries(rows: list[Row]) -> list[tuple[str, int | None, str]]:
    return [(row["entry"], row["cost_nano"], row["reason"]) for row in ledger(rows)]


def test_a_leaf_call_is_charged_and_nothing_else_is() -> None:
    [row] = ledger([skeleton(1), call(2, 1, response_model="gpt-4o-2024"), skeleton(3, 1, kind="tool")])
    assert (row["entry"], row["span_id"], row["model"], row["cost_nano"]) == ("charge", span_id(2), "gpt-4o-2024", 100)
    assert (row["input_tokens"], row["cache_read_tokens"], row["reason"]) == (10, None, "")


def test_a_model_is_as_asked_when_the_answer_names_none() -> None:
    assert [row["model"] for row in ledger([call(2)])] == ["gpt-4o"]


def test_a_roll_up_is_charged_and_taken_back() -> None:
    outer, inner = call(1), call(3, 2)
    assert entries([outer, skeleton(2, 1), inner]) == [
        ("charge", 100, ""),
        ("reversal", -100, "roll-up of its descendants"),
        ("charge", 100, ""),
    ]


def test_a_call_above_a_failed_attempt_without_usage_still_bills() -> None:
    assert billed([call(1), call(2, 1, input_tokens=None, output_tokens=None, cost_nano=None)]) == {span_id(1)}


def test_of_one_response_id_the_record_with_the_most_numbers_bills() -> None:
    poor = call(2, 1, response_id="r")
    rich = call(3, 1, response_id="r", cache_read_tokens=4)
    assert billed([skeleton(1), poor, rich]) == {span_id(3)}
    assert entries([skeleton(1), poor, rich])[1] == ("reversal", -100, f"duplicate of {span_id(3)}")


def test_of_two_layers_of_one_call_the_one_that_knows_more_bills_above_or_below() -> None:
    above, below = call(1, response_id="r"), call(2, 1, response_id="r")
    assert billed([above, below | {"cache_read_tokens": 4}]) == {span_id(2)}
    assert billed([above | {"cache_read_tokens": 4}, below]) == {span_id(1)}
    assert entries([above | {"cache_read_tokens": 4}, below]) == [
        ("charge", 100, ""),
        ("reversal", 0, "stands after all"),
        ("charge", 100, ""),
        ("reversal", -100, f"duplicate of {span_id(1)}"),
    ]


def test_a_roll_up_that_knows_more_gives_way_to_the_calls_below_it() -> None:
    """One of them has its id: the last step's. It bills whatever the roll-up has in detail."""
    first, last = call(2, 1, response_id="q"), call(3, 1, response_id="r")
    for total in (20, 10):
        outer = call(1, response_id="r", input_tokens=total, cache_read_tokens=4)
        assert billed([outer, first, last]) == {span_id(2), span_id(3)}
    assert billed([call(1, response_id="r", input_tokens=20, cache_read_tokens=4), last]) == {span_id(3)}


def test_a_failed_attempt_below_a_call_of_the_same_response_id_is_its_duplicate() -> None:
    failed = call(2, 1, response_id="r", input_tokens=None, output_tokens=None, cost_nano=None)
    assert entries([call(1, response_id="r"), failed])[1:] == [
        ("charge", None, ""),
        ("reversal", None, f"duplicate of {span_id(1)}"),
    ]


def test_calls_without_a_response_id_or_of_other_traces_are_no_duplicates() -> None:
    assert (
        len(billed([call(1), call(2), call(3, response_id="r", trace_id=trace_id(7)), call(4, response_id="r")])) == 4
    )


def test_a_duplicate_turned_roll_up_gives_the_call_back_to_its_descendant() -> None:
    """The better record is an ancestor of the other and holds more tokens, but the span between them comes last."""
    outer, inner = call(1, response_id="r", output_tokens=9, cache_read_tokens=4), call(3, 2, response_id="r")
    run = Run(make_assemble(AssembleSettings())).send([outer, inner])
    assert run.usage_cost() == {span_id(1): 100, span_id(3): 0}
    run.send([skeleton(2, 1)], SECOND)
    costs = {(row["span_id"], row["entry"]): row["cost_nano"] for row in run.usage().values()}
    assert costs == {
        (span_id(1), "charge"): 100,
        (span_id(1), "reversal"): -100,
        (span_id(3), "charge"): 100,
        (span_id(3), "reversal"): 0,
    }


def test_of_a_loop_of_calls_one_bills() -> None:
    assert len(billed([call(1, 3), call(2, 1), call(3, 2)])) == 1


def test_a_loop_that_closes_late_gives_the_call_back_to_the_span_that_is_last_now() -> None:
    run = Run(make_assemble(AssembleSettings())).send([call(1, 3), call(3, 2)])
    assert run.usage_cost() == {span_id(1): 100, span_id(3): 0}
    run.send([call(2, 1)], SECOND)
    assert run.usage_cost() == {span_id(1): 0, span_id(2): 0, span_id(3): 100}


def test_a_span_that_is_no_call_by_its_fuller_record_is_taken_back() -> None:
    early, late = call(1, version=5), skeleton(1, version=6)
    assert [entry for entry, _, _ in entries([early, late])] == ["charge", "reversal"]
    assert billed([early, late]) == set()


def test_one_call_has_one_call_id_in_every_trace_of_an_organisation() -> None:
    rows = ledger([call(1, response_id="r"), call(2, response_id="r", trace_id=trace_id(7)), call(3)])
    assert len({row["call_id"] for row in rows}) == 2
    other = ledger([call(1, response_id="r", org="globex")])
    assert other[0]["call_id"] not in {row["call_id"] for row in rows}


def test_an_unpriced_call_is_taken_back_without_a_cost() -> None:
    outer = call(1, cost_nano=None, cost_status="unpriced")
    reversal = ledger([outer, call(2, 1)])[1]
    assert (reversal["entry"], reversal["cost_nano"], reversal["input_tokens"]) == ("reversal", None, -10)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(sightings(spans=6, traces=1), min_size=1, max_size=10) | families() | layers())
def test_each_call_bills_once(rows: list[Row]) -> None:
    """Every candidate's billed numbers are what the rules say, told from ancestors found by walking."""
    winners: dict[tuple[str, str], Row] = {}
    for row in sorted(rows, key=lambda row: row["version"]):
        winners[row["org"], row["span_id"]] = row
    run = Run(make_assemble(AssembleSettings())).send(rows).drain()
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for row in run.usage().values():
        sums[row["org"], row["span_id"]] += row["output_tokens"] or 0
    for org in {org for org, _ in winners}:
        spans = {span: row for (owner, span), row in winners.items() if owner == org}
        stays = standing(spans)
        for span, row in spans.items():
            assert sums[org, span] == ((row["output_tokens"] or 0) if span in stays else 0), span


def standing(spans: dict[str, Row]) -> set[str]:
    """The calls of one trace that bill."""
    above = cut_loops(spans)
    calls = {span for span, row in spans.items() if row["billable"]}
    usage = {span for span in calls if spans[span]["output_tokens"] is not None}
    below = {span: {other for other in spans if span in ancestors(other, above)} for span in spans}
    groups = one_call(spans, calls)
    rolled = {span for span in calls if any(not repeats(spans, groups, span, o) for o in below[span] & usage)}
    stays = calls - rolled
    for group in {id(group): group for group in groups.values()}.values():
        left = [span for span in group if not (span in rolled and below[span] & usage & group)]
        best = min(left, key=lambda span: (rank(spans[span]), span))
        stays -= set(left) - {best}
    return stays


def one_call(spans: dict[str, Row], calls: set[str]) -> dict[str, set[str]]:
    """For each call the sightings of it, by response id and by match."""
    order = sorted(calls, key=lambda span: (spans[span]["start_time"], span))
    first: dict[str, str] = {}
    for span in order:
        first.setdefault(spans[span]["response_id"] or span, span)
    call = {span: first[spans[span]["response_id"] or span] for span in order}
    joined: dict[str, str] = {}
    for match in (match for match in matches(spans, order) if fits(match, call, spans)):
        for span in match:
            joined[call[span]] = min(joined.get(call[span], call[span]), *(call[s] for s in match), key=order.index)
    named: dict[str, set[str]] = defaultdict(set)
    for span in order:
        named[joined.get(call[span], call[span])].add(span)
    return {span: named[joined.get(call[span], call[span])] for span in order}


def fits(match: set[str], call: dict[str, str], spans: dict[str, Row]) -> bool:
    """What the ids of a match bring along used the same tokens, and of one scope and id lies one below another."""
    above = cut_loops(spans)
    whole = [span for span in call if call[span] in {call[one] for one in match}]
    tokens = {(spans[span]["input_tokens"] or 0, spans[span]["output_tokens"] or 0) for span in whole}
    pairs = [(s, o) for s in whole for o in whole if s < o and spans[s]["scope"] == spans[o]["scope"]]
    return len(tokens) == 1 and all(
        spans[s]["response_id"] == spans[o]["response_id"] and (s in ancestors(o, above) or o in ancestors(s, above))
        for s, o in pairs
    )


def matches(spans: dict[str, Row], order: list[str]) -> list[set[str]]:
    """The sets of calls that are one by tokens, times, scopes and models; order: calls by start."""
    above = cut_loops(spans)
    alike: dict[tuple, list[str]] = defaultdict(list)
    for span in order:
        if spans[span]["input_tokens"]:
            alike[spans[span]["input_tokens"], spans[span]["output_tokens"] or 0].append(span)
    found: list[set[str]] = []
    for several in alike.values():
        outer = {
            s for s in several for o in several if spans[s]["scope"] == spans[o]["scope"] and s in ancestors(o, above)
        }
        bursts: list[list[str]] = []
        reached = -1
        for span in (span for span in several if span not in outer):
            bursts += [[]] if spans[span]["start_time"] > reached else []
            bursts[-1].append(span)
            reached = max(reached, spans[span]["start_time"] + spans[span]["duration_ns"])
        for burst in bursts:
            by_scope: dict[str, list[str]] = defaultdict(list)
            for span in burst:
                by_scope[spans[span]["scope"]].append(span)
            found += [set(ns) - {None} for ns in zip_longest(*by_scope.values())]
    return [match for match in found if len(match) > 1 and is_one([spans[span] for span in match])]


def is_one(rows: list[Row]) -> bool:
    names = [{row["request_model"], row["response_model"]} - {""} for row in rows]
    ids = {row["response_id"] for row in rows} - {""}
    ends = [row["start_time"] + row["duration_ns"] for row in rows]
    common = min(ends) - max(row["start_time"] for row in rows)
    shortest = min(row["duration_ns"] for row in rows)
    return bool(set.intersection(*names)) and len(ids) <= 1 and common >= max(0.95 * shortest, 0)


def repeats(spans: dict[str, Row], groups: dict[str, set[str]], span: str, other: str) -> bool:
    one, two = ([spans[s]["input_tokens"], spans[s]["output_tokens"]] for s in (span, other))
    return other in groups[span] and one == two


def rank(row: Row) -> tuple:
    """The best record of a call has the smallest."""
    usage = row["billable"] and (row["input_tokens"] is not None or row["output_tokens"] is not None)
    known = sum(bool(v) for k, v in row.items() if k.endswith("_tokens") or k == "cost_nano")
    native = row["dialect"] == "anthropic_sdk"
    return (-usage, -(row["token_source"] == "reported"), -known, -native, -row["start_time"], row["duration_ns"])


def ancestors(span: str, above: dict[str, str]) -> set[str]:
    found: set[str] = set()
    while (span := above[span]) in above:
        found.add(span)
    return found


def cut_loops(spans: dict[str, Row]) -> dict[str, str]:
    above = {span: row["parent_span_id"] for span, row in spans.items()}
    for span in sorted(spans, key=lambda span: (spans[span]["start_time"], span)):
        if span in chain(span, above):
            above[span] = ""
    return above


def chain(span: str, above: dict[str, str]) -> Iterable[str]:
    seen: set[str] = set()
    while (span := above.get(span, "")) and span not in seen:
        seen.add(span)
        yield span


def test_a_call_sent_again_in_another_request_is_charged_once_and_not_taken_back() -> None:
    """A request sent again is received at another time, so its spans have another version."""
    rows = [skeleton(1), call(2, 1, response_id="r", version=5), call(2, 1, response_id="r", version=6)]
    assert entries(rows) == [("charge", 100, "")]


def test_what_was_counted_from_text_takes_nothing_back_that_a_provider_reported() -> None:
    reported, counted = call(1, cost_nano=1_000), call(2, 1, token_source="counted", cost_nano=9)
    assert billed([reported, counted]) == {span_id(1)}
    assert entries([reported, counted])[-1] == ("reversal", -9, "reported by a call above it")


def test_a_call_counted_from_text_bills_beside_a_reported_one_below_the_same_roll_up() -> None:
    outer, reported, counted = call(1), call(2, 1), call(3, 1, token_source="counted")
    assert billed([outer, reported, counted]) == {span_id(2), span_id(3)}


def test_of_two_layers_counted_from_text_the_inner_one_bills() -> None:
    assert billed([call(1, token_source="counted"), call(2, 1, token_source="estimated")]) == {span_id(2)}
