"""Estimates by contract: the service reads them as the observe job does, so that both price a call alike."""

import asyncio
import logging
import time

from pipelines.price_feed import PriceFeed
from pipelines.store import StoreSettings, StoreUnreachable
from pipelines.store_feed import EVERY_NS
from services.budget.prices import Prices
from services.budget.settings import Settings

_log = logging.getLogger(__name__)


class Contracts:
    """Keeps `prices` to what the store knows of contracts; while it does not answer, to what it said last."""

    def __init__(self, prices: Prices, settings: Settings) -> None:
        self._prices = prices
        self._store = StoreSettings(
            settings.store_url, settings.store_user, settings.store_password, settings.store_database
        )

    async def run(self) -> None:
        """Reads until it is cancelled."""
        feed = PriceFeed(self._store, await self._prices.begin(), patience_s=0)
        while True:
            try:
                self._prices.use(await asyncio.to_thread(feed.current, time.time_ns()))
            except StoreUnreachable as error:
                _log.warning("estimates go by list prices: %s", error)
            await asyncio.sleep(EVERY_NS / 10**9)
