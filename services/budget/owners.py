"""Whose budgets a call is about: the key that calls, or another one of its organisation."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from services.control.keys import Grant, team_of_key
from services.shared.answers import unavailable

_TIMEOUT_S = 2.0
_RETRY_AFTER_S = 2
_MOST_KEYS = 10_000


class UnknownKey(Exception):
    """The organisation has no such key, or it was revoked."""


class Owners:
    """Looks up the teams of keys in the control database, and remembers them for `ttl_s`. clock: monotonic seconds."""

    def __init__(self, engine: sa.Engine, executor: Executor, clock: Callable[[], float], ttl_s: float) -> None:
        self._engine = engine
        self._executor = executor
        self._clock = clock
        self._ttl_s = ttl_s
        self._known: OrderedDict[tuple[str, str], tuple[float, str | None]] = OrderedDict()

    async def of(self, grant: Grant, key_id: str) -> tuple[str, str]:
        """(team, key id) of `key_id`, '' for the key that calls. Raises UnknownKey, or Refused (503)."""
        if key_id in ("", grant.key_id):
            return grant.team, grant.key_id
        at, team = self._known.get((grant.org, key_id), (float("-inf"), None))
        if self._clock() - at >= self._ttl_s:
            team = await self._look_up(grant.org, key_id, team)
        if team is None:
            raise UnknownKey(f"the organisation has no key {key_id}")
        return team, key_id

    async def _look_up(self, org: str, key_id: str, before: str | None) -> str | None:
        now, loop = self._clock(), asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                team = await loop.run_in_executor(self._executor, team_of_key, self._engine, org, key_id)
        except (SQLAlchemyError, TimeoutError) as error:
            if before is not None:
                return before
            raise unavailable("the key cannot be looked up at the moment", _RETRY_AFTER_S) from error
        self._known[org, key_id] = (now, team)
        if len(self._known) > _MOST_KEYS:
            self._known.popitem(last=False)
        return team
