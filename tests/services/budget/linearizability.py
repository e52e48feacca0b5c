"""Whether what concurrent callers saw of one budget could have happened one call after another.

The search of Wing and Gong with Lowe's memory of what was tried (as in Porcupine), for a model of one hard budget: at
each point one of the calls that may come next is put, if its answer is the model's; each set of calls put and state
reached is looked at once. A call without an answer may have happened at any time after it was made, or never.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

ACCEPTED, REFUSED, NOT_FOUND, CONFLICT = "accepted", "refused", "not_found", "conflict"
SETTLED, RELEASED = "already_settled", "already_released"
Answer = str | tuple[int, int]  # of a balance: (spent, pending)


@dataclass(frozen=True)
class Call:
    """kind: reserve | settle | release | balance. answer: None for none. began, ended: any clock; inf for never."""

    kind: str
    request_id: str
    amount: int
    answer: Answer | None
    began: float
    ended: float = inf


# request id -> (reserved, what became of it, amount settled); with what is spent and pending, as a tuple.
State = tuple[int, int, tuple[tuple[str, tuple[Any, ...]], ...]]
EMPTY: State = (0, 0, ())


def apply(state: State, call: Call, limit: int) -> tuple[Answer, State]:
    """The model: what a budget of `limit` answers, and what it is then."""
    spent, pending, requests = state
    known = dict(requests)
    one = known.get(call.request_id)
    match call.kind:
        case "balance":
            return (spent, pending), state
        case "reserve":
            if one is not None:
                first = REFUSED if one[1] == REFUSED else ACCEPTED
                return first if one[0] == call.amount else CONFLICT, state
            if spent + pending + call.amount > limit:
                known[call.request_id] = (call.amount, REFUSED)
                return REFUSED, (spent, pending, _tuple(known))
            known[call.request_id] = (call.amount, "held")
            return ACCEPTED, (spent, pending + call.amount, _tuple(known))
        case _ if one is None or one[1] == REFUSED:
            return NOT_FOUND, state
        case "settle":
            if one[1] == "released":
                return RELEASED, state
            if one[1] == "settled":
                return ACCEPTED if one[2] == call.amount else CONFLICT, state
            known[call.request_id] = (one[0], "settled", call.amount)
            return ACCEPTED, (spent + call.amount, pending - one[0], _tuple(known))
        case "release":
            if one[1] == "settled":
                return SETTLED, state
            if one[1] == "released":
                return ACCEPTED, state
            known[call.request_id] = (one[0], "released")
            return ACCEPTED, (spent, pending - one[0], _tuple(known))
    raise ValueError(call.kind)


def _tuple(known: dict[str, tuple[Any, ...]]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return tuple(sorted(known.items()))


def explain(calls: Sequence[Call], limit: int) -> list[Call] | None:
    """None when the calls are linearisable, else those that no order explains: what is left behind the longest one."""
    calls = sorted(calls, key=lambda call: call.began)
    answered = sum(1 << number for number, call in enumerate(calls) if call.answer is not None)
    best = 0
    seen: set[tuple[int, State]] = set()
    stack: list[tuple[int, State]] = [(0, EMPTY)]
    while stack:
        put, state = stack.pop()
        if (put & answered).bit_count() > (best & answered).bit_count():
            best = put
        if put & answered == answered:
            return None
        for number, call in _next(calls, put):
            answer, after = apply(state, call, limit)
            if call.answer is None or call.answer == answer:
                found = (put | 1 << number, after)
                if found not in seen:
                    seen.add(found)
                    stack.append(found)
    return [call for number, call in enumerate(calls) if not best >> number & 1]


def _next(calls: Sequence[Call], put: int) -> list[tuple[int, Call]]:
    """The calls that may come next: none of the others had ended when they began."""
    left = [(number, call) for number, call in enumerate(calls) if not put >> number & 1]
    first_end = min((call.ended for _, call in left), default=inf)
    # Latest first on the stack: the search tries the order of ending first, which is mostly the right one.
    return sorted((one for one in left if one[1].began <= first_end), key=lambda one: -one[1].ended)
