"""Reserve, Settle, Release, Extend and Balance: each outcome that docs/budgets.md states."""

import re
from datetime import datetime

import pytest

from schemas import budget_pb2 as pb
from tests.transforms.budgets.log import (
    DAY,
    OUTCOMES,
    START,
    TICK,
    Log,
    balance,
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


def test_a_hold_is_pending_until_its_actual_cost_is_spent() -> None:
    log = opened(budget("day", 100))
    reply = log.ask(reserve("a", 60))
    assert (OUTCOMES[reply.outcome], reply.expires_at, reply.request_id) == ("accepted", START + 600 * SECOND, "a")
    assert log.held("day") == (0, 60)
    reply = log.ask(settle("a", 45))
    assert (reply.settled_nano, reply.overrun_nano, reply.settled_after_expiry) == (45, 0, False)
    assert log.held("day") == (45, 0)


def test_a_refusal_names_the_budget_its_limit_what_is_spent_and_pending_and_when_it_resets() -> None:
    log = opened(budget("day", 100, time_zone="Europe/Berlin", team="red"))
    log.send(reserve("a", 30), settle("a", 30), reserve("b", 50))
    reply = log.ask(reserve("c", 21))
    assert OUTCOMES[reply.outcome] == "refused" and reply.message == "no room in day"
    [said] = reply.refusals
    assert (said.budget_id, said.name, said.team, said.hard) == ("day", "day", "red", True)
    assert (said.limit, said.spent, said.pending, said.available, said.requested) == (100, 30, 50, 20, 21)
    midnight = START + 11 * 3600 * SECOND + 1800 * SECOND  # in Berlin, 23:00 UTC
    assert (said.window_start, said.resets_at) == (midnight - DAY, midnight)
    assert log.outcome(reserve("d", 20)) == "accepted"


def test_all_budgets_above_a_key_accept_or_none_moves() -> None:
    """Case 47 of the reliability list: organisation free, team free, key full."""
    budgets = budget("org", 100), budget("team", 100, team="red"), budget("key", 10, team="red", key_id="k1")
    log = opened(*budgets)
    reply = log.ask(reserve("a", 11))
    assert [said.name for said in reply.refusals] == ["key"]
    assert [log.held(name) for name in ("org", "team", "key")] == [(0, 0)] * 3
    assert log.outcome(reserve("b", 10)) == "accepted"
    assert [log.held(name) for name in ("org", "team", "key")] == [(0, 10)] * 3


def test_a_spend_counts_against_the_budgets_that_its_owner_provider_and_model_match() -> None:
    log = opened(
        budget("org", 100),
        budget("other team", 100, team="blue"),
        budget("other key", 100, key_id="k2"),
        budget("openai", 100, provider="openai"),
        budget("anthropic", 100, provider="anthropic"),
        budget("gpt-4o", 100, model="gpt-4o"),
        budget("gpt-4*", 100, provider="openai", model="gpt-4*"),
    )
    log.send(reserve("a", 7, owner(provider="openai", model="gpt-4o-mini")), reserve("b", 1))
    held = {found.name: found.pending for found in log.peek().balances}
    expected = {"org": 8, "other team": 0, "other key": 0, "openai": 7, "anthropic": 0, "gpt-4o": 0, "gpt-4*": 7}
    assert held == expected


def test_tokens_and_money_are_counted_apart() -> None:
    log = opened(budget("money", 100), budget("tokens", 1_000, unit=TOKENS))
    assert log.outcome(reserve("a", 10, tokens=1_001)) == "refused"
    log.send(reserve("b", 10, tokens=900), settle("b", 5, tokens=800))
    assert (log.held("money"), log.held("tokens")) == ((5, 0), (800, 0))


def test_an_advisory_budget_without_room_warns_and_accepts() -> None:
    log = opened(budget("advice", 10, hard=False))
    reply = log.ask(reserve("a", 11))
    assert OUTCOMES[reply.outcome] == "accepted"
    assert [(said.name, said.available, said.requested) for said in reply.warnings] == [("advice", 10, 11)]
    log.send(settle("a", 11))
    assert log.held("advice") == (11, 0) and log.peek().balances[0].available == -1


def test_a_settlement_above_its_estimate_is_booked_in_full_and_says_by_how_much() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 60))
    reply = log.ask(settle("a", 130))
    assert (OUTCOMES[reply.outcome], reply.settled_nano, reply.overrun_nano) == ("accepted", 130, 70)
    assert log.held("day") == (130, 0)
    entries = [(row["kind"], row["spent"], row["pending"]) for row in log.rows("budget_entries")]
    assert entries == [("pending", 0, 60), ("post", 60, -60), ("overrun", 70, 0)]
    assert log.outcome(reserve("b", 0)) == "refused"  # it is overspent


def test_released_money_can_be_reserved_again() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 100))
    assert log.outcome(reserve("b", 1)) == "refused"
    assert log.outcome(release("a")) == "accepted"
    assert log.held("day") == (0, 0)
    assert log.outcome(reserve("c", 100)) == "accepted"


