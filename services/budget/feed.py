"""Events for people, by organisation: the last ones are kept, and new ones go to all who watch.

The topic may bring an event again after a replay: it is told once by its id.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from google.protobuf import json_format

from schemas import budget_pb2 as pb
from services.shared.answers import Refusal, Refused

_KEPT = 1_000  # events of one organisation
_BEHIND = 1_000  # events that a watcher may be behind
_RETRY_AFTER_S = 1


class EventFeed:
    """For one event loop. most: watchers at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[str, deque[pb.BudgetEvent]] = {}
        self._ids: dict[str, set[str]] = {}
        self._watching: dict[str, list[asyncio.Queue[pb.BudgetEvent | None]]] = {}

    def tell(self, values: list[bytes]) -> None:
        """Values of the topic: BudgetEvents as JSON."""
        for value in values:
            event = json_format.Parse(value, pb.BudgetEvent(), ignore_unknown_fields=True)
            ids = self._ids.setdefault(event.org, set())
            if event.event_id in ids:
                continue
            kept = self._kept.setdefault(event.org, deque())
            kept.append(event)
            ids.add(event.event_id)
            if len(kept) > _KEPT:
                ids.discard(kept.popleft().event_id)
            for queue in self._watching.get(event.org, ()):
                if queue.qsize() < _BEHIND:
                    queue.put_nowait(event)
                elif queue.qsize() == _BEHIND:
                    queue.put_nowait(None)

    async def watch(self, org: str, after: str) -> AsyncIterator[pb.BudgetEvent]:
        """The kept events of `org` after the one with id `after` (all of them when it is not kept), then new ones.

        after: '' begins now. Raises Refused (429) when too many watch, or when the watcher is too slow.
        """
        if sum(map(len, self._watching.values())) >= self._most:
            raise Refused(Refusal.THROTTLED, "too many watch already", _RETRY_AFTER_S)
        queue: asyncio.Queue[pb.BudgetEvent | None] = asyncio.Queue()
        for event in self._after(org, after):
            queue.put_nowait(event)
        watching = self._watching.setdefault(org, [])
        watching.append(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
            raise Refused(Refusal.THROTTLED, "too slow: go on after the last event that you have", _RETRY_AFTER_S)
        finally:
            watching.remove(queue)

    def _after(self, org: str, after: str) -> list[pb.BudgetEvent]:
        kept = list(self._kept.get(org, ())) if after else []
        place = next((number for number, event in enumerate(kept) if event.event_id == after), -1)
        return kept[place + 1 :]
