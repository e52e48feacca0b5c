"""Who a request belongs to: keys looked up in the control database, and remembered for a short while.

A grant is fresh for `ttl_s`. While the database does not answer, a known key is served up to `stale_s`
after its last look-up, and an unknown one gets 503; a revoked key is thus refused after `ttl_s`, and
after `stale_s` at the latest. Keys that do not exist have a cache of their own, so that a flood of them
cannot push out the real ones.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from services.control.keys import Grant, digest, find_key, well_formed
from services.control.organisations import find_org
from services.shared.answers import Refusal, Refused, unavailable

_RETRY_AFTER_S = 2
_REST_AFTER_FAILURE_S = 1.0
_LOOK_UP_TIMEOUT_S = 2.0
_MOST_KEYS = 10_000


class _Unanswered(Exception):
    """The control database failed, or did not answer in time."""


@dataclass(frozen=True)
class _Entry:
    grant: Grant | None
    at: float


class KeyRing:
    """The cache in front of the control database `engine`.

    executor: runs the look-ups, off the event loop. clock: monotonic seconds.
    """

    def __init__(
        self,
        engine: sa.Engine,
        executor: Executor,
        clock: Callable[[], float],
        ttl_s: float,
        stale_s: float,
        anonymous_org: str,
    ) -> None:
        self._engine = engine
        self._executor = executor
        self._clock = clock
        self._ttl_s = ttl_s
        self._stale_s = stale_s
        self._anonymous_org = anonymous_org
        self._known: OrderedDict[str, _Entry] = OrderedDict()
        self._unknown: OrderedDict[str, _Entry] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[_Entry]] = {}
        self._failed_at: float | None = None

    async def grant(self, secret: str | None, loopback: bool) -> Grant:
        """The grant of a key; without one, on a loopback listener, that of the anonymous organisation.

        Raises Refused: 401 for a missing, wrong or revoked key, 503 while it cannot be looked up.
        """
        if secret is None:
            if not (loopback and self._anonymous_org):
                raise Refused(
                    Refusal.UNAUTHENTICATED,
                    "an API key is required: Authorization: Bearer KEY, or x-api-key: KEY",
                )
            return self._checked(await self._entry(""), f"there is no organisation {self._anonymous_org!r}")
        if not well_formed(secret):
            raise Refused(Refusal.UNAUTHENTICATED, "the API key is malformed")
        return self._checked(await self._entry(digest(secret)), "the API key is unknown or revoked")

    @staticmethod
    def _checked(entry: _Entry, otherwise: str) -> Grant:
        if entry.grant is None:
            raise Refused(Refusal.UNAUTHENTICATED, otherwise)
        return entry.grant

    async def _entry(self, sha256: str) -> _Entry:
        entry = self._known.get(sha256) or self._unknown.get(sha256)
        now = self._clock()
        if entry is not None and now - entry.at < self._ttl_s:
            return entry
        try:
            return await self._look_up(sha256, now)
        except _Unanswered as error:
            if entry is not None and entry.grant is not None and now - entry.at < self._stale_s:
                return entry
            raise unavailable("the API key cannot be checked at the moment", _RETRY_AFTER_S) from error

    async def _look_up(self, sha256: str, now: float) -> _Entry:
        """One look-up per key at a time; none for a second after one failed, lest slow failures queue up."""
        under_way = self._under_way.get(sha256)
        if under_way is None:
            if self._failed_at is not None and now - self._failed_at < _REST_AFTER_FAILURE_S:
                raise _Unanswered("the control database failed a moment ago")
            under_way = asyncio.ensure_future(self._fetch(sha256))
            self._under_way[sha256] = under_way
            under_way.add_done_callback(lambda _: self._under_way.pop(sha256))
        return await asyncio.shield(under_way)

    async def _fetch(self, sha256: str) -> _Entry:
        loop = asyncio.get_running_loop()
        at = self._clock()
        try:
            async with asyncio.timeout(_LOOK_UP_TIMEOUT_S):
                grant = await loop.run_in_executor(self._executor, self._find, sha256)
        except (SQLAlchemyError, TimeoutError) as error:
            self._failed_at = self._clock()
            raise _Unanswered(str(error)) from error
        entry = _Entry(grant, at)
        self._known.pop(sha256, None)
        self._unknown.pop(sha256, None)
        cache = self._unknown if grant is None else self._known
        cache[sha256] = entry
        if len(cache) > _MOST_KEYS:
            cache.popitem(last=False)
        return entry

    def _find(self, sha256: str) -> Grant | None:
        if sha256:
            return find_key(self._engine, sha256)
        org = find_org(self._engine, self._anonymous_org)
        return None if org is None else Grant(org.org, "", "", org.redact)


def secret_in(authorization: str | None, api_key: str | None) -> str | None:
    """The key in a request's `Authorization: Bearer` or `x-api-key`; None when it has neither.

    Raises Refused (401) for another scheme, or for two different keys: there is no telling which was meant.
    """
    bearer = None
    if authorization is not None:
        scheme, _, bearer = authorization.strip().partition(" ")
        bearer = bearer.strip()
        if scheme.lower() != "bearer" or not bearer:
            raise Refused(Refusal.UNAUTHENTICATED, "Authorization must be of the form: Bearer KEY")
    if bearer is not None and api_key is not None and bearer != api_key.strip():
        raise Refused(Refusal.UNAUTHENTICATED, "Authorization and x-api-key hold different keys")
    return bearer if bearer is not None else (api_key.strip() if api_key is not None else None)
