"""The price book of a running job: the default book with the contracts that the store has by now over it."""

from collections.abc import Callable

from clickhouse_connect.driver.client import Client

from pipelines.price_store import publish_book, read_entries
from pipelines.store import StoreSettings
from pipelines.store_feed import StoreFeed
from schemas.price_book import PriceBook
from schemas.prices.contracts import Entry
from transforms.prices.contracts import with_contracts


class PriceFeed(StoreFeed[PriceBook]):
    """A job does not begin without contracts: the default book alone would bill an organisation past its own.

    An entry holds for what is received LEAD_NS after it was written, and that is more than EVERY_NS: it has been read.
    """

    what = "contracts"

    def __init__(
        self,
        store: StoreSettings,
        book: PriceBook,
        patience_s: float = 60.0,
        given_up: Callable[[], bool] | None = None,
    ) -> None:
        """book: the default book, which it writes down in the store for those who look up a `price_id`."""
        super().__init__(store, patience_s, given_up)
        self._default = self._book = book
        self._entries: list[Entry] | None = None  # None: never read

    def read(self, client: Client) -> PriceBook:
        entries = read_entries(client)
        if self._entries is None:
            publish_book(client, self._default)
        if entries != self._entries:
            self._book = with_contracts(self._default, entries)
            self._entries = entries
        return self._book
