"""Charges of traced spans: what joins a reservation, and what counts by itself."""

from typing import Any

import pytest

from schemas import budget_pb2 as pb
from tests.transforms.budgets.log import (
    DAY,
    ORG,
    TICK,
    Log,
    budget,
    charges,
    entry,
    limits,
    opened,
    owner,
    record,
    release,
    reserve,
    settle,
)
from transforms.budgets.amounts import MAX_COST
from transforms.budgets.windows import SECOND

ID = "chatcmpl-0123456789abcdef"
REVERSED: dict[str, Any] = {"entry_id": "c/reversal"}


def test_a_charge_without_a_reservation_counts_against_every_budget_above_it() -> None:
    log = opened(budget("org", 100), budget("blue", 100, team="blue"), budget("tokens", 100, unit=pb.UNIT_TOKENS))
    log.send(charges(entry("c", 130, input_tokens=20, output_tokens=5)))
    assert (log.held("org"), log.held("blue"), log.held("tokens")) == ((130, 0), (0, 0), (25, 0))
    assert log.outcome(reserve("a", 1, tokens=1)) == "refused"


def test_a_charge_that_comes_again_changes_nothing_and_a_greater_version_counts_instead() -> None:
    log = opened(budget("day", 1000))
    for version, cost, spent in ((3, 130, 130), (3, 130, 130), (2, 70, 130), (4, 150, 150), (3, 130, 150)):
        log.send(charges(entry("c", cost, version=version)))
        assert log.held("day") == (spent, 0)
    assert [row["spent"] for row in log.rows("budget_entries")] == [130, 20]


@pytest.mark.parametrize("by", [{"request_id": "a"}, {"response_id": ID}])
@pytest.mark.parametrize("first", ["settle", "charge"])
def test_a_charge_of_a_settled_call_takes_the_place_of_what_was_settled(by: dict[str, str], first: str) -> None:
    log = opened(budget("day", 1000))
    log.send(reserve("a", 100))
    events = [settle("a", 80, response_id=ID), charges(entry("c", 77, **by))]
    for event in events if first == "settle" else events[::-1]:
        log.send(event, after=SECOND)
    assert log.held("day") == (77, 0)
    assert sum(row["spent"] for row in log.rows("budget_entries")) == 77


def test_a_charge_that_came_before_its_settlement_is_not_counted_twice_for_a_moment() -> None:
    log = opened(budget("day", 100, thresholds=[90]))
    log.send(reserve("a", 20), charges(entry("c", 77, response_id=ID)))
    log.send(settle("a", 20, response_id=ID))
    assert log.held("day") == (77, 0)
    assert log.told() == []


def test_a_charge_of_a_call_under_way_takes_a_part_of_its_hold() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 100), charges(entry("c", 30, request_id="a")))
    assert log.held("day") == (30, 70)
    assert log.outcome(reserve("b", 1)) == "refused"
    log.send(settle("a", 40))
    assert log.held("day") == (30, 0)


@pytest.mark.parametrize("end", [release("a"), TICK])
def test_a_charge_counts_whatever_became_of_its_reservation(end: pb.Event) -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 100, ttl_s=1))
    log.send(end, after=SECOND)
    log.send(charges(entry("c", 30, request_id="a")))
    assert log.held("day") == (30, 0)
    assert [row["kind"] for row in log.rows("budget_entries")][-1] == "overrun"


def test_a_charge_of_a_refused_request_counts() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 101), charges(entry("c", 90, request_id="a")))
    assert log.held("day") == (90, 0)
    assert log.outcome(reserve("a", 101)) == "refused"


def test_the_calls_of_one_request_add_up() -> None:
    """A retry that the provider charged for."""
    log = opened(budget("day", 1000))
    log.send(reserve("a", 100), settle("a", 80))
    log.send(charges(entry("c", 30, request_id="a"), entry("d", 60, request_id="a")))
    assert log.held("day") == (90, 0)


def test_a_reversal_gives_money_back_whichever_comes_first() -> None:
    pair = [charges(entry("c", 130)), charges(entry("c", -130, **REVERSED))]
    for events in (pair, pair[::-1]):
        log = opened(budget("day", 1000))
        for event in events:
            log.send(event)
            assert log.held("day")[0] >= 0  # never room that was not there
        assert log.held("day") == (0, 0)


def test_a_new_price_changes_the_window_of_the_call_after_it_has_closed() -> None:
    """Case 48: the correction is a row with a delta, or a greater version of the charge."""
    log = opened(budget("day", 1000))
    log.send(charges(entry("c", 130)))
    log.send(charges(entry("d", 5)), after=DAY)
    log.send(charges(entry("c", -30, entry_id="c/reprice"), entry("c", 140, version=2)))
    (_, first), (_, second) = sorted((key[1], row["spent"]) for key, row in log.balances().items())
    assert (first, second) == (110, 5)
    assert log.held("day") == (5, 0)


