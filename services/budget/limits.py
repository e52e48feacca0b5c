"""Brings budgets from the control database into the log.

Several services do so, and a service that was started anew does it again: a revision that the fold knows is ignored.
"""

import asyncio
import logging

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from schemas import budget_pb2 as pb
from services.budget.commit import Log
from services.control.budgets import limits_of, revisions
from services.shared.answers import Refused

_log = logging.getLogger(__name__)


class LimitsPublisher:
    """Asks the control database every `every_s` which organisations have a newer revision than it published."""

    def __init__(self, engine: sa.Engine, log: Log, every_s: float) -> None:
        self._engine = engine
        self._log = log
        self._every_s = every_s
        self._published: dict[str, int] = {}

    async def run(self) -> None:
        """Publishes until it is cancelled."""
        while True:
            try:
                await self.publish()
            except (SQLAlchemyError, Refused) as error:
                _log.warning("budgets are not published yet: %s", error)
            await asyncio.sleep(self._every_s)

    async def publish(self) -> None:
        """Raises SQLAlchemyError or Refused when the database or the log does not answer."""
        for org, revision in (await asyncio.to_thread(revisions, self._engine)).items():
            if revision <= self._published.get(org, -1):
                continue
            found = await asyncio.to_thread(limits_of, self._engine, org)
            batch = pb.EventBatch(events=[pb.Event(org=org, limits=found)])
            await self._log.append([(batch.SerializeToString(), {})], org.encode())
            self._published[org] = found.revision
