"""The alert rules of a running job: those that the store has by now."""

import time
from collections.abc import Callable

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pipelines.alert_store import read_rules
from pipelines.store import StoreSettings, StoreUnreachable, connect_impatient
from transforms.alerts.fold import Book

EVERY_NS = 5 * 10**9
_PAUSE_S = 0.2


class RuleFeed:
    """Reads the rules when it is asked for them, at most every EVERY_NS. For one thread."""

    def __init__(
        self, store: StoreSettings, patience_s: float = 60.0, given_up: Callable[[], bool] | None = None
    ) -> None:
        """patience_s: how long the first call waits for a store that does not answer; given_up: true ends it before."""
        self._store = store
        self._patience_s = patience_s
        self._given_up = given_up
        self._client: Client | None = None
        self._book: Book | None = None
        self._asked_at = 0
        self.misses = 0  # readings that failed; the rules before them were kept
        self.trouble = ""

    def current(self, now: int) -> Book:
        """The rules that were in the store EVERY_NS before `now` (UTC ns), or later.

        The last good ones if the store does not answer. Raises StoreUnreachable if there never were any: without rules
        all that is firing would be told to be over.
        """
        if self._book is None:
            self._read_first()
        elif now - self._asked_at >= EVERY_NS:
            self._read()
        else:
            return self._book
        self._asked_at = now
        return self._book or {}

    def close(self) -> None:
        if self._client:
            self._client.close()
            self._client = None

    def _read_first(self) -> None:
        deadline = time.monotonic() + self._patience_s
        while not self._read():
            if time.monotonic() >= deadline or (self._given_up and self._given_up()):
                raise StoreUnreachable(f"no alert rules could be read from {self._store.url}: {self.trouble}")
            time.sleep(_PAUSE_S)

    def _read(self) -> bool:
        """Whether the rules could be read."""
        try:
            self._client = self._client or connect_impatient(self._store)
            self._book = read_rules(self._client)
        except (DatabaseError, ValueError) as error:
            self.misses += 1
            self.trouble = f"{type(error).__name__}: {error}"
            self.close()
            return False
        return True
