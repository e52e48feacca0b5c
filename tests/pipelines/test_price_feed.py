"""The price feed and the table of prices, against a store that runs."""

import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from pipelines.migrate import migrate
from pipelines.price_feed import PriceFeed
from pipelines.price_store import append_entries, publish_book, read_entries
from pipelines.store import StoreSettings, StoreUnreachable, connect_creating
from pipelines.store_feed import EVERY_NS
from schemas.migrations import CLICKHOUSE
from schemas.price_book import PriceBook, compile_book, price_column
from schemas.prices.contracts import LEAD_NS, Band, Contract, Entry, dollars, record
from tests.store_process import StoreProcess, running_store
from transforms.prices.pricing import price

NOW = 1_790_000_000_000_000_000
DAY = 86_400 * 10**9


@cache
def book() -> PriceBook:
    return compile_book()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store") / "data") as process:
        yield process


@pytest.fixture
def settings(store: StoreProcess) -> StoreSettings:
    """A database of the test alone, with its tables."""
    made = replace(store.settings, database=f"d{time.monotonic_ns()}")
    with connect_creating(made) as client:
        migrate(client, CLICKHOUSE, NOW)
    return made


@pytest.fixture
def client(settings: StoreSettings) -> Iterator[Client]:
    with connect_creating(settings) as connected:
        yield connected


@pytest.fixture
def feed(settings: StoreSettings) -> Iterator[PriceFeed]:
    made = PriceFeed(settings, book())
    yield made
    made.close()


def contract(first: int = 0, last: int | None = None, *prices: int, org: str = "acme") -> Contract:
    """prices: yoctodollars for an input token, a band of 1,000 tokens each; days after NOW."""
    bands = tuple(Band(i * 1000 or None, (("input_tokens", p), ("requests", 10**18))) for i, p in enumerate(prices))
    end = None if last is None else NOW + last * DAY
    return Contract(org, "openai", "gpt-4o", "", NOW + first * DAY, end, bands)


def written(client: Client, *contracts: Contract, reason: str = "agreed") -> list[Entry]:
    entries = record(contracts, read_entries(client), NOW, reason, "tester")
    append_entries(client, entries)
    return entries


def price_id(by: PriceBook, org: str = "acme") -> str:
    call: dict[str, Any] = {
        "org": org, "provider": "openai", "request_model": "gpt-4o", "response_model": None, "start_ns": NOW,
        "service_tier": None, "batch": False, "input_tokens": 10,
    }  # fmt: skip
    return price(pl.DataFrame([call]), by)["price_id"][0]


def test_entries_come_back_as_they_were_written(client: Client):
    finest = contract(0, None, 1, 1234567890123456789)
    entries = written(client, finest, contract(3, 5), contract(1, 2, 7, org=""), reason="'; DROP --\n\u2028é")
    assert len(entries) == 3
    assert read_entries(client) == sorted(entries, key=lambda entry: entry.order)


def test_writing_an_entry_twice_is_writing_it_once(client: Client):
    entries = written(client, contract(0, None, 5))
    append_entries(client, entries)
    again = replace(entries[0], known_from=entries[0].known_from + 1, actor="another, at the same time")
    append_entries(client, [again])
    assert read_entries(client) == entries
    assert record([contract(0, None, 5)], read_entries(client), NOW, "", "") == []


def test_a_running_feed_takes_a_new_contract_without_a_restart(client: Client, feed: PriceFeed):
    assert price_id(feed.current(NOW)).startswith("openai/gpt-4o@")
    (entry,) = written(client, contract(0, None, 5))
    assert price_id(feed.current(NOW + EVERY_NS - 1)).startswith("openai/gpt-4o@")
    assert price_id(feed.current(NOW + EVERY_NS)) == entry.price_id(None)
    assert price_id(feed.current(NOW + EVERY_NS), org="globex").startswith("openai/gpt-4o@")


def test_every_reader_has_an_entry_before_it_holds(client: Client, feed: PriceFeed):
    assert EVERY_NS < LEAD_NS
    feed.current(NOW)
    (entry,) = written(client, contract(0, None, 5))
    assert entry.known_from == NOW + LEAD_NS
    assert price_id(feed.current(entry.known_from)) == entry.price_id(None)


def test_the_book_is_the_same_object_until_a_contract_comes(client: Client, feed: PriceFeed):
    first = feed.current(NOW)
    assert feed.current(NOW + EVERY_NS) is first
    written(client, contract(0, None, 5))
    assert feed.current(NOW + 2 * EVERY_NS) is not first


