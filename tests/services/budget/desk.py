"""The service's own path in one process: decisions and group commit over a log that folds what it is given."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import sqlalchemy as sa

from schemas import budget_pb2 as pb
from schemas.arrow import BUDGET_LOG
from services.budget.commit import GroupCommit
from services.budget.decisions import Decisions
from services.budget.owners import Owners
from services.budget.prices import Prices
from services.control.keys import Grant
from services.shared.answers import unavailable
from transforms.budgets.fold import BudgetSettings, make_budget
from transforms.folds.step import apply

GRANT = Grant("acme", "blue", "key000000001", False)


class FoldedLog:
    """Confirms when `gate` is open, folds at once, and tells the replies unless `silent`. up: whether it answers."""

    def __init__(self) -> None:
        self.up = True
        self.silent = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.batches: list[pb.EventBatch] = []
        self._fold, self._state = make_budget(BudgetSettings()), {}
        self.decisions: Decisions | None = None

    def check(self) -> None:
        if not self.up:
            raise unavailable("the log does not answer", 1)

    async def append(self, records: list[tuple[bytes, dict[str, bytes]]], key: bytes | None = None) -> None:
        self.check()
        await self.gate.wait()
        for body, _ in records:
            at = len(self.batches)
            self.batches.append(pb.EventBatch.FromString(body))
            row = [[(key or b"").decode()], [0], [at], [(at + 1) * 10**9], [body]]
            step = self._fold(self._state, pa.table(row, schema=BUDGET_LOG), 0)
            self._state = apply(self._state, step.writes)
            replies = [one for name, told in step.out if name == "budget_replies" for one in told["body"].to_pylist()]
            if self.decisions and not self.silent:
                self.decisions.decided([one for one in replies if self.decisions.wanted(one)])

    async def limit(self, limit: int) -> None:
        budget = pb.Budget(
            budget_id="all", name="all", window=pb.WINDOW_TOTAL, time_zone="UTC", unit=pb.UNIT_NANO_DOLLARS,
            limit=limit, hard=True,
        )  # fmt: skip
        limits = pb.Event(org=GRANT.org, limits=pb.Limits(revision=1, budgets=[budget]))
        await self.append([(pb.EventBatch(events=[limits]).SerializeToString(), {})], GRANT.org.encode())


def desk(engine: sa.Engine, open_by_default: bool = False, most_waiting: int = 100) -> tuple[Decisions, FoldedLog]:
    log, pool = FoldedLog(), ThreadPoolExecutor(1)
    log.decisions = Decisions(
        log, GroupCommit(log), Owners(engine, pool, lambda: 0.0, 5), Prices(pool), 0.2, open_by_default, most_waiting
    )
    return log.decisions, log