def test_a_charge_counts_in_the_window_of_its_arrival_not_of_its_span() -> None:
    """Case 20: price by the time of the span, window by the order of the log; each charge in one window."""
    log = opened(budget("day", 1000))
    log.send(charges(entry("c", 130, time=log.time - 3 * DAY)), after=DAY)
    assert log.held("day") == (130, 0)
    assert len(log.balances()) == 2  # that of the day of the limits is shown too, with nothing in it


def test_an_unpriced_charge_leaves_the_settled_money_and_corrects_the_tokens() -> None:
    log = opened(budget("money", 1000), budget("tokens", 1000, unit=pb.UNIT_TOKENS))
    log.send(reserve("a", 100, tokens=100), settle("a", 80, tokens=70))
    log.send(charges(entry("c", None, request_id="a", input_tokens=60)))
    assert (log.held("money"), log.held("tokens")) == ((80, 0), (60, 0))
    log.send(charges(entry("c", 75, request_id="a", input_tokens=60, version=2)))
    assert (log.held("money"), log.held("tokens")) == ((75, 0), (60, 0))


def test_a_reservation_without_a_model_counts_against_its_budget_when_the_call_is_known() -> None:
    log = opened(budget("org", 1000), budget("openai", 100, provider="openai"), budget("other", 9, provider="other"))
    log.send(reserve("a", 50), settle("a", 50))
    assert log.held("openai") == (0, 0)
    log.send(charges(entry("c", 40, request_id="a")))
    assert (log.held("org"), log.held("openai"), log.held("other")) == ((40, 0), (40, 0), (0, 0))
    log.send(charges(entry("c", -40, request_id="a", **REVERSED)))
    assert (log.held("org"), log.held("openai")) == ((0, 0), (0, 0))


def test_a_call_that_tells_its_model_does_not_count_against_budgets_that_came_after_its_reservation() -> None:
    log = opened(budget("org", 1000))
    log.send(reserve("a", 50), limits(2, budget("org", 1000), budget("red", 1000, team="red")))
    log.send(charges(entry("c", 40, request_id="a")))
    assert (log.held("org"), log.held("red")) == ((40, 10), (0, 0))


def test_a_response_id_that_identifies_nothing_joins_nothing() -> None:
    log = opened(budget("day", 1000))
    log.send(reserve("a", 10), settle("a", 10, response_id="chatcmpl-123"))
    log.send(charges(entry("c", 30, response_id="chatcmpl-123")))
    assert log.held("day") == (40, 0)


def test_a_response_id_joins_one_call_only() -> None:
    log = opened(budget("day", 1000))
    log.send(reserve("a", 10), settle("a", 10, response_id=ID))
    log.send(charges(entry("c", 9, response_id=ID), entry("d", 30, response_id=ID)))
    assert log.held("day") == (39, 0)
    log.send(reserve("b", 10), settle("b", 10, response_id=ID))
    assert log.held("day") == (49, 0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (entry("c", MAX_COST + 1), "one call has at most"),
        (entry("c", -(2**63)), "one call has at most"),
        (entry("c", 1, input_tokens=2**62, output_tokens=2**62), "one call has at most"),
        (entry("", 1), "call_id or version is missing"),
        (entry("c", 1, entry_id=""), "call_id or version is missing"),
        (entry("c", 1, version=None), "call_id or version is missing"),
    ],
)
def test_a_charge_that_cannot_be_booked_is_a_dead_letter_and_its_neighbours_count(row: dict, message: str) -> None:
    log = opened(budget("day", 1000))
    log.send(charges(entry("x", 1), row, entry("y", 2)))
    assert log.held("day") == (3, 0)
    [(error, said)] = log.letters()
    assert error == "InvalidCharge" and message in said
    raw = log.rows("dead_letters")[0]["raw"]
    assert [event.org for event in pb.EventBatch.FromString(raw).events] == [ORG]
    replayed = log.read([{**record(99, log.time), "body": raw}])
    assert replayed == [] and len(log.letters()) == 2


def test_charges_that_would_overflow_a_balance_are_dead_letters() -> None:
    log = opened(budget("advice", 1, hard=False))
    most = 2**62 // MAX_COST
    log.send(charges(*(entry(f"c{number}", MAX_COST) for number in range(most + 3))))
    assert log.held("advice") == (most * MAX_COST, 0)
    assert [error for error, _ in log.letters()] == ["InvalidCharge"] * 3


def test_a_charge_that_was_settled_without_a_reservation_does_not_charge_twice() -> None:
    for first in (0, 1):
        log = opened(budget("day", 1000))
        free = settle("a", 80, charge_without_reservation=True, owner=owner())
        events = [free, charges(entry("c", 77, request_id="a"))]
        log.send(events[first], events[1 - first])
        assert log.held("day") == (77, 0), first


def test_limits_that_came_after_a_charge_count_what_comes_after_them() -> None:
    log = Log()
    log.send(charges(entry("c", 50)))
    log.send(limits(1, budget("day", 100)), charges(entry("d", 7), entry("c", 60, version=2)))
    assert log.held("day") == (7, 0)