def test_a_store_that_is_gone_leaves_the_last_good_book_and_is_counted(tmp_path: Path):
    with running_store(tmp_path / "data") as process:
        with connect_creating(process.settings) as client:
            migrate(client, CLICKHOUSE, NOW)
            (entry,) = written(client, contract(0, None, 5))
        feed = PriceFeed(process.settings, book())
        good = feed.current(NOW)
        process.kill()
        assert feed.current(NOW + EVERY_NS) is good and price_id(good) == entry.price_id(None)
        assert feed.misses == 1 and feed.trouble
        assert feed.current(NOW + EVERY_NS + 1) is good and feed.misses == 1
        port = process.port
        revived = StoreProcess(tmp_path / "data", port)
        try:
            with connect_creating(process.settings) as client:
                (later,) = written(client, contract(0, None, 6))
            assert price_id(feed.current(NOW + 2 * EVERY_NS)) == later.price_id(None)
        finally:
            feed.close()
            revived.kill()


def test_without_any_reading_there_is_no_book(store: StoreProcess):
    nowhere = PriceFeed(replace(store.settings, url="http://127.0.0.1:9"), book(), patience_s=0.0)
    with pytest.raises(StoreUnreachable, match="127.0.0.1:9"):
        nowhere.current(NOW)
    unmigrated = PriceFeed(replace(store.settings, database="nothing"), book(), patience_s=0.0)
    with pytest.raises(StoreUnreachable, match="nothing"):
        unmigrated.current(NOW)


def test_an_entry_that_cannot_hold_leaves_the_last_good_book(client: Client, feed: PriceFeed):
    good = feed.current(NOW)
    written(client, contract(3, 2, 5))
    assert feed.current(NOW + EVERY_NS) is good
    assert feed.misses == 1 and "ends before it begins" in feed.trouble


def test_the_feed_writes_the_default_book_down_once(client: Client, feed: PriceFeed):
    feed.current(NOW)
    assert publish_book(client, book()) == 0
    found = client.query(
        "SELECT price_id, input, request, length(in_force) FROM prices WHERE entry_id = ''"
    ).result_rows
    stored = {row[0]: row[1:] for row in found}
    assert len(found) == len(stored) == book().rows.height
    for unit, count, column in (("input_tokens", 10**6, 0), ("requests", 1, 1)):
        priced = book().rows.select("price_id", price_column(unit)).rows()
        wrong = [i for i, p in priced if stored[i][column] != (None if p is None else dollars(p, count))]
        assert wrong == []
    assert {row[2] for row in stored.values()} == {1}


def test_usage_joins_the_prices_by_their_id(client: Client, feed: PriceFeed):
    (entry,) = written(client, contract(0, None, 2_500_000_000_000_000_000))
    ids = [price_id(feed.current(NOW), org) for org in ("acme", "globex")]
    found = client.query(
        "SELECT price_id, org, input, request, reason FROM prices WHERE price_id IN {ids:Array(String)}"
        " ORDER BY org DESC",
        parameters={"ids": ids},
    ).result_rows
    assert found == [
        (entry.price_id(None), "acme", Decimal("2.5"), Decimal("0.000001"), "agreed"),
        (ids[1], "", Decimal("2.5"), None, ""),
    ]


def test_the_view_says_for_which_periods_a_price_holds_by_what_is_known(client: Client):
    for made in (contract(0, 10, 5), contract(3, 6, 6), contract(8, None), contract(4, 5, 7, 8)):
        written(client, made)
    found = client.query(
        "SELECT toInt64(input * 1e18) AS price, withdrawn,"
        " arrayMap(p -> (dateDiff('day', {now:DateTime}, p.1), dateDiff('day', {now:DateTime}, p.2)), in_force) AS days"
        " FROM prices WHERE entry_id != '' ORDER BY known_from, input_above NULLS FIRST",
        parameters={"now": NOW // 10**9},
    ).result_rows
    assert found == [
        (5, False, [(0, 3), (6, 8)]),
        (6, False, [(3, 4), (5, 6)]),
        (None, True, [(8, None)]),
        (7, False, [(4, 5)]),
        (8, False, [(4, 5)]),
    ]


def test_a_price_of_a_book_that_is_no_longer_used_stays_to_be_looked_up(client: Client):
    old = replace(
        book(),
        rows=book()
        .rows.head(2)
        .with_columns(pl.Series("price_id", ["p/old@#1", "p/old@#2"]), source=pl.lit("genai-prices 0.1.0")),
    )
    publish_book(client, old)
    publish_book(client, book())
    found = client.query("SELECT price_id, in_force FROM prices WHERE price_id LIKE 'p/old%' ORDER BY 1").result_rows
    assert found == [("p/old@#1", []), ("p/old@#2", [])]
