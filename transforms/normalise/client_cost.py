"""The cost that a client computed itself, in nano-dollars."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.normalise.documents import distinct

_NANO = Decimal(10) ** 9
_LARGEST = 2**62


def nano_dollars(text: str) -> int | None:
    """US dollars in decimal notation as integer nano-dollars, rounded half to even; None when it is no amount."""
    try:
        amount = (Decimal(text.strip()) * _NANO).to_integral_value(rounding=ROUND_HALF_EVEN)
    except InvalidOperation:
        return None
    return int(amount) if amount.is_finite() and 0 <= amount <= _LARGEST else None


def client_cost(cost: pl.Series, wanted: np.ndarray, failed: np.ndarray) -> pl.Series:
    """Int64 nano-dollars of the spans that are `wanted`, NULL elsewhere. A cost of zero on a failed call means that
    the client knew none."""
    rows = np.flatnonzero(wanted & cost.is_not_null().to_numpy())
    codes, texts = distinct(cost.gather(rows).to_arrow().cast(pa.large_string()))
    amounts = _column(texts).gather(codes)
    amounts = amounts.zip_with(
        ~(pl.Series(failed[rows]) & (amounts == 0).fill_null(False)), pl.Series([None], dtype=pl.Int64)
    )
    return pl.repeat(None, len(cost), dtype=pl.Int64, eager=True).scatter(rows, amounts)


def _column(texts: Sequence[str]) -> pl.Series:
    return pl.Series([nano_dollars(text) for text in texts], dtype=pl.Int64)
