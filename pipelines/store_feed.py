"""What a running job reads from the store now and then: the last good reading is what holds."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pipelines.store import StoreSettings, StoreUnreachable, connect_impatient

EVERY_NS = 5 * 10**9
_PAUSE_S = 0.2

Reading = TypeVar("Reading")


class StoreFeed(ABC, Generic[Reading]):
    """Reads when it is asked, at most every EVERY_NS. For one thread. what: is read, in words."""

    what: ClassVar[str]

    def __init__(
        self, store: StoreSettings, patience_s: float = 60.0, given_up: Callable[[], bool] | None = None
    ) -> None:
        """patience_s: how long the first call waits for a store that does not answer; given_up: true ends it before."""
        self._store = store
        self._patience_s = patience_s
        self._given_up = given_up
        self._client: Client | None = None
        self._last: Reading | None = None  # None: never read
        self._asked_at = 0
        self.misses = 0  # readings that failed; the one before them was kept
        self.trouble = ""  # the reason of the last of them

    @abstractmethod
    def read(self, client: Client) -> Reading:
        """What the store says now. Raises DatabaseError, and ValueError for what can't be understood."""

    def current(self, now: int) -> Reading:
        """What the store said EVERY_NS before `now` (UTC ns), or later.

        The last good reading if the store does not answer. Raises StoreUnreachable if there never was one.
        """
        if self._last is not None and now - self._asked_at < EVERY_NS:
            return self._last
        deadline = time.monotonic() + self._patience_s
        while not self._try() and self._last is None:
            if time.monotonic() >= deadline or (self._given_up and self._given_up()):
                raise StoreUnreachable(f"no {self.what} could be read from {self._store.url}: {self.trouble}")
            time.sleep(_PAUSE_S)
        self._asked_at = now
        assert self._last is not None
        return self._last

    def close(self) -> None:
        if self._client:
            self._client.close()
            self._client = None

    def _try(self) -> bool:
        """Whether it could be read."""
        try:
            self._client = self._client or connect_impatient(self._store)
            self._last = self.read(self._client)
        except (DatabaseError, ValueError) as error:
            self.misses += 1
            self.trouble = f"{type(error).__name__}: {error}"
            self.close()
            return False
        return True
