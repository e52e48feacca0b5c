"""Budgets from call to decision on this machine: python -m benchmarks.budgets

Broker (each append synced), job, store and service are real processes; callers are another one. It prints how long a
reservation takes at 100 calls a second, how many decisions a second 64 callers get, and what 64 callers spend beyond a
hard limit that they run into together.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.aio
import psutil
import uvloop

from cli.control import opened
from cli.local import parts
from cli.local.broker import Broker
from cli.local.profile import Profile, sqlite_url
from pipelines.jars import java
from pipelines.ports import free_port
from schemas import budget_pb2 as pb
from schemas.budget_pb2_grpc import BudgetsStub
from services.control.budget_definition import Budget
from services.control.budgets import set_budget

_ORG = "local"
_CALLERS = 64
_PRICE = 1_000_000  # nano-dollars of a call
_PATIENCE_S = 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budgets", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="of each part")
    parser.add_argument("--callers-of", metavar="HOST:PORT", help="be the callers of a service that runs")
    arguments = parser.parse_args()
    if arguments.callers_of:
        uvloop.run(_call(arguments.callers_of, arguments.seconds))
        return 0
    with (
        tempfile.TemporaryDirectory(prefix="spanmill-budgets-") as folder,
        _running(Path(folder)) as (service, control),
    ):
        _limit(control, 10**18)
        callers = [sys.executable, "-m", "benchmarks.budgets", "--callers-of", service]
        subprocess.run([*callers, "--seconds", str(arguments.seconds)], check=True)
        uvloop.run(_overspend(service, control))
    return 0


@contextmanager
def _running(folder: Path) -> Iterator[tuple[str, str]]:
    """(address of the service, URL of the control database), until the block ends."""
    profile, control, ports = Profile(folder), sqlite_url(folder), [free_port() for _ in range(3)]
    broker = Broker(folder / "broker", java(), parts.jars("broker", _say), folder / "broker.log")
    store = parts.store(profile, ports[0])
    started = [broker, store]
    try:
        broker.start()
        store.start()
        broker.wait_ready(120)
        store.wait_ready(120)
        parts.topics(broker.address, _say)
        store_url = f"http://127.0.0.1:{ports[0]}"
        parts.migrate(control, store_url)
        job = parts.budget(profile, broker.address, store_url)
        service = parts.budget_service(profile, broker.address, control, store_url, ports[1], ports[2])
        for child in (job, service):
            started.insert(0, child)
            child.start()
        job.wait_ready(240)
        service.wait_ready(120)
        yield f"127.0.0.1:{ports[2]}", control
        for child in started:
            process = psutil.Process(child.pid)
            tree = [process, *process.children(recursive=True)]
            cpu = sum(sum(one.cpu_times()[:2]) for one in tree)
            memory = sum(one.memory_info().rss for one in tree) // 2**20
            print(f"{child.name:15} {cpu:7.1f} s of CPU, {memory:5} MB")
    finally:
        for child in started:
            child.stop()


def _limit(control: str, limit: int) -> None:
    """Sets the one hard budget of the organisation; the service brings it into the log."""
    with opened(control) as engine:
        set_budget(engine, Budget(_ORG, "all", limit, period="total"), "benchmark", "", time.time_ns())


async def _call(service: str, seconds: float) -> None:
    async with grpc.aio.insecure_channel(service) as channel:
        stub = BudgetsStub(channel)
        await _paced("warm up", stub, 100, 5, quiet=True)
        await _paced("reserve, 100 a second", stub, 100, seconds)
        await _closed_loop(stub, seconds)


async def _paced(what: str, stub: BudgetsStub, rate: float, seconds: float, quiet: bool = False) -> None:
    took: list[float] = []
    calls: list[asyncio.Task[None]] = []
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        calls.append(asyncio.create_task(_reserve(stub, f"{what}-{number}", took)))
    await asyncio.gather(*calls)
    if not quiet:
        _print(what, took, seconds)


async def _closed_loop(stub: BudgetsStub, seconds: float) -> None:
    took: list[float] = []
    until = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        count = 0
        while time.perf_counter() < until:
            await _reserve(stub, f"loop-{number}-{count}", took)
            began = time.perf_counter()
            await stub.Settle(pb.SettleRequest(request_id=f"loop-{number}-{count}", cost_nano=_PRICE // 2))
            took.append(time.perf_counter() - began)
            count += 1

    await asyncio.gather(*(caller(number) for number in range(_CALLERS)))
    _print(f"reserve and settle, {_CALLERS} callers", took, seconds)


async def _reserve(stub: BudgetsStub, name: str, took: list[float]) -> None:
    """Again under the same id until there is a decision: what it took counts from the first time."""
    began = time.perf_counter()
    while True:
        try:
            reply = await stub.Reserve(pb.ReserveRequest(request_id=name, cost_nano=_PRICE), timeout=_PATIENCE_S)
            break
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
    took.append(time.perf_counter() - began)
    assert reply.outcome == pb.OUTCOME_ACCEPTED and not reply.not_decided, reply


async def _overspend(service: str, control: str) -> None:
    """64 callers want ten times what there is room for."""
    async with grpc.aio.insecure_channel(service) as channel:
        stub = BudgetsStub(channel)
        before = (await stub.Balance(pb.BalanceRequest(all=True))).balances[0]
        room = 100
        limit = before.spent + before.pending + room * _PRICE
        _limit(control, limit)
        while (await stub.Balance(pb.BalanceRequest(all=True))).balances[0].limit != limit:
            await asyncio.sleep(0.1)
        granted = 0

        async def caller(number: int) -> None:
            nonlocal granted
            for count in range(10 * room // _CALLERS + 1):
                request = pb.ReserveRequest(request_id=f"race-{number}-{count}", cost_nano=_PRICE)
                reply = await stub.Reserve(request, timeout=_PATIENCE_S)
                granted += reply.outcome == pb.OUTCOME_ACCEPTED

        await asyncio.gather(*(caller(number) for number in range(_CALLERS)))
        after = (await stub.Balance(pb.BalanceRequest(all=True))).balances[0]
    over = max(0, after.spent + after.pending - limit)
    print(f"{_CALLERS} callers, room for {room}: {granted} granted, overspend {over} nano-dollars")


def _print(what: str, took: list[float], seconds: float) -> None:
    took.sort()
    p50, p99, worst = (1000 * took[min(len(took) - 1, int(len(took) * share))] for share in (0.5, 0.99, 1))
    rate = len(took) / seconds
    print(f"{what:38} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   max {worst:6.1f} ms   {rate:8.1f} decisions/s")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
