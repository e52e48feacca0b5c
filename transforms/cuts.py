"""Cut texts to a number of bytes without cutting a character in two."""

import numpy as np
import polars as pl

from transforms.columns import replace_rows


def cut(values: pl.Series, limit: int) -> tuple[pl.Series, np.ndarray]:
    """`values` (str) with at most `limit` UTF-8 bytes each, and which were cut (bool[n]); NULL stays NULL."""
    long = (values.str.len_bytes() > limit).fill_null(value=False)
    if not long.any():
        return values, np.zeros(len(values), bool)
    data = values.filter(long).cast(pl.Binary)
    # a character has at most four bytes: one of these ends does not split one
    ends = [data.bin.slice(0, limit - back).cast(pl.String, strict=False) for back in range(min(4, limit + 1))]
    shorter = pl.select(pl.coalesce(ends)).to_series()
    return replace_rows(values, long.arg_true(), shorter), long.to_numpy()
