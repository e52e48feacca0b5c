"""Cells: the series of one minute with what was added up of each, as the fold over metrics keeps them.

An organisation has at most so many series in a minute. The first that come are kept, of those that come together the
ones with the most attempts; all others are counted under OTHER, in a series for each team and key.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import MEASURES, METRICS
from transforms.columns import intern
from transforms.metrics.changes import AMOUNTS, NAMES, bucket_lists

OTHER = "(other)"
_OWNER = ("org", "team", "key_id")
_BOUNDED = tuple(name for name in NAMES if name not in _OWNER)


@dataclass(frozen=True)
class Cells:
    """The series of one minute.

    series: NAMES, AMOUNTS (Int64) and told (Int64), how often its row was written; in the order in which they came.
    buckets: cell (UInt32, row of `series`), measure (Int8), bucket (Int16), n (Int64), each once.
    """

    series: pl.DataFrame
    buckets: pl.DataFrame


def from_changes(rows: pl.DataFrame) -> Cells:
    """The cells of METRIC_CHANGES rows of one minute, each a row of its own: see `add`."""
    series = rows.select(*NAMES, *AMOUNTS, told=pl.lit(0, pl.Int64))
    cell = pl.int_range(pl.len(), dtype=pl.UInt32).alias("cell")
    items = rows.select(cell, "buckets").filter(pl.col("buckets").list.len() > 0).explode("buckets")
    return Cells(series, items.unnest("buckets"))


def add(before: Cells | None, news: Cells, limit: int) -> tuple[Cells, np.ndarray, np.ndarray]:
    """`before` and `news` added up, at most `limit` series an organisation and one OTHER for each of its keys.

    Also two arrays with the rows of the result: those that `news` are part of, and those of OTHER.
    """
    known = 0 if before is None else before.series.height
    series = news.series if before is None else pl.concat([before.series, news.series])
    buckets = news.buckets.with_columns(pl.col("cell") + known)
    buckets = buckets if before is None else pl.concat([before.buckets, buckets])
    united, cell = _unite(Cells(series, buckets))
    if united.series.height > limit:
        beyond = _beyond(united.series, known, limit)
        if beyond.any():
            named = united.series.with_columns(
                pl.when(pl.Series(beyond)).then(pl.lit(OTHER)).otherwise(name).alias(name) for name in _BOUNDED
            )
            united, again = _unite(Cells(named, united.buckets))
            cell = again[cell]
    return united, np.unique(cell[known:]), np.flatnonzero(_is_other(united.series))


def rows(cells: Cells, which: np.ndarray, minute: int, epoch: int) -> tuple[Cells, pa.Table]:
    """METRICS of the rows `which` of `cells`, and `cells` that know that they were written; minute: UTC s.

    A row's version is epoch * 2^20 and how often it was written: it grows when the epoch does, or within it. A latency
    that was taken back before it came is not shown.
    """
    told = cells.series["told"].to_numpy().copy()
    told[which] += 1
    cells = Cells(cells.series.with_columns(told=pl.Series(told)), cells.buckets)
    found = cells.series[which]
    number = np.full(cells.series.height, -1)
    number[which] = np.arange(len(which))
    buckets = cells.buckets.with_columns(cell=pl.Series(number[cells.buckets["cell"].to_numpy()])).filter(
        pl.col("cell") >= 0, pl.col("n") > 0
    )
    found = found.with_columns(pl.col(f"{name}_zeros").clip(lower_bound=0) for name in MEASURES)
    columns = {name: found[name].to_arrow() for name in (*NAMES, *AMOUNTS)}
    for place, name in enumerate(MEASURES):
        columns[f"{name}_ns"] = _maps(buckets.filter(measure=place), len(which))
    columns["minute"] = pa.array(np.full(len(which), minute)).cast(METRICS.field("minute").type)
    columns["version"] = pa.array(found["told"].to_numpy().astype(np.uint64) + np.uint64(epoch << 20))
    return cells, pa.table([columns[field.name].cast(field.type) for field in METRICS], schema=METRICS)


def _unite(cells: Cells) -> tuple[Cells, np.ndarray]:
    """`cells` with each series once, in order, and the row that each row has become."""
    cell, names = intern(cells.series, NAMES)
    if (
        names.height == cells.series.height
        and not cells.buckets.select("cell", "measure", "bucket").is_duplicated().any()
    ):
        return cells, cell
    sums = (
        cells.series.select(pl.Series("cell", cell), *AMOUNTS, "told")
        .group_by("cell")
        .agg(pl.col(AMOUNTS).sum(), pl.col("told").max())
    )
    buckets = cells.buckets.with_columns(cell=pl.Series(cell[cells.buckets["cell"].to_numpy()]))
    buckets = buckets.group_by("cell", "measure", "bucket").agg(pl.col("n").sum()).filter(pl.col("n") != 0)
    return Cells(pl.concat([names, sums.sort("cell").drop("cell")], how="horizontal"), buckets), cell


def _beyond(series: pl.DataFrame, known: int, limit: int) -> np.ndarray:
    """Which rows are too many for their organisation (bool); the first `known` came before."""
    old = pl.int_range(pl.len()) < known
    ranked = series.select(
        "org",
        "attempts",
        *_BOUNDED,
        row=pl.int_range(pl.len()),
        other=_other(),
        rank=pl.when(old).then(pl.int_range(pl.len())).otherwise(known),
    ).filter(~pl.col("other"))
    ranked = ranked.sort(
        "org", "rank", "attempts", *_BOUNDED, descending=[False, False, True, *[False] * len(_BOUNDED)]
    )
    too_many = ranked.filter(pl.int_range(pl.len()).over("org") >= limit)
    flags = np.zeros(series.height, bool)
    flags[too_many["row"].to_numpy()] = True
    return flags


def _other() -> pl.Expr:
    return pl.all_horizontal(pl.col(name) == OTHER for name in _BOUNDED)


def _is_other(series: pl.DataFrame) -> np.ndarray:
    return series.select(_other()).to_series().to_numpy()


def _maps(buckets: pl.DataFrame, cells: int) -> pa.MapArray:
    """The histogram of each of `cells` cells."""
    lists = bucket_lists(buckets, cells).to_arrow()
    items = lists.values
    values = items.field("n").cast(pa.uint64())
    return pa.MapArray.from_arrays(lists.offsets.cast(pa.int32()), items.field("bucket"), values)
