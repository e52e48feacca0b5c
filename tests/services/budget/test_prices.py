"""What estimates cost: calls that come together are priced together, by the book that holds, contracts included."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
from sqlalchemy.exc import SQLAlchemyError

from pipelines.migrate import migrate
from pipelines.price_store import append_entries
from pipelines.store import connect_creating
from schemas.migrations import CLICKHOUSE
from schemas.price_book import compile_book
from schemas.prices.contracts import Band, Contract, record
from services.budget.contracts import Contracts
from services.budget.prices import Prices
from services.budget.settings import Settings
from tests.store_process import running_store
from transforms.prices.pricing import price

NOW = 1_790_000_000_000_000_000
ASKED = ("acme", "openai", "gpt-4o", 1000, 500)


class CountingExecutor(ThreadPoolExecutor):
    """One thread. calls: how often it was asked to do something."""

    def __init__(self) -> None:
        super().__init__(1)
        self.calls = 0

    def submit(self, fn, /, *args, **kwargs):
        self.calls += 1
        return super().submit(fn, *args, **kwargs)


def test_calls_that_come_together_are_priced_together_each_at_its_own_cost():
    pool = CountingExecutor()
    asked = [("acme", "", model, n, 2 * n) for n in range(100) for model in ("gpt-4o", "no-such-model")]

    async def play() -> list[int | None]:
        prices = Prices(pool, lambda: NOW)
        await prices.begin()
        return list(await asyncio.gather(*(prices.cost(one) for one in asked)))

    costs = asyncio.run(play())
    calls = pl.DataFrame(
        [(None, model, None, NOW, None, False, *tokens) for _, _, model, *tokens in asked],
        schema={
            "provider": pl.String, "request_model": pl.String, "response_model": pl.String, "start_ns": pl.Int64,
            "service_tier": pl.String, "batch": pl.Boolean, "input_tokens": pl.Int64, "output_tokens": pl.Int64,
        },
        orient="row",
    )  # fmt: skip
    assert costs == price(calls, compile_book())["cost_nano"].to_list()
    assert None in costs and max(cost or 0 for cost in costs) > 0
    assert pool.calls <= 3  # the book, and the calls in one go or two


def test_a_caller_who_leaves_takes_no_price_from_the_others():
    async def play() -> int | None:
        prices = Prices(ThreadPoolExecutor(1), lambda: NOW)
        leaves, stays = (asyncio.create_task(prices.cost(ASKED)) for _ in range(2))
        await asyncio.sleep(0)
        leaves.cancel()
        return await stays

    assert asyncio.run(play()) == 7_500_000


def test_a_fault_reaches_those_who_wait_and_the_next_call_is_priced(monkeypatch):
    async def play() -> int | None:
        prices = Prices(ThreadPoolExecutor(1), lambda: NOW)
        with monkeypatch.context() as broken:
            broken.setattr("services.budget.prices.price", lambda *_: (_ for _ in ()).throw(SQLAlchemyError("broken")))
            with pytest.raises(SQLAlchemyError):
                await prices.cost(ASKED)
        return await prices.cost(ASKED)

    assert asyncio.run(play()) == 7_500_000


def test_a_contract_holds_for_estimates_of_its_organisation_a_few_seconds_after_it_was_written(tmp_path):
    asked = [ASKED, ("globex", *ASKED[1:])]
    bands = (Band(None, (("input_tokens", 10**18), ("output_tokens", 0))),)
    contract = Contract("acme", "openai", "gpt-4o", "", NOW, None, bands)
    with running_store(tmp_path / "data") as process:

        async def play() -> tuple[list[int | None], list[int | None]]:
            prices = Prices(ThreadPoolExecutor(1))
            following = asyncio.create_task(Contracts(prices, settings).run())
            before = [await prices.cost(one) for one in asked]
            with connect_creating(process.settings) as client:
                append_entries(client, record([contract], [], time.time_ns(), "agreed", "tester"))
            async with asyncio.timeout(60):
                while (after := [await prices.cost(one) for one in asked])[0] == before[0]:
                    assert not following.done()
                    await asyncio.sleep(0.1)
            following.cancel()
            return before, after

        store = process.settings
        settings = Settings.model_validate({"brokers": "127.0.0.1:9", "control_url": "sqlite://"} | {
            "store_url": store.url, "store_user": store.user, "store_password": store.password,
            "store_database": store.database,
        })  # fmt: skip
        with connect_creating(store) as client:
            migrate(client, CLICKHOUSE, NOW)
        before, after = asyncio.run(play())
    assert before == [7_500_000, 7_500_000]
    assert after == [1_000_000, 7_500_000]


def test_without_an_answer_of_the_store_estimates_go_by_list_prices():
    async def play() -> int | None:
        prices = Prices(ThreadPoolExecutor(1), lambda: NOW)
        settings = Settings.model_validate(
            {"brokers": "127.0.0.1:9", "control_url": "sqlite://", "store_url": "http://127.0.0.1:9"}
        )
        following = asyncio.create_task(Contracts(prices, settings).run())
        await asyncio.sleep(0.5)
        assert not following.done()
        following.cancel()
        return await prices.cost(ASKED)

    assert asyncio.run(play()) == 7_500_000
