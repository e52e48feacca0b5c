"""Small helpers on columns that Arrow and Polars have no handy form of."""

from typing import Any

import numpy as np
import polars as pl
import pyarrow.compute

# its functions are made when it is imported, so that no type checker knows them
pc: Any = pyarrow.compute


def replace_rows(values: pl.Series, rows: pl.Series, replacements: pl.Series) -> pl.Series:
    """`values` (str) with `replacements` at the positions `rows`; no text is copied, and `values` stays as it is."""
    index = np.arange(len(values))
    index[rows.to_numpy()] = np.arange(len(values), len(values) + len(replacements))
    return pl.concat([values, replacements.rename(values.name)], rechunk=False).gather(index)