def test_a_hold_expires_once_by_the_time_of_the_log() -> None:
    """Case 45: killed between Reserve and Settle."""
    log = opened(budget("day", 100))
    log.send(reserve("a", 60, ttl_s=5))
    log.send(TICK, after=5 * SECOND - 1)
    assert log.held("day") == (0, 60)
    log.send(TICK, after=1)
    log.send(TICK, after=60 * SECOND)
    assert log.held("day") == (0, 0)
    assert [row["kind"] for row in log.rows("budget_entries")] == ["pending", "expire"]


def test_a_hold_that_expires_makes_room_for_the_very_event_that_finds_it() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 100, ttl_s=5))
    assert log.outcome(reserve("b", 100), after=5 * SECOND) == "accepted"


def test_extend_moves_the_time_of_expiry_on_and_never_back() -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 60, ttl_s=10))
    assert log.ask(extend("a", 100), after=9 * SECOND).expires_at == START + 109 * SECOND
    assert log.ask(extend("a", 1)).expires_at == START + 109 * SECOND
    log.send(TICK, after=99 * SECOND)
    assert log.held("day") == (0, 60)
    log.send(TICK, after=SECOND)
    assert log.held("day") == (0, 0)


def test_a_reservation_that_is_settled_after_its_expiry_is_booked_in_full_as_overrun() -> None:
    """The money is gone: what nobody held it for is said, and counts."""
    log = opened(budget("day", 100))
    log.send(reserve("a", 60, ttl_s=1), reserve("b", 30))
    reply = log.ask(settle("a", 50), after=2 * SECOND)
    assert (OUTCOMES[reply.outcome], reply.settled_after_expiry) == ("accepted", True)
    assert (reply.settled_nano, reply.overrun_nano) == (50, 50)
    assert log.held("day") == (50, 30)
    assert [row["kind"] for row in log.rows("budget_entries")] == ["pending", "pending", "expire", "overrun"]
    assert log.outcome(settle("a", 50)) == "accepted" and log.held("day") == (50, 30)


def test_a_window_that_rolls_over_in_mid_flight_keeps_the_cost_where_it_was_reserved() -> None:
    log = opened(budget("day", 100))
    evening = 12 * 3600 * SECOND
    log.send(reserve("a", 100, ttl_s=7200), after=evening)
    assert log.outcome(reserve("b", 100), after=3600 * SECOND) == "accepted"  # the next day
    log.send(settle("a", 120))
    assert log.held("day") == (0, 100)
    yesterday, today = sorted(log.balances().items(), key=lambda item: item[0][1])
    assert (yesterday[1]["spent"], yesterday[1]["pending"]) == (120, 0)
    assert (today[1]["spent"], today[1]["pending"]) == (0, 100)


@pytest.mark.parametrize(
    ("zone", "before", "hours"),
    [
        ("Europe/Berlin", "2026-03-28T22:30", 23),
        ("Europe/Berlin", "2026-10-24T21:30", 25),
        ("America/New_York", "2026-03-08T04:30", 23),
        ("Africa/Cairo", "2024-04-25T21:30", 23),  # its midnight is left out
    ],
)
def test_a_day_on_which_clocks_change_has_one_limit_for_all_its_hours(zone: str, before: str, hours: int) -> None:
    log = Log(time=int(datetime.fromisoformat(before + "Z").timestamp()) * SECOND)
    log.send(limits(1, budget("day", 10, time_zone=zone)))
    granted = []
    for hour in range(hours + 1):
        granted.append(log.outcome(reserve(f"r{hour}", 10), after=3600 * SECOND))
        log.send(settle(f"r{hour}", 10))
    assert granted == ["accepted", *["refused"] * (hours - 1), "accepted"]


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


def test_a_cost_without_a_reservation_is_charged_where_the_caller_says_so() -> None:
    """As after an answer by the policy `open`."""
    log = opened(budget("day", 100))
    free = {"charge_without_reservation": True, "owner": owner()}
    reply = log.ask(settle("a", 130, **free))
    assert (OUTCOMES[reply.outcome], reply.settled_nano, reply.overrun_nano) == ("accepted", 130, 0)
    assert log.ask(settle("a", 130, **free)).first_offset == reply.offset
    assert log.held("day") == (130, 0)
    assert log.outcome(reserve("a", 1)) == "already_charged"
    assert log.outcome(settle("b", **free)) == "amount_unknown"
    assert [row["kind"] for row in log.rows("budget_entries")] == ["charge"]


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


def test_a_balance_names_the_budgets_above_a_key_or_all() -> None:
    budgets = [budget("org", 1), budget("red", 2, team="red"), budget("k2", 3, key_id="k2"), budget("off", 4)]
    budgets[3].effective_from = START + DAY
    log = opened(*budgets, budget("blue", 5, team="blue", provider="openai"))

    def names(**fields) -> list[str]:
        return [found.name for found in log.ask(balance(**fields)).balances]

    assert names() == ["org", "red", "k2", "blue"]
    assert names(all=False, team="red", key_id="k1") == ["org", "red"]
    assert names(all=False, team="blue", key_id="k2") == ["org", "k2", "blue"]


def test_without_a_budget_everything_is_accepted() -> None:
    log = Log()
    assert log.outcome(reserve("a", 10)) == log.outcome(settle("a", 11)) == "accepted"
    assert log.rows("budget_entries") == []
