"""What is repeated, resolved twice, forgotten, out of bounds, or at a time that steps: each with its outcome."""

import re

import pytest

from schemas import budget_pb2 as pb
from tests.transforms.budgets.log import (
    DAY,
    OUTCOMES,
    START,
    TICK,
    budget,
    extend,
    limits,
    opened,
    owner,
    release,
    reserve,
    settle,
)
from transforms.budgets.amounts import MAX_COST, MAX_LIMIT, MAX_TOKENS
from transforms.budgets.windows import SECOND

TOKENS = pb.UNIT_TOKENS


@pytest.mark.parametrize(
    ("event", "outcome", "message"),
    [
        (reserve("a", -1), "invalid", "cost_nano is negative"),
        (reserve("a", 1, tokens=-5), "invalid", "tokens is negative"),
        (reserve("a", MAX_COST + 1), "invalid", "one call has at most"),
        (reserve("a", 2**63 - 1), "invalid", "one call has at most"),
        (reserve("a", 1, tokens=MAX_TOKENS + 1), "invalid", "one call has at most"),
        (settle("held", -1), "invalid", "cost_nano is negative"),
        (settle("held", 2**63 - 1), "invalid", "one call has at most"),
        (reserve("", 1), "invalid", "request_id has 0 characters"),
        (reserve("x" * 256, 1), "invalid", "request_id has 256 characters"),
        (reserve("a", 1, ttl_s=-1), "invalid", "ttl_s is -1"),
        (reserve("a", 1, ttl_s=86_401), "invalid", "ttl_s is 86401"),
        (extend("held", 86_401), "invalid", "ttl_s is 86401"),
        (reserve("a", None), "amount_unknown", r"hard budgets day \(nano_dollars\)"),
        (settle("never", 1), "not_found", "no reservation"),
        (release("never"), "not_found", "no reservation"),
        (extend("never"), "not_found", "no reservation"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_changes_nothing(event: pb.Event, outcome: str, message: str) -> None:
    log = opened(budget("day", 100), budget("tokens", 100, unit=TOKENS, hard=False))
    log.send(reserve("held", 40))
    before = (log.peek().balances, log.rows("budget_entries"))
    reply = log.ask(event)
    assert OUTCOMES[reply.outcome] == outcome
    assert re.search(message, reply.message)
    assert (log.peek().balances, log.rows("budget_entries")) == before


def test_an_invalid_request_leaves_its_id_free() -> None:
    log = opened(budget("day", 100))
    assert log.outcome(reserve("a", -1)) == "invalid"
    assert log.outcome(reserve("a", 1)) == "accepted"


def test_balances_do_not_overflow_and_what_would_make_them_is_refused() -> None:
    """5,000 calls of a million dollars are more than 62 bits of nano-dollars."""
    log = opened(budget("advice", MAX_LIMIT, hard=False))
    granted = [
        OUTCOMES[reply.outcome]
        for start in range(0, 5_000, 100)
        for reply in log.send(*(reserve(f"r{n}", MAX_COST) for n in range(start, start + 100)))
    ]
    most = 2**62 // MAX_COST
    assert granted == ["accepted"] * most + ["invalid"] * (5_000 - most)
    assert log.held("advice") == (0, most * MAX_COST)
    [said] = log.peek().balances
    assert said.available == MAX_LIMIT - most * MAX_COST < 0


def test_what_a_settlement_does_not_know_is_settled_as_it_was_reserved() -> None:
    log = opened(budget("money", 100), budget("tokens", 1_000, unit=TOKENS))
    log.send(reserve("a", 60, tokens=500), settle("a", tokens=400))
    assert (log.held("money"), log.held("tokens")) == ((60, 0), (400, 0))


def test_the_same_request_gets_the_first_reply_again() -> None:
    log = opened(budget("day", 100))
    first = log.send(reserve("a", 60), reserve("b", 60), settle("a", 70), reserve("c", 1))
    log.send(reserve("x", 1), after=100 * SECOND)
    for event, old in zip((reserve("a", 60), reserve("b", 60), settle("a", 70), reserve("c", 1)), first, strict=True):
        again = log.ask(event)
        assert again.first_offset == old.first_offset == 1 and again.offset > 1
        old.offset = again.offset
        assert again == old
    assert log.held("day") == (70, 2)


def test_a_request_stays_refused_under_its_id_when_there_is_room_again() -> None:
    log = opened(budget("day", 10))
    assert log.outcome(reserve("a", 11)) == "refused"
    log.send(limits(2, budget("day", 100)))
    assert log.outcome(reserve("a", 11)) == "refused"
    assert log.outcome(reserve("b", 11)) == "accepted"


def test_the_same_id_with_other_content_is_an_error_and_changes_nothing() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 60), reserve("r", 101))
    other = "already_exists_with_different_content"
    assert log.outcome(reserve("a", 61)) == log.outcome(reserve("a", 60, owner(key="k2"))) == other
    assert log.outcome(reserve("r", 1)) == other
    log.send(settle("a", 50))
    assert log.outcome(settle("a", 51)) == log.outcome(settle("a", 50, response_id="chatcmpl-1")) == other
    assert log.held("day") == (50, 0)


def test_content_is_what_the_client_sent_where_the_service_says_so() -> None:
    """Between two tries the price changed, and the key moved to another team."""
    log = opened(budget("day", 100))
    first = log.ask(reserve("a", 60, fingerprint=b"same"))
    again = log.ask(reserve("a", 70, owner(team="blue"), fingerprint=b"same"))
    assert (again.outcome, again.expires_at, again.first_offset) == (first.outcome, first.expires_at, first.offset)
    assert log.outcome(reserve("a", 60, fingerprint=b"other")) == "already_exists_with_different_content"


@pytest.mark.parametrize(
    ("before", "outcomes"),
    [
        ([settle("a", 5)], ("already_exists_with_different_content", "already_settled", "already_settled")),
        ([release("a")], ("already_released", "accepted", "already_released")),
        ([TICK], ("accepted", "expired", "expired")),
    ],
)
def test_a_reservation_is_resolved_once(before: list[pb.Event], outcomes: tuple[str, ...]) -> None:
    for event, outcome in zip((settle("a", 6), release("a"), extend("a")), outcomes, strict=True):
        log = opened(budget("day", 100))
        log.send(reserve("a", 60, ttl_s=100))
        log.send(*before, after=100 * SECOND if before == [TICK] else 0)
        assert log.outcome(event) == outcome


def test_what_was_refused_has_no_hold_to_settle() -> None:
    log = opened(budget("day", 10))
    log.send(reserve("a", 11))
    assert [log.outcome(event) for event in (settle("a", 1), release("a"), extend("a"))] == ["not_found"] * 3


def test_a_request_is_remembered_for_seven_days_and_while_its_windows_are_open() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 60), settle("a", 60))
    assert log.ask(reserve("a", 60), after=7 * DAY - 1).first_offset == 1
    assert log.ask(reserve("a", 60), after=1).first_offset == log.ask(reserve("a", 60)).first_offset == 3
    log = opened(budget("month", 100, window=pb.WINDOW_MONTH))
    log.send(reserve("a", 60), settle("a", 60))
    left = 22 * DAY - (START % DAY)  # to the end of November
    assert log.ask(reserve("a", 60), after=left - 1).first_offset == 1
    assert log.ask(reserve("a", 60), after=1).first_offset == 3


def test_what_is_forgotten_leaves_the_state_but_for_the_limits_and_the_open_windows() -> None:
    log = opened(budget("day", 10**6), budget("all", 10**6, window=pb.WINDOW_TOTAL))
    for number in range(40):
        log.send(reserve(f"r{number}", 2), settle(f"r{number}", 1), reserve(f"x{number}", 10**7), reserve(f"o{number}"))
    for _ in range(30):
        log.send(TICK, after=10 * DAY)
    assert set(log.state) == {"head", "limits", "b/all/0"}
    assert log.held("all") == (40, 0)


def test_a_clock_that_steps_back_stands_still_in_the_log() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 60, ttl_s=10))
    assert log.ask(reserve("b", 1), after=-3600 * SECOND).time == START
    assert log.ask(reserve("c", 1), after=3600 * SECOND + 9 * SECOND).time == START + 9 * SECOND
    assert log.held("day") == (0, 62)
    log.send(TICK, after=SECOND)
    assert log.held("day") == (0, 2)


def test_a_clock_that_steps_ahead_expires_holds_and_goes_on_from_there() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 60))
    assert log.outcome(reserve("b", 100), after=30 * DAY) == "accepted"
    assert log.outcome(reserve("c", 1), after=-30 * DAY) == "refused"
