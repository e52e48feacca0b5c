"""The price book of a running job: the default book with the contracts that the store holds by now."""

from urllib.parse import urlsplit

import clickhouse_connect
import httpx2
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipelines.price_store import publish_book, read_entries
from pipelines.store import StoreSettings
from schemas.price_book import PriceBook
from schemas.prices.contracts import LEAD_NS, Entry
from transforms.contracts import with_contracts

