"""Limits: what changes with them, and what people are told of them."""

import pytest

from schemas import budget_pb2 as pb
from tests.transforms.budgets.log import (
    DAY,
    START,
    budget,
    charges,
    entry,
    extend,
    limits,
    opened,
    owner,
    release,
    reserve,
    settle,
)
from transforms.budgets.amounts import MAX_LIMIT

THRESHOLDS = {"thresholds": [50, 80, 100]}


def test_a_limit_below_what_is_pending_refuses_and_keeps_the_holds() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 60), limits(2, budget("day", 50)))
    [said] = log.peek().balances
    assert (said.limit, said.pending, said.available) == (50, 60, -10)
    assert log.outcome(reserve("b", 1)) == "refused"
    assert log.outcome(settle("a", 60)) == "accepted"
    assert log.held("day") == (60, 0)


def test_a_raised_limit_makes_room_at_once() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 100))
    assert log.outcome(reserve("b", 1)) == "refused"
    log.send(limits(2, budget("day", 101)))
    assert log.outcome(reserve("c", 1)) == "accepted"


def test_the_holds_of_a_budget_that_was_deleted_are_resolved_in_its_books() -> None:
    log = opened(budget("day", 100, **THRESHOLDS), budget("org", 100))
    log.send(reserve("a", 60), reserve("b", 30), limits(2, budget("org", 100)))
    log.send(settle("a", 50), release("b"))
    assert [found.name for found in log.peek().balances] == ["org"]
    rows = {key[0]: (row["spent"], row["pending"]) for key, row in log.balances().items()}
    assert rows == {"day": (50, 0), "org": (50, 0)}
    assert log.told() == []
    log.send(limits(3, budget("day", 100)))
    assert log.held("day") == (50, 0)


def test_a_new_budget_counts_what_is_reserved_after_it() -> None:
    log = opened(budget("org", 100))
    log.send(reserve("a", 60), limits(2, budget("org", 100), budget("new", 100)))
    log.send(settle("a", 60), reserve("b", 5))
    assert (log.held("org"), log.held("new")) == ((60, 5), (0, 5))


@pytest.mark.parametrize("revision", [5, 4, 1])
def test_limits_of_a_lower_or_equal_revision_are_ignored(revision: int) -> None:
    log = opened()
    log.send(limits(5, budget("day", 100)))
    log.send(limits(revision, budget("day", 7)))
    assert log.peek().balances[0].limit == 100


def test_a_budget_counts_between_its_dates_alone() -> None:
    log = opened(budget("day", 10, effective_from=START + 10, effective_to=START + DAY))
    assert log.outcome(reserve("a", 11)) == "accepted"
    assert log.outcome(reserve("b", 11), after=10) == "refused"
    assert log.outcome(reserve("c", 11), after=DAY) == "accepted"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (budget("day", -1), "the limit is -1"),
        (budget("day", MAX_LIMIT + 1), "the limit is"),
        (budget("day", 1, time_zone="Europe/Atlantis"), "no time zone"),
        (budget("day", 1, window=pb.WINDOW_UNSPECIFIED), "not known"),
        (budget("day", 1, unit=pb.UNIT_UNSPECIFIED), "not known"),
        (budget("day", 1, thresholds=[0]), "1 to 100 percent"),
        (budget("", 1), "empty or given twice"),
        (budget("other", 1), "empty or given twice"),
        (budget("old", 1, window=pb.WINDOW_MONTH), "what it counts has changed"),
    ],
)
def test_limits_that_cannot_be_taken_are_a_dead_letter_and_the_old_ones_hold(wrong: pb.Budget, message: str) -> None:
    log = opened(budget("old", 10))
    log.send(limits(2, budget("other", 5), wrong))
    [(error, said)] = log.letters()
    assert error == "InvalidLimits" and message in said
    assert [found.name for found in log.peek().balances] == ["old"]


