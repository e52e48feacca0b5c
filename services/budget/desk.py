"""What both servers work with: who calls, decisions, events."""

from dataclasses import dataclass

from services.budget.decisions import Decisions
from services.budget.feed import EventFeed
from services.control.keys import Grant
from services.shared.auth import KeyRing, secret_in
from services.shared.log import Log


@dataclass(frozen=True)
class Desk:
    keys: KeyRing
    log: Log
    decisions: Decisions
    feed: EventFeed

    async def admit(self, authorization: str | None, api_key: str | None, loopback: bool) -> Grant:
        """Who calls. Raises Refused: 401 without a valid key, 503 while it cannot be looked up."""
        return await self.keys.grant(secret_in(authorization, api_key), loopback)
