from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.transforms.folding import Run
from tests.transforms.skeletons import SECOND, call, families, sightings, skeleton, span_id, trace_id
from transforms.traces import AssembleSettings, make_assemble

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


def test_a_child_of_the_same_response_id_bills_though_its_parent_knows_more() -> None:
    outer, inner = call(1, response_id="r", cache_read_tokens=4), call(2, 1, response_id="r")
    assert billed([outer, inner]) == {span_id(2)}
    assert [entry for entry, _, _ in entries([outer, inner])] == ["charge", "reversal", "charge"]


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


def test_a_duplicate_turned_ancestor_gives_the_call_back_to_its_descendant() -> None:
    """The better record is an ancestor of the other, but the span between them comes last."""
    outer, inner = call(1, response_id="r", cache_read_tokens=4), call(3, 2, response_id="r")
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


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(sightings(spans=6, traces=1), min_size=1, max_size=10) | families())
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
    stays = {span for span in calls if not below[span] & usage}
    groups = defaultdict(set)
    for span in calls:
        if spans[span]["response_id"]:
            groups[spans[span]["response_id"]].add(span)
    for group in groups.values():
        left = [span for span in group if not below[span] & usage & group]
        best = min(left, key=lambda span: (rank(spans[span]), span))
        stays -= set(left) - {best}
    return stays


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
