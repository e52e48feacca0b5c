"""Small helpers on columns that Arrow and Polars have no handy form of."""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute

# its functions are made when it is imported, so that no type checker knows them
pc: Any = pyarrow.compute


def replace_rows(values: pl.Series, rows: pl.Series, replacements: pl.Series) -> pl.Series:
    """`values` (str) with `replacements` at the positions `rows`; no text is copied, and `values` stays as it is."""
    index = np.arange(len(values))
    index[rows.to_numpy()] = np.arange(len(values), len(values) + len(replacements))
    return pl.concat([values, replacements.rename(values.name)], rechunk=False).gather(index)


def text_lists(owner: np.ndarray, texts: pl.Series, owners: int) -> pl.Series:
    """list[str] of each of `owners` owners out of `texts`, whose `owner` ascends."""
    offsets = np.searchsorted(owner, np.arange(owners + 1))
    values = texts.to_arrow().cast(pa.large_string())
    return pl.Series(pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values), dtype=pl.List(pl.String))


def intern(frame: pl.DataFrame, columns: tuple[str, ...]) -> tuple[np.ndarray, pl.DataFrame]:
    """The distinct rows of `columns`, and for each row of `frame` the number of its own."""
    groups = frame.with_row_index("rows").group_by(columns, maintain_order=True).agg("rows")
    return group_codes(groups["rows"], frame.height), groups.drop("rows")


def group_codes(members: pl.Series, length: int) -> np.ndarray:
    """uint32: for each of `length` rows the group that lists it."""
    codes = np.empty(length, np.uint32)
    codes[members.explode().to_numpy()] = np.repeat(np.arange(len(members)), members.list.len().to_numpy())
    return codes
