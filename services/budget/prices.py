"""What a call costs that says its model and tokens and no amount."""

import time
from collections import OrderedDict
from collections.abc import Callable

import polars as pl

from schemas.price_book import PriceBook, compile_book
from transforms.pricing import price

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
_MOST = 10_000
_FRESH_NS = 60 * 10**9  # prices change by the hour at most

Asked = tuple[str, str, str, int, int]  # org, provider, model, input tokens, output tokens


class Prices:
    """Costs by a price book. now: UTC ns. For one thread."""

    def __init__(self, book: Callable[[], PriceBook] = compile_book, now: Callable[[], int] = time.time_ns) -> None:
        self._make = book
        self._book: PriceBook | None = None
        self._now = now
        self._known: OrderedDict[Asked, tuple[int, int | None]] = OrderedDict()

    def load(self) -> None:
        """Makes the book, which takes a second."""
        self._book = self._book or self._make()

    def cost(self, asked: Asked) -> int | None:
        """Nano-dollars; None when the book has no price for it."""
        now = self._now()
        at, found = self._known.get(asked, (0, None))
        if now - at < _FRESH_NS:
            return found
        found = self._price(asked, now)
        self._known[asked] = (now, found)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return found

    def _price(self, asked: Asked, now: int) -> int | None:
        self.load()
        assert self._book
        org, provider, model, *tokens = asked
        row = (org, provider or None, model, None, now, None, False, *tokens)
        priced = price(pl.DataFrame([row], schema=_SCHEMA, orient="row"), self._book)
        return priced["cost_nano"][0]
