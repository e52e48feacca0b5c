"""Lets holds expire where nothing else happens: time is that of the log, which moves with what is written into it.

A service writes a tick when the last hold that it saw of an organisation is over. Several services may do so, and one
that was started anew does not know of earlier holds; both only move the moment at which balances show the expiry.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from schemas import budget_pb2 as pb
from services.budget.commit import Log
from services.shared.answers import Refused

_log = logging.getLogger(__name__)

_LATER_NS = 10**9  # after the second of the expiry, which is the log's


class Ticks:
    """now: UTC ns. For one event loop."""

    def __init__(self, log: Log, every_s: float = 1.0, now: Callable[[], int] = time.time_ns) -> None:
        self._log = log
        self._every_s = every_s
        self._now = now
        self._due: dict[str, set[int]] = {}  # org -> UTC seconds at which a hold expires

    def note(self, org: str, expires_at: int) -> None:
        """A hold of `org` that ends at `expires_at` (UTC ns)."""
        self._due.setdefault(org, set()).add(expires_at // 10**9)

    async def run(self) -> None:
        """Writes ticks until it is cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.tick()
            except Refused as refused:
                _log.info("no tick: %s", refused.message)

    async def tick(self) -> None:
        """One tick for each organisation with a hold that is over. Raises Refused while the log does not answer."""
        until = (self._now() - _LATER_NS) // 10**9
        for org in [org for org, due in self._due.items() if min(due) <= until]:
            batch = pb.EventBatch(events=[pb.Event(org=org, tick=pb.Tick())])
            await self._log.append([(batch.SerializeToString(), {})], org.encode())
            later = {second for second in self._due[org] if second > until}
            if later:
                self._due[org] = later
            else:
                del self._due[org]
