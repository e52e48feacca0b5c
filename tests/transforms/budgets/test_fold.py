"""The fold itself: what it cannot read, whose state it reads, and what it does not keep."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from schemas import budget_pb2 as pb
from schemas.arrow import BUDGET_BALANCES, BUDGET_ENTRIES, BUDGET_EVENTS, BUDGET_LOG, BUDGET_REPLIES, DEAD_LETTERS
from tests.transforms.budgets.log import ORG, Log, budget, charges, entry, limits, opened, record, reserve, settle
from transforms.budgets.fingerprint import fingerprint
from transforms.budgets.fold import BudgetSettings, make_budget
from transforms.budgets.windows import SECOND
from transforms.folds.segments import UnknownSchemaVersion
from transforms.folds.step import Step

ID = "chatcmpl-0123456789abcdef"


class Watched(dict[str, bytes]):
    """State that remembers which of its segments were read."""

    def __init__(self, state: dict[str, bytes]) -> None:
        super().__init__(state)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names |= {name} & self.keys()
        return super().get(name, default)

    def __getitem__(self, name: str) -> bytes:
        self.names.add(name)
        return super().__getitem__(name)


def busy() -> Log:
    """A log whose state has a segment of every kind."""
    log = opened(budget("day", 100, thresholds=[50]))
    log.send(reserve("a", 10), settle("a", 5, response_id=ID), charges(entry("c", 60, response_id=ID), entry("d", 1)))
    log.send(reserve("b", 10))
    return log


def test_state_of_another_version_is_refused_whichever_segment_it_is() -> None:
    log = busy()
    kinds = {name.split("/")[0] for name in log.state}
    assert kinds == {"head", "limits", "r", "a", "u", "c", "p", "b", "log", "due"}
    events = [reserve("a", 10), settle("a", 5, response_id=ID), charges(entry("c", 9, version=2, response_id=ID))]
    events += [charges(entry("d", 9, version=2)), charges(entry("e", 1, response_id=ID))]
    rows = pa.Table.from_pylist([record(9, log.time + 1200 * SECOND, *events)], BUDGET_LOG)
    read = Watched(log.state)
    make_budget(BudgetSettings())(read, rows, 0)
    assert {name.split("/")[0] for name in read.names} == kinds
    for name in read.names:
        state = log.state | {name: b"\x09" + log.state[name][1:]}
        with pytest.raises(UnknownSchemaVersion, match="version 9, this code reads 1"):
            make_budget(BudgetSettings())(state, rows, 0)


def test_what_the_fold_says_has_the_declared_schemas() -> None:
    log = busy()
    log.read([{**record(9, log.time), "body": b"\xff"}])
    schemas = {name: table.schema for name, table in log.out}
    assert schemas == {
        "budget_replies": BUDGET_REPLIES,
        "budget_events": BUDGET_EVENTS,
        "budget_entries": BUDGET_ENTRIES,
        "budget_balances": BUDGET_BALANCES,
        "dead_letters": DEAD_LETTERS,
    }


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([pb.Event(org="globex", tick=pb.Tick())], "WrongOrganisation"),
        ([pb.Event(org=ORG)], "UnknownEvent"),
        ([pb.Event(org=ORG, charges=pb.Charges(rows=b"no table"))], "InvalidCharge"),
        ([pb.Event(org=ORG, charges=pb.Charges())], "InvalidCharge"),
    ],
)
def test_an_event_that_cannot_be_read_is_a_dead_letter_and_its_neighbours_count(events: list, error: str) -> None:
    log = opened(budget("day", 100))
    log.send(reserve("a", 1), *events, reserve("b", 2))
    assert log.held("day") == (0, 3)
    [letter] = log.rows("dead_letters")
    assert (letter["error"], letter["position"], letter["offset"], letter["topic"]) == (error, 1, 1, "budget.log")
    assert pb.EventBatch.FromString(letter["raw"]).events == events


def test_a_record_that_cannot_be_read_is_a_dead_letter_with_its_bytes() -> None:
    log = opened(budget("day", 100))
    log.read([{**record(1, log.time), "body": b"\xff\xff"}, record(2, log.time, reserve("a", 5))])
    [letter] = log.rows("dead_letters")
    assert (letter["error"], letter["position"], letter["raw"]) == ("InvalidEventBatch", -1, b"\xff\xff")
    assert log.held("day") == (0, 5)


def test_a_wake_up_and_no_rows_change_nothing() -> None:
    log = busy()
    assert log.fold(log.state, None, 2**62) == log.fold(log.state, BUDGET_LOG.empty_table(), 0) == Step()


def test_the_wall_clock_changes_nothing() -> None:
    log, rows = busy(), pa.Table.from_pylist([record(9, Log().time, reserve("z", 1))], BUDGET_LOG)
    early, late = (log.fold(log.state, rows, now) for now in (0, 2**62))
    assert (early.writes, early.out) == (late.writes, late.out) and late.wake_at is None


def test_rows_of_two_organisations_in_one_call_are_a_fault_of_the_graph() -> None:
    rows = pa.Table.from_pylist([record(0, 1), {**record(1, 1), "org": "globex"}], BUDGET_LOG)
    with pytest.raises(ValueError, match="the key is the organisation"):
        Log().fold({}, rows, 0)


def test_limits_are_read_again_when_the_fold_moves_to_another_task() -> None:
    log = opened(budget("day", 100))
    for limit in (50, 60):
        log.fold = make_budget(BudgetSettings())
        log.send(limits(limit, budget("day", limit)))
    assert log.peek().balances[0].limit == 60


@dataclass(frozen=True)
class _Pair:
    one: pb.ReserveRequest | pb.SettleRequest
    other: pb.ReserveRequest | pb.SettleRequest


@pytest.mark.parametrize(
    ("pair", "same"),
    [
        (_Pair(pb.ReserveRequest(request_id="a"), pb.ReserveRequest(request_id="a", policy=pb.POLICY_OPEN)), True),
        (_Pair(pb.ReserveRequest(cost_nano=0), pb.ReserveRequest()), False),
        (_Pair(pb.ReserveRequest(model="a"), pb.ReserveRequest(provider="a")), False),
        (_Pair(pb.SettleRequest(response_id="a"), pb.SettleRequest(response_id="b")), False),
    ],
)
def test_a_fingerprint_tells_contents_apart_and_leaves_the_policy_out(pair: _Pair, same: bool) -> None:
    assert (fingerprint(pair.one) == fingerprint(pair.other)) is same
    assert len(fingerprint(pair.one)) == 16