def test_each_threshold_is_told_once_in_a_window_and_again_in_the_next() -> None:
    log = opened(budget("day", 100, **THRESHOLDS))
    for day in range(2):
        costs = [49, 1, 0, 35, 15, 5]
        events = [charges(entry(f"{day}/{number}", cost)) for number, cost in enumerate(costs)]
        log.send(*events, after=DAY * day)
        log.send(charges(entry(f"{day}/0", -49, entry_id=f"{day}/back")), charges(entry(f"{day}/x", 90)))
    once = [("threshold", "day", 50), ("threshold", "day", 80), ("threshold", "day", 100), ("exceeded", "day", 0)]
    assert log.told() == once * 2
    ids = [row["event_id"] for row in log.rows("budget_events")]
    assert len(set(ids)) == len(ids) == 8


def test_thresholds_hold_for_advisory_budgets_too_and_say_who_reached_them() -> None:
    log = opened(budget("day", 100, hard=False, **THRESHOLDS))
    log.send(reserve("a", 10), settle("a", 150))
    told = [(row["kind"], row["threshold"], row["request_id"], row["spent"]) for row in log.rows("budget_events")]
    assert told == [("threshold", percent, "a", 150) for percent in (50, 80, 100)] + [("exceeded", 0, "a", 150)]


def test_a_raised_limit_lets_its_thresholds_be_told_again_and_a_lowered_one_tells_them_at_once() -> None:
    log = opened(budget("day", 100, **THRESHOLDS))
    log.send(charges(entry("c", 85)))
    log.send(limits(2, budget("day", 150, **THRESHOLDS)))  # 57 %
    log.send(charges(entry("d", 40)))  # 83 %
    log.send(limits(3, budget("day", 125, **THRESHOLDS)))
    percents = [(row["threshold"], row["limit"]) for row in log.rows("budget_events")]
    assert percents == [(50, 100), (80, 100), (80, 150), (100, 125)]


def test_the_first_refusal_in_a_window_is_told() -> None:
    log = opened(budget("day", 10), budget("advice", 5, hard=False))
    for number in range(3):
        log.send(reserve(f"r{number}", 11))
    assert log.told() == [("refused", "day", 0)]
    assert len(log.rows("budget_balances")) == 3  # what refuses again and again is not written again
    log.send(limits(2, budget("day", 20)), reserve("x", 21), reserve("y", 21))
    log.send(reserve("z", 21), after=DAY)
    assert log.told() == [("refused", "day", 0)] * 3


def test_a_limit_of_zero_lets_nothing_through_but_what_costs_nothing() -> None:
    log = opened(budget("day", 0, **THRESHOLDS))
    assert log.outcome(reserve("a", 0)) == "accepted"
    assert log.outcome(reserve("b", 1)) == "refused"
    assert log.told() == [("refused", "day", 0)]


def test_a_key_that_moved_to_another_team_is_resolved_where_it_was_reserved() -> None:
    """Case 48."""
    log = opened(budget("red", 100, team="red"), budget("blue", 100, team="blue"))
    log.send(reserve("a", 60), reserve("b", 5, owner(team="blue")))
    log.send(charges(entry("c", 50, team="blue", request_id="a")), settle("a", 55), extend("b", 60))
    assert (log.held("red"), log.held("blue")) == ((50, 0), (0, 5))


def test_a_balance_row_shows_a_budget_before_anything_is_spent() -> None:
    log = opened(budget("all", 100, window=pb.WINDOW_TOTAL, time_zone="Europe/Berlin", hard=False, model="gpt-*"))
    [row] = log.rows("budget_balances")
    shown = {name: row[name] for name in ("budget", "model", "unit", "window", "hard", "limit", "spent", "pending")}
    assert shown == {
        "budget": "all",
        "model": "gpt-*",
        "unit": "nano_dollars",
        "window": "total",
        "hard": False,
        "limit": 100,
        "spent": 0,
        "pending": 0,
    }
    assert (row["window_start"].value, row["window_end"], row["version"]) == (0, None, 1)
