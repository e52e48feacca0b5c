"""Random histories of concurrent callers with crashes: the real fold behind a simulated log, under printed seeds."""

import os

import pytest

from schemas import budget_pb2 as pb
from tests.services.budget.linearizability import explain
from tests.services.budget.simulation import Simulation
from transforms.budgets.fold import BudgetSettings, make_budget
from transforms.folds.step import Step

_LIMIT, _CALLS, _PARTS = 10, 30, 8
# More of them: SPANMILL_HISTORIES=100000 pytest tests/services/budget/test_histories.py
_HISTORIES = int(os.environ.get("SPANMILL_HISTORIES", "2000"))


def played(seed: int, make=None) -> Simulation:
    simulation = Simulation(seed, _LIMIT, *([make] if make else []))
    simulation.run(_CALLS)
    return simulation


@pytest.mark.parametrize("part", range(_PARTS))
def test_every_history_is_linearisable_and_no_request_is_answered_in_two_ways(part):
    for seed in range(part, _HISTORIES, _PARTS):
        simulation = played(seed)
        left = explain(simulation.calls, _LIMIT)
        assert left is None, f"seed {seed}: no order explains {left}"
        assert all(len(said) == 1 for said in simulation.replies.values()), f"seed {seed}: a replay answered otherwise"


def _forgetful():
    """A fold that forgets what is pending now and then, as a counter in a cache does that is restarted."""
    fold, count = make_budget(BudgetSettings()), 0

    def faulty(state, rows, now):
        nonlocal count
        count += 1
        if count % 7 == 0:
            state = {name: value for name, value in state.items() if not name.startswith("b/")}
        return fold(state, rows, now)

    return faulty


def _generous():
    """A fold that grants what it should refuse."""
    fold = make_budget(BudgetSettings())

    def faulty(state, rows, now):
        step = fold(state, rows, now)
        out = tuple((name, _granted(told) if name == "budget_replies" else told) for name, told in step.out)
        return Step(step.writes, out, step.bad)

    return faulty


def _granted(replies):
    bodies = []
    for body in replies["body"].to_pylist():
        reply = pb.Reply.FromString(body)
        if reply.outcome == pb.OUTCOME_REFUSED:
            reply.outcome = pb.OUTCOME_ACCEPTED
        bodies.append(reply.SerializeToString())
    return replies.set_column(2, "body", [bodies])


@pytest.mark.parametrize("faulty", [_forgetful, _generous])
def test_a_planted_fault_is_found(faulty):
    found = sum(explain(played(seed, faulty).calls, _LIMIT) is not None for seed in range(40))
    assert found > 5
