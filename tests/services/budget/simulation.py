"""Clients, services, log and job in one process under a seed: the real fold, every delay and every crash drawn.

Services gather events and append them in records; the job folds records, takes checkpoints, dies and goes on from the
last one, so that replies come again; services die with what they have gathered and with who waits; replies get lost.
A client that got no answer in time asks again, through any service, under the same request id.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas import budget_pb2 as pb
from schemas.arrow import BUDGET_LOG
from tests.services.budget.linearizability import Answer, Call
from transforms.budgets.fingerprint import fingerprint
from transforms.budgets.fold import BudgetSettings, make_budget
from transforms.folds.step import Fold, apply

ORG = "acme"
NAMES = {
    pb.OUTCOME_ACCEPTED: "accepted",
    pb.OUTCOME_REFUSED: "refused",
    pb.OUTCOME_NOT_FOUND: "not_found",
    pb.OUTCOME_ALREADY_SETTLED: "already_settled",
    pb.OUTCOME_ALREADY_RELEASED: "already_released",
    pb.OUTCOME_ALREADY_EXISTS_WITH_DIFFERENT_CONTENT: "conflict",
}


def limits(limit: int) -> pb.Event:
    budget = pb.Budget(
        budget_id="all", name="all", window=pb.WINDOW_TOTAL, time_zone="UTC", unit=pb.UNIT_NANO_DOLLARS,
        limit=limit, hard=True,
    )  # fmt: skip
    return pb.Event(org=ORG, limits=pb.Limits(revision=1, budgets=[budget]))


def event_of(kind: str, request_id: str, amount: int) -> pb.Event:
    """What a service writes for a call."""
    match kind:
        case "reserve":
            asked = pb.ReserveRequest(request_id=request_id, cost_nano=amount)
            what = pb.Reserve(request_id=request_id, cost_nano=amount, fingerprint=fingerprint(asked))
            return pb.Event(org=ORG, reserve=what)
        case "settle":
            asked = pb.SettleRequest(request_id=request_id, cost_nano=amount)
            what = pb.Settle(request_id=request_id, cost_nano=amount, fingerprint=fingerprint(asked))
            return pb.Event(org=ORG, settle=what)
        case "release":
            return pb.Event(org=ORG, release=pb.Release(request_id=request_id))
    return pb.Event(org=ORG, balance=pb.Balance(all=True))


def answer_of(kind: str, reply: pb.Reply) -> Answer:
    if kind == "balance":
        return (reply.balances[0].spent, reply.balances[0].pending) if reply.balances else (0, 0)
    return NAMES[reply.outcome]


@dataclass
class _Client:
    name: str
    doing: tuple[str, str, int] | None = None
    began: float = 0
    asked: float = 0
    service: int = 0
    event_id: str = ""
    reserved: list[str] = field(default_factory=list)


class Simulation:
    """After `run`: calls, as the clients saw them, and replies, all that the job ever said, by event."""

    def __init__(self, seed: int, limit: int, make: Callable[[], Fold] = lambda: make_budget(BudgetSettings())) -> None:
        self._draw = random.Random(seed)
        self._make = make
        self.calls: list[Call] = []
        self.replies: dict[str, set[bytes]] = {}
        self._log: list[tuple[int, bytes]] = [(0, pb.EventBatch(events=[limits(limit)]).SerializeToString())]
        self._fold, self._state, self._offset = make(), {}, 0
        self._checkpoint: tuple[int, dict[str, bytes]] = (0, {})
        self._gathered: list[list[pb.Event]] = [[], [], []]
        self._flying: list[tuple[str, pb.Reply]] = []
        self._now = self._asked = 0
        self._clients = [_Client(f"c{number}") for number in range(self._draw.choice([3, 5, 8]))]

    def run(self, calls: int) -> None:
        """Until `calls` were made and answered, or given up."""
        steps = [self._act, self._act, self._append, self._append, self._step, self._step, self._deliver, self._deliver]
        faults = [self._checkpointed, self._crash_job, self._crash_service, self._lose_reply]
        while len(self.calls) < calls:
            self._now += 1
            self._draw.choice(faults if self._draw.random() < 0.1 else steps)()
        for client in self._clients:
            if client.doing:
                self.calls.append(Call(*client.doing, None, client.began))

    def _act(self) -> None:
        client = self._draw.choice(self._clients)
        if client.doing is None:
            client.doing = self._wish(client)
            client.began = self._now
        elif self._now - client.asked < 40:
            return
        client.asked, client.service = self._now, self._draw.randrange(len(self._gathered))
        self._asked += 1
        client.event_id = f"e{self._asked}"
        event = event_of(*client.doing)
        event.event_id = client.event_id
        self._gathered[client.service].append(event)

    def _wish(self, client: _Client) -> tuple[str, str, int]:
        kind = self._draw.choice(["reserve", "reserve", "settle", "release", "balance"])
        if kind == "balance":
            return "balance", "", 0
        if kind == "reserve":
            # Now and then the same id again, of this client or of another one, sometimes with another amount.
            old = self._draw.random() < 0.2 and client.reserved
            name = self._draw.choice(client.reserved) if old else f"{client.name}-{self._now}"
            client.reserved.append(name)
            return "reserve", name, self._draw.choice([1, 2, 3]) if old else 2
        name = self._draw.choice(client.reserved) if client.reserved else "nothing"
        return kind, name, self._draw.choice([1, 2]) if kind == "settle" else 0

    def _append(self) -> None:
        gathered = self._draw.choice(self._gathered)
        if gathered:
            self._log.append((self._now * 10**6, pb.EventBatch(events=gathered).SerializeToString()))
            gathered.clear()

    def _step(self) -> None:
        if self._offset == len(self._log):
            return
        time, body = self._log[self._offset]
        rows = pa.table([[ORG], [0], [self._offset], [time], [body]], schema=BUDGET_LOG)
        step = self._fold(self._state, rows, 0)
        self._state, self._offset = apply(self._state, step.writes), self._offset + 1
        for table, told in step.out:
            if table == "budget_replies":
                for one in told["body"].to_pylist():
                    reply = pb.Reply.FromString(one)
                    self.replies.setdefault(reply.event_id, set()).add(one)
                    self._flying.append((reply.event_id, reply))

    def _deliver(self) -> None:
        if not self._flying:
            return
        event_id, reply = self._flying.pop(self._draw.randrange(len(self._flying)))
        for client in self._clients:
            if client.doing and client.event_id == event_id:
                self.calls.append(Call(*client.doing, answer_of(client.doing[0], reply), client.began, self._now))
                client.doing = None

    def _checkpointed(self) -> None:
        self._checkpoint = (self._offset, dict(self._state))

    def _crash_job(self) -> None:
        self._offset, self._state = self._checkpoint[0], dict(self._checkpoint[1])
        self._fold = self._make()

    def _crash_service(self) -> None:
        number = self._draw.randrange(len(self._gathered))
        self._gathered[number].clear()
        for client in self._clients:
            if client.service == number:
                client.event_id = ""

    def _lose_reply(self) -> None:
        if self._flying:
            self._flying.pop(self._draw.randrange(len(self._flying)))

    @property
    def state(self) -> dict[str, Any]:
        return self._state
