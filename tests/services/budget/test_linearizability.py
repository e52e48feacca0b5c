"""The checker itself: what it must let pass, and the violations that it must find."""

import random

import pytest

from tests.services.budget.linearizability import (
    ACCEPTED,
    CONFLICT,
    EMPTY,
    NOT_FOUND,
    REFUSED,
    RELEASED,
    SETTLED,
    Call,
    apply,
    explain,
)  # fmt: skip


def reserve(name: str, answer, began: float, ended: float = 10**9, amount: int = 10) -> Call:
    return Call("reserve", name, amount, answer, began, ended)


def settle(name: str, answer, began: float, ended: float = 10**9, amount: int = 10) -> Call:
    return Call("settle", name, amount, answer, began, ended)


def balance(answer: tuple[int, int], began: float, ended: float) -> Call:
    return Call("balance", "", 0, answer, began, ended)


def test_callers_who_overlap_may_be_served_in_any_order():
    calls = [reserve("a", REFUSED, 0, 9), reserve("b", ACCEPTED, 1, 8)]
    assert explain(calls, limit=10) is None


def test_one_grant_too_many_is_found():
    calls = [reserve(f"r{n}", ACCEPTED, 0, 9) for n in range(11)]
    assert explain(calls[:10], limit=100) is None
    assert explain(calls, limit=100)


def test_a_refusal_although_there_was_room_is_found():
    assert explain([reserve("a", REFUSED, 0, 1)], limit=10)


def test_an_acknowledged_settlement_that_got_lost_is_found():
    calls = [reserve("a", ACCEPTED, 0, 1), settle("a", ACCEPTED, 2, 3, amount=7)]
    assert explain([*calls, balance((7, 0), 4, 5)], limit=10) is None
    assert explain([*calls, balance((0, 10), 4, 5)], limit=10)


def test_an_answer_from_the_past_is_found():
    calls = [reserve("a", ACCEPTED, 0, 1), balance((0, 0), 2, 3)]
    assert explain(calls, limit=10)
    assert explain([calls[0], balance((0, 0), 0.5, 3)], limit=10) is None


def test_a_request_that_is_answered_in_two_ways_is_found():
    assert explain([reserve("a", ACCEPTED, 0, 1), reserve("a", ACCEPTED, 2, 3)], limit=10) is None
    assert explain([reserve("a", ACCEPTED, 0, 1), reserve("a", REFUSED, 2, 3)], limit=10)


def test_money_that_is_charged_twice_is_found():
    calls = [reserve("a", ACCEPTED, 0, 1), settle("a", ACCEPTED, 2, 3), settle("a", ACCEPTED, 4, 5)]
    assert explain([*calls, balance((10, 0), 6, 7)], limit=100) is None
    assert explain([*calls, balance((20, 0), 6, 7)], limit=100)


def test_a_call_without_an_answer_may_have_happened_or_not():
    unknown = Call("reserve", "a", 10, None, 0)
    assert explain([unknown, reserve("b", ACCEPTED, 1, 2)], limit=10) is None
    assert explain([unknown, reserve("b", REFUSED, 1, 2)], limit=10) is None
    assert explain([unknown, reserve("b", REFUSED, 1, 2), reserve("c", ACCEPTED, 3, 4)], limit=10)


@pytest.mark.parametrize(
    ("before", "call", "answer"),
    [
        ([("reserve", 5)], ("reserve", 6), CONFLICT),
        ([], ("settle", 5), NOT_FOUND),
        ([("reserve", 99)], ("settle", 5), NOT_FOUND),
        ([("reserve", 5), ("release", 0)], ("settle", 5), RELEASED),
        ([("reserve", 5), ("settle", 5)], ("release", 0), SETTLED),
        ([("reserve", 5), ("settle", 5)], ("settle", 4), CONFLICT),
        ([("reserve", 5), ("release", 0)], ("release", 0), ACCEPTED),
    ],
)
def test_the_model_answers_as_the_ledger_does(before, call, answer):
    state = EMPTY
    for kind, amount in before:
        _, state = apply(state, Call(kind, "a", amount, None, 0), 10)
    assert apply(state, Call(call[0], "a", call[1], None, 0), 10)[0] == answer


def test_what_really_happened_one_after_another_is_always_explained():
    for seed in range(200):
        draw = random.Random(seed)
        state, calls, now = EMPTY, [], 0.0
        for _ in range(30):
            kind = draw.choice(["reserve", "settle", "release", "balance"])
            call = Call(kind, draw.choice("abcdef"), draw.choice([3, 3, 5]), None, 0)
            answer, state = apply(state, call, 12)
            now += 1
            calls.append(Call(call.kind, call.request_id, call.amount, answer, now - draw.random() * 3, now))
        assert explain(calls, 12) is None, seed
