"""Any history of requests, charges, limits and clocks: the fold says what adding everything up says.

Cases 42, 44, 45, 47 and 48 of the reliability list, as far as they are a matter of the fold.
"""

from collections import defaultdict
from random import Random
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import budget_pb2 as pb
from schemas.arrow import BUDGET_LOG
from tests.transforms.budgets.histories import histories, requests, scopes, steps
from tests.transforms.budgets.log import (
    DAY,
    OUTCOMES,
    TICK,
    Log,
    budget,
    limits,
    record,
    reserve,
    settle,
)
from tests.transforms.budgets.oracle import Oracle, period
from transforms.budgets.fold import BudgetSettings, make_budget
from transforms.budgets.windows import SECOND
from transforms.folds.step import Step

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def facts(event: pb.Event, reply: pb.Reply) -> tuple:
    """What the oracle says of a reply."""
    outcome = OUTCOMES[reply.outcome]
    said = sorted(
        (one.budget_id, one.limit, one.spent, one.pending, one.requested)
        for one in (reply.refusals if outcome == "refused" else reply.warnings)
    )
    if outcome == "refused":
        return outcome, said
    kind = event.WhichOneof("what")
    if outcome != "accepted" or kind == "release":
        return (outcome,)
    if kind == "extend":
        return outcome, reply.expires_at
    if kind == "settle":
        cost = (reply.settled_nano, reply.overrun_nano)
        return (outcome, *cost, reply.settled_tokens, reply.overrun_tokens, reply.settled_after_expiry)
    return outcome, said, reply.expires_at


def play(history: list[tuple[int, list[pb.Event]]]) -> tuple[Log, Oracle]:
    """The log after `history`, each reply held against the oracle's."""
    log, oracle = Log(), Oracle()
    for after, said in history:
        replies = log.send(*said, after=after)
        due = [(event, found) for event in said if (found := oracle.see(log.time, event)) is not None]
        assert len(due) == len(replies)
        for (event, expected), reply in zip(due, replies, strict=True):
            assert facts(event, reply) == expected, event
        check_open_windows(log, oracle)
    check(log, oracle)
    return log, oracle


def check(log: Log, oracle: Oracle) -> None:
    """Every balance that was ever shown is the sum of the spends, and the sum of its entries."""
    sums: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for row in log.rows("budget_entries"):
        total = sums[row["budget_id"], row["window_start"].value]
        total[0] += row["spent"]
        total[1] += row["pending"]
    for (name, start), row in log.balances().items():
        expected = oracle.sums(name, period(oracle.seen[name], start or log.time))
        assert (row["spent"], row["pending"]) == expected == tuple(sums[name, start]), (name, start)


def check_open_windows(log: Log, oracle: Oracle) -> None:
    for said in log.peek().balances:
        expected = oracle.sums(said.budget_id, period(oracle.seen[said.budget_id], oracle.time))
        assert (said.spent, said.pending) == expected, said.name


@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
@given(histories())
def test_every_reply_and_every_balance_is_what_adding_all_spends_up_gives(history: Any) -> None:
    play(history)


@settings(max_examples=50, deadline=None, suppress_health_check=SLOW)
@given(histories(), st.randoms(use_true_random=False))
def test_a_replay_in_any_split_into_calls_says_the_same(history: Any, draw: Random) -> None:
    log, _ = play(history)
    for single in (True, False):
        again, first = Log(), 0
        while first < len(log.records):
            size = len(log.records) if single else draw.randint(1, 5)
            again.read(log.records[first : first + size])
            first += size
        for name in ("budget_replies", "budget_events", "budget_entries", "dead_letters"):
            assert again.rows(name) == log.rows(name), name
        assert again.balances() == log.balances()
        again.records, again.time = log.records, log.time
        assert again.peek() == log.peek()


@settings(max_examples=50, deadline=None, suppress_health_check=SLOW)
@given(histories(), st.data())
def test_a_crash_goes_on_from_its_checkpoint_with_the_same_words(history: Any, data: st.DataObject) -> None:
    """Case 46: what was told between the checkpoint and the crash is told again, and it is the same."""
    log, _ = play(history)
    crash = data.draw(st.integers(1, len(log.records)))
    saved = data.draw(st.integers(0, crash))
    run = Log()
    for row in log.records[:saved]:
        run.read([row])
    state, told = dict(run.state), len(run.out)
    for row in log.records[saved:crash]:
        run.read([row])
    lost = run.rows("budget_replies")
    run.state, run.out, run.fold = state, run.out[:told], make_budget(BudgetSettings())
    for row in log.records[saved:]:
        run.read([row])
    assert run.rows("budget_replies")[: len(lost)] == lost
    assert run.rows("budget_entries") == log.rows("budget_entries")
    assert run.state == log.state


