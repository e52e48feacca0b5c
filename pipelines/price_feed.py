"""The price book of a running job: the default book with the contracts that the store has by now over it."""

import time
from collections.abc import Callable

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pipelines.price_store import publish_book, read_entries
from pipelines.store import StoreSettings, StoreUnreachable, connect_impatient
from schemas.price_book import PriceBook
from schemas.prices.contracts import Entry
from transforms.contracts import with_contracts

# Less than LEAD_NS: an entry holds for what is received so long after it was written, and has been read until then.
EVERY_NS = 5 * 10**9
_PAUSE_S = 0.2


class PriceFeed:
    """Reads the contracts when it is asked for the book, at most every EVERY_NS. For one thread."""

    def __init__(
        self,
        store: StoreSettings,
        book: PriceBook,
        patience_s: float = 60.0,
        given_up: Callable[[], bool] | None = None,
    ) -> None:
        """book: the default book, which it writes down in the store for those who look up a `price_id`.
        patience_s: how long the first call waits for a store that does not answer; given_up: true ends it before."""
        self._given_up = given_up
        self._store = store
        self._default = self._book = book
        self._patience_s = patience_s
        self._client: Client | None = None
        self._entries: list[Entry] | None = None  # None: never read
        self._asked_at = 0
        self.misses = 0  # readings that failed; the book before them was kept
        self.trouble = ""  # the reason of the last of them

    def current(self, now: int) -> PriceBook:
        """The book with all contracts that were recorded EVERY_NS before `now` (UTC ns), or later.

        The last good one if the store does not answer. Raises StoreUnreachable if there never was one: pricing by the
        default book alone would bill an organisation past its contract.
        """
        if self._entries is None:
            self._read_first()
        elif now - self._asked_at >= EVERY_NS:
            self._read()
        else:
            return self._book
        self._asked_at = now
        return self._book

    def close(self) -> None:
        if self._client:
            self._client.close()
            self._client = None

    def _read_first(self) -> None:
        deadline = time.monotonic() + self._patience_s
        while not self._read():
            if time.monotonic() >= deadline or (self._given_up and self._given_up()):
                raise StoreUnreachable(f"no contracts could be read from {self._store.url}: {self.trouble}")
            time.sleep(_PAUSE_S)

    def _read(self) -> bool:
        """Whether the contracts could be read."""
        try:
            self._client = self._client or connect_impatient(self._store)
            entries = read_entries(self._client)
            if self._entries is None:
                publish_book(self._client, self._default)
            if entries != self._entries:
                self._book = with_contracts(self._default, entries)
                self._entries = entries
        except (DatabaseError, ValueError) as error:
            self.misses += 1
            self.trouble = f"{type(error).__name__}: {error}"
            self.close()
            return False
        return True
