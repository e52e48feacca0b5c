"""Whether a cost is tokens times price, computed another way than `pricing` does."""

import polars as pl

from schemas.price_book import YOCTO_PER_NANO, PriceBook, price_column

# count -> (its unit in the price book, the count that it is part of); a unit without a price costs what its whole costs
_PARTS = {
    "cache_read_tokens": ("cache_read_tokens", "input_tokens"),
    "cache_write_tokens": ("cache_write_tokens", "input_tokens"),
    "cache_write_1h_tokens": ("cache_write_1h_tokens", "cache_write_tokens"),
    "audio_input_tokens": ("input_audio_tokens", "input_tokens"),
    "reasoning_tokens": ("output_reasoning_tokens", "output_tokens"),
    "audio_output_tokens": ("output_audio_tokens", "output_tokens"),
}
_WHOLES = ("input_tokens", "output_tokens")


def cost_differs(calls: pl.DataFrame, book: PriceBook) -> pl.Series:
    """Boolean per row of `calls`: it has a cost that is more than half a nano-dollar off the tokens times the price.

    calls: price_id (String), cost_nano (Int64) and the token columns of SPANS. Every token is charged at the price of
    its side, and each special kind the difference to that: whatever `pricing` takes apart, this adds up.
    """
    units = [*_WHOLES, *(unit for unit, _ in _PARTS.values()), "requests"]
    columns = [price_column(unit) for unit in units]
    prices = book.rows.select("price_id", *columns).unique("price_id")
    priced = calls.join(prices, on="price_id", how="left", maintain_order="left")
    owed = pl.sum_horizontal(
        *(_yocto(whole, pl.col(price_column(whole)).fill_null(0)) for whole in _WHOLES),
        *(_yocto(part, _price(part) - _price(whole)) for part, (_, whole) in _PARTS.items()),
        pl.col(price_column("requests")).fill_null(0),
    )
    error = owed - pl.col("cost_nano").cast(pl.Int128) * YOCTO_PER_NANO
    differs = (error * 2 > YOCTO_PER_NANO) | (error * 2 < -YOCTO_PER_NANO)
    return priced.select((pl.col("cost_nano").is_not_null() & differs).fill_null(True)).to_series()


def _price(count: str) -> pl.Expr:
    """What one of `count` costs, in yoctodollars."""
    unit, whole = _PARTS.get(count, (count, None))
    own = pl.col(price_column(unit))
    return own.fill_null(_price(whole)) if whole else own.fill_null(0)


def _yocto(count: str, price: pl.Expr) -> pl.Expr:
    return pl.col(count).fill_null(0).cast(pl.Int128) * price
