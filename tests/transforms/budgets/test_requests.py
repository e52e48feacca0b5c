"""Reserve, Settle, Release, Extend and Balance: each outcome that docs/budgets.md states."""

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
