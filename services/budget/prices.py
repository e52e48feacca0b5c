"""What a call costs that says its model and tokens and no amount.

Pricing takes as long for one call as for hundreds: those that come meanwhile are priced together next.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor

import polars as pl

from schemas.price_book import PriceBook, compile_book
from transforms.prices.pricing import price

_SCHEMA = {
    "org": pl.String,
    "provider": pl.String,
    "request_model": pl.String,
    "response_model": pl.String,
    "start_ns": pl.Int64,
    "service_tier": pl.String,
    "batch": pl.Boolean,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
}
_MOST_KNOWN = 10_000
_MOST_AT_ONCE = 1_000
_FRESH_NS = 60 * 10**9  # prices change by the hour at most

Asked = tuple[str, str, str, int, int]  # org, provider, model, input tokens, output tokens


class Prices:
    """Costs by `book`, which may be changed at any time. executor: where they are computed. now: UTC ns.

    For one event loop.
    """

    def __init__(self, executor: Executor, now: Callable[[], int] = time.time_ns) -> None:
        self._executor = executor
        self._now = now
        self._book: PriceBook | None = None
        self._known: OrderedDict[Asked, tuple[int, int | None]] = OrderedDict()
        self._waiting: dict[Asked, asyncio.Future[int | None]] = {}
        self._pricing: asyncio.Task[None] | None = None

    async def begin(self) -> PriceBook:
        """Makes the default book, which takes a second, unless there is a book."""
        if self._book is None:
            made = await asyncio.get_running_loop().run_in_executor(self._executor, compile_book)
            self._book = self._book or made
        return self._book

    def use(self, book: PriceBook) -> None:
        """From now on `book` holds."""
        if book is not self._book:
            self._book = book
            self._known.clear()

    async def cost(self, asked: Asked) -> int | None:
        """Nano-dollars; None when the book has no price for it."""
        at, found = self._known.get(asked, (0, None))
        if self._now() - at < _FRESH_NS:
            return found
        if asked not in self._waiting:
            self._waiting[asked] = asyncio.get_running_loop().create_future()
        answer = self._waiting[asked]
        if self._pricing is None or self._pricing.done():
            self._pricing = asyncio.ensure_future(self._price_waiting())
        return await asyncio.shield(answer)

    async def _price_waiting(self) -> None:
        while self._waiting:
            taken = dict(list(self._waiting.items())[:_MOST_AT_ONCE])
            now = self._now()
            try:
                book = await self.begin()
                loop = asyncio.get_running_loop()
                costs = await loop.run_in_executor(self._executor, _costs, list(taken), book, now)
            except Exception as error:  # whoever waits is told, whatever it was
                for asked, answer in taken.items():
                    del self._waiting[asked]
                    answer.set_exception(error)
                continue
            for (asked, answer), cost in zip(taken.items(), costs, strict=True):
                del self._waiting[asked]
                answer.set_result(cost)
                if book is self._book:
                    self._known[asked] = (now, cost)
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)


def _costs(asked: list[Asked], book: PriceBook, now: int) -> list[int | None]:
    rows = [(org, provider or None, model, None, now, None, False, *tokens) for org, provider, model, *tokens in asked]
    return price(pl.DataFrame(rows, schema=_SCHEMA, orient="row"), book)["cost_nano"].to_list()
