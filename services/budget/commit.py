"""Group commit: while one record of an organisation is on its way to the log, further events gather into the next.

So the log's sync to disk is paid once for all that came meanwhile, and the events of an organisation keep their order.
"""

import asyncio
from collections import deque
from typing import Protocol

from schemas import budget_pb2 as pb
from services.shared.answers import Refused

_MOST_EVENTS = 500  # of a record


class Log(Protocol):
    """services.shared.log.Log, as far as it is used."""

    async def append(self, records: list[tuple[bytes, dict[str, bytes]]], key: bytes | None = None) -> None: ...


class GroupCommit:
    """Writes events in records of one organisation. For one event loop."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._waiting: dict[str, deque[tuple[pb.Event, asyncio.Future[pb.Reply]]]] = {}
        self._writers: set[asyncio.Task[None]] = set()

    def append(self, event: pb.Event, answer: "asyncio.Future[pb.Reply]") -> None:
        """Writes `event`, unless `answer` is done before its turn comes; when it can't be written, `answer` fails."""
        if event.org in self._waiting:
            self._waiting[event.org].append((event, answer))
            return
        self._waiting[event.org] = deque([(event, answer)])
        writer = asyncio.ensure_future(self._write(event.org))
        self._writers.add(writer)
        writer.add_done_callback(self._writers.discard)

    async def _write(self, org: str) -> None:
        waiting = self._waiting[org]
        while waiting:
            taken = [waiting.popleft() for _ in range(min(len(waiting), _MOST_EVENTS))]
            taken = [(event, answer) for event, answer in taken if not answer.done()]
            if not taken:
                continue
            batch = pb.EventBatch(events=[event for event, _ in taken])
            try:
                await self._log.append([(batch.SerializeToString(), {})], org.encode())
            except Refused as refused:
                for _, answer in taken:
                    if not answer.done():
                        answer.set_exception(refused)
        del self._waiting[org]