@settings(max_examples=50, deadline=None, suppress_health_check=SLOW)
@given(histories(), st.data())
def test_a_request_or_charge_that_comes_twice_changes_nothing(history: Any, data: st.DataObject) -> None:
    once, _ = play(history)
    twice = []
    for after, said in history:
        doubled = [event for event in said for _ in range(2 if event.WhichOneof("what") != "extend" else 1)]
        twice.append((after, doubled))
        earlier = [
            event for _, events in twice for event in events if event.WhichOneof("what") in ("charges", "limits")
        ]
        if earlier and data.draw(st.booleans()):
            twice.append((0, [data.draw(st.sampled_from(earlier))]))
    assert play(twice)[0].held_all() == once.held_all()


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(st.lists(st.tuples(steps, requests()), min_size=1, max_size=40), st.integers(1, 150))
def test_without_an_overrun_no_hard_limit_is_passed_at_any_offset(history: Any, limit: int) -> None:
    """Settlements are held to their estimates, and there are no charges."""
    log = Log()
    log.send(limits(1, *(scopes()[:4]), budget("all", limit)))
    estimates: dict[str, int] = {}
    for after, event in history:
        one = pb.Event()
        one.CopyFrom(event)
        if one.WhichOneof("what") == "settle":
            name = one.settle.request_id
            one.settle.cost_nano = min(one.settle.cost_nano, estimates.get(name, 0))
            one.settle.charge_without_reservation = False
        [reply] = log.send(one, after=after) or [pb.Reply()]
        if one.WhichOneof("what") == "reserve" and OUTCOMES[reply.outcome] == "accepted":
            estimates.setdefault(one.reserve.request_id, one.reserve.cost_nano)
        if reply.settled_after_expiry:
            return  # an overrun: nothing held it
        for said in log.peek().balances:
            assert said.spent + said.pending <= said.limit, said.name


@settings(max_examples=50, deadline=None, suppress_health_check=SLOW)
@given(st.lists(st.tuples(st.integers(0, 6 * DAY), st.lists(requests(), max_size=4)), min_size=1, max_size=25))
def test_balances_stay_right_while_requests_are_forgotten(history: Any) -> None:
    """Each request has an id of its own, and is settled or not within its record or the next."""
    log, oracle = Log(), Oracle()
    log.send(setting := limits(1, *scopes()))
    oracle.see(log.time, setting)
    for number, (after, said) in enumerate(history):
        for event in said:
            one = getattr(event, event.WhichOneof("what"))
            if event.WhichOneof("what") != "tick":
                one.request_id = f"{number // 2}-{one.request_id}"
        log.send(*said, after=after)
        for event in [TICK, *said]:
            oracle.see(log.time, event)
        check(log, oracle)


def test_64_callers_around_a_limit_get_as_much_as_there_is() -> None:
    """Case 42: room for 10."""
    log = Log()
    log.send(limits(1, budget("day", 10)))
    replies = [reply for n in range(8) for reply in log.send(*(reserve(f"c{n}-{m}", 1) for m in range(8)))]
    assert [OUTCOMES[reply.outcome] for reply in replies] == ["accepted"] * 10 + ["refused"] * 54
    assert log.held("day") == (0, 10)


def test_an_event_touches_a_few_segments_whatever_is_open() -> None:
    log = Log()
    log.send(limits(1, *scopes()[:1]))
    wide = budget("day", 10**9)
    log.send(limits(2, wide))
    for number in range(50):
        log.send(*(reserve(f"h{number}-{m}", 1, ttl_s=7200) for m in range(100)))
    touched: list[str] = []

    class Watched(dict):
        def get(self, name: Any, default: Any = None) -> Any:
            touched.append(name)
            return super().get(name, default)

        def __getitem__(self, name: Any) -> Any:
            touched.append(name)
            return super().__getitem__(name)

        def __iter__(self) -> Any:
            raise AssertionError("the fold reads all segments")

    row = record(len(log.records), log.time + SECOND, reserve("one", 1), settle("one", 1))
    step: Step = log.fold(Watched(log.state), pa.Table.from_pylist([row], BUDGET_LOG), 0)
    assert len(touched) < 12 and len(step.writes) < 12
    assert max(len(value or b"") for value in step.writes.values()) < 500
