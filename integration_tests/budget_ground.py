"""Budgets as a test sees them: `spanmill up`, further services over its log, callers, and what happens to processes."""

import json
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc

from cli.control import opened
from cli.local.process import Child
from integration_tests.product import Product
from pipelines.ports import free_port
from schemas import budget_pb2 as pb
from schemas.budget_pb2_grpc import BudgetsStub
from services.control.budget_definition import Budget
from services.control.budgets import set_budget
from services.control.keys import create_key
from services.control.organisations import create_org
from tests.services.budget.linearizability import Answer, Call

NAMES = {
    pb.OUTCOME_ACCEPTED: "accepted",
    pb.OUTCOME_REFUSED: "refused",
    pb.OUTCOME_NOT_FOUND: "not_found",
    pb.OUTCOME_ALREADY_SETTLED: "already_settled",
    pb.OUTCOME_ALREADY_RELEASED: "already_released",
    pb.OUTCOME_ALREADY_EXISTS_WITH_DIFFERENT_CONTENT: "conflict",
}
_PATIENCE_S = 5.0


def set_limit(product: Product, org: str, limit: int) -> None:
    """Gives `org` one hard budget of `limit` nano-dollars for all time."""
    budget = Budget(org, "all", limit, period="total", thresholds=(50,))
    with opened(product.running.control) as engine:
        set_budget(engine, budget, "test", "", time.time_ns())


def new_org(product: Product, org: str) -> str:
    """An organisation with a key; the key."""
    with opened(product.running.control) as engine:
        create_org(engine, org, org, False, time.time_ns())
        return create_key(engine, org, "", "test", time.time_ns())[1]


class Services:
    """The product's budget service and `more` of the same over one log. addresses: host:port of gRPC."""

    def __init__(self, product: Product, more: int, folder: Path) -> None:
        settings = json.loads((product.data / "budget-service.json").read_text())
        self.addresses = [product.running.budget_grpc]
        self.children: list[Child] = []
        for number in range(more):
            ports = {"http_port": free_port(), "grpc_port": free_port()}
            file = folder / f"service-{number}.json"
            file.write_text(json.dumps(settings | ports))
            args = [sys.executable, "-m", "services.budget", "--settings", str(file)]
            child = Child(f"budget-service-{number}", args, folder / f"service-{number}.log")
            child.start()
            self.children.append(child)
            self.addresses.append(f"127.0.0.1:{ports['grpc_port']}")
        for child in self.children:
            child.wait_ready(120)

    def stop(self) -> None:
        for child in self.children:
            child.kill()


class Caller:
    """Calls one service after another, under the same request id until it gets an answer."""

    def __init__(self, addresses: Sequence[str], key: str) -> None:
        self._stubs = [BudgetsStub(grpc.insecure_channel(address)) for address in addresses]
        self._metadata = (("x-api-key", key),) if key else ()

    def call(self, kind: str, request_id: str, amount: int, until: Callable[[], float]) -> tuple[Answer | None, float]:
        """(answer, when), None and inf when there was none until `until()` (monotonic seconds)."""
        number = random.randrange(len(self._stubs))
        while time.monotonic() < until():
            number += 1
            try:
                reply = self._ask(self._stubs[number % len(self._stubs)], kind, request_id, amount)
                return answer_of(kind, reply), time.monotonic()
            except grpc.RpcError as error:
                code = error.code()  # pyright: ignore[reportAttributeAccessIssue]: absent from the stubs
                if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise
                time.sleep(0.02)
        return None, float("inf")

    def balance(self, timeout: float = 60) -> tuple[int, int]:
        """(spent, pending) of the one budget."""
        deadline = time.monotonic() + timeout
        answer, _ = self.call("balance", "", 0, lambda: deadline)
        assert isinstance(answer, tuple), "there was no answer"
        return answer

    def _ask(self, stub: BudgetsStub, kind: str, request_id: str, amount: int) -> pb.Reply:
        options = {"timeout": _PATIENCE_S, "metadata": self._metadata}
        match kind:
            case "reserve":
                return stub.Reserve(pb.ReserveRequest(request_id=request_id, cost_nano=amount), **options)
            case "settle":
                return stub.Settle(pb.SettleRequest(request_id=request_id, cost_nano=amount), **options)
            case "release":
                return stub.Release(pb.ReleaseRequest(request_id=request_id), **options)
        return stub.Balance(pb.BalanceRequest(all=True), **options)


def answer_of(kind: str, reply: pb.Reply) -> Answer:
    if kind == "balance":
        return (reply.balances[0].spent, reply.balances[0].pending) if reply.balances else (0, 0)
    return NAMES[reply.outcome]


def wait_limits(caller: Caller, addresses: Sequence[str], key: str, limit: int) -> None:
    """Returns when the job knows the limit."""
    stub, deadline = BudgetsStub(grpc.insecure_channel(addresses[0])), time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            reply = stub.Balance(pb.BalanceRequest(all=True), timeout=5, metadata=(("x-api-key", key),) if key else ())
            if [one.limit for one in reply.balances] == [limit]:
                return
        except grpc.RpcError:
            time.sleep(0.1)
    raise AssertionError("the limit did not arrive")


class History:
    """`callers` threads that reserve, settle, release and look at one budget at random until it is told to stop."""

    def __init__(self, addresses: Sequence[str], key: str, callers: int, seed: int, pause_s: float) -> None:
        self.calls: list[Call] = []
        self._stop = threading.Event()
        self._until = float("inf")
        self._threads = [
            threading.Thread(target=self._run, args=(Caller(addresses, key), f"{seed}-{n}", pause_s), daemon=True)
            for n in range(callers)
        ]
        for thread in self._threads:
            thread.start()

    def wait_answers(self, more: int, timeout: float = 240) -> None:
        """Returns when `more` calls were answered since now: whatever was broken is healed."""
        wanted, deadline = self._answered() + more, time.monotonic() + timeout
        while self._answered() < wanted:
            assert time.monotonic() < deadline, "no call is answered any more"
            time.sleep(0.1)

    def _answered(self) -> int:
        return sum(call.answer is not None for call in list(self.calls))

    def stop(self, patience_s: float) -> list[Call]:
        """All calls, each with its answer, or without one after `patience_s`."""
        self._until = time.monotonic() + patience_s
        self._stop.set()
        for thread in self._threads:
            thread.join(patience_s + 2 * _PATIENCE_S)
        return list(self.calls)

    def _run(self, caller: Caller, name: str, pause_s: float) -> None:
        draw, held, count = random.Random(name), [], 0
        while not self._stop.wait(pause_s * draw.random()):
            kind = draw.choice(["reserve", "reserve", "settle", "release", "balance"])
            count += 1
            if kind == "reserve":
                held.append(f"{name}-{count}")
                asked = (kind, held[-1], 2)
            elif kind != "balance" and held:
                asked = (kind, draw.choice(held), draw.choice([1, 2]) if kind == "settle" else 0)
            else:
                asked = ("balance", "", 0)
            began = time.monotonic()
            answer, ended = caller.call(*asked, lambda: self._until)
            self.calls.append(Call(*asked, answer, began, ended))
