"""Cut texts to a number of bytes without cutting a character in two."""

import numpy as np
import polars as pl

from transforms.columns import replace_rows


def cut(values: pl.Series, limit: int) -> tuple[pl.Series, np.ndarray]:
    """`values` (str) with at most `limit` UTF-8 bytes each, and which were cut (bool[n]); NULL stays NULL."""
    long = (values.str.len_bytes() > limit).fill_null(value=False)
    if not long.any():
        return values, np.zeros(len(values), bool)
    data = values.filter(long).cast(pl.Binary).to_frame("data")
    # a cut is clean before a byte that begins a character, which has at most four
    ends = [pl.when(_begins(limit - back)).then(limit - back) for back in range(min(4, limit + 1))]
    shorter = data.select(pl.col("data").bin.slice(0, pl.coalesce(ends)).cast(pl.String)).to_series()
    return replace_rows(values, long.arg_true(), shorter), long.to_numpy()


def _begins(at: int) -> pl.Expr:
    byte = pl.col("data").bin.get(at)
    return (byte < 0x80) | (byte >= 0xC0)
