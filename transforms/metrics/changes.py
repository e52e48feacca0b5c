"""Changes: by how much what is told of calls moves the series of a minute.

A frame of *signs* is what they are made of: calls with the columns billed, error and attempt (Int64), 1 where the call
counts from now on, -1 where it does no more, and 0.
"""

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import MEASURES, METRIC_CHANGES, SERIES
from transforms.columns import intern
from transforms.metrics.histogram import buckets
from transforms.metrics.shown import ATTEMPT, BILLED, ERROR, shown
from transforms.traces.blocks import TOKENS, Block, expand

NAMES = tuple(name for name, _ in SERIES)
CELL = (*NAMES, "minute")
AMOUNTS = (
    *("calls", "errors", "attempts", "unpriced_calls", *TOKENS, "cost_nano"),
    *(f"{name}_zeros" for name in MEASURES),
)
_SECOND, _MINUTE = 10**9, 60 * 10**9
_EPOCH = pl.date(1970, 1, 1)


def changes_of(block: Block) -> tuple[pl.Series, pa.Table]:
    """What metrics show of each span from now on (see shown), and METRIC_CHANGES for the difference to before.

    A sighting of which nothing is shown, but may have been by a run that was cut off, is a change by nothing: so that
    the row is written again.
    """
    spans = block.spans
    now, before = shown(block), spans["shown"].to_numpy()
    touched = spans["fresh"].to_numpy() & spans["candidate"].to_numpy() & (now == 0)
    rows = np.flatnonzero((now != before) | touched)
    if not len(rows):
        return spans["shown"], METRIC_CHANGES.empty_table()
    calls = expand(block, spans[rows])
    signs = {
        name: pl.Series(_sign(now[rows], before[rows], bit))
        for name, bit in (("billed", BILLED), ("error", ERROR), ("attempt", ATTEMPT))
    }
    pieced = block.traces["pieced"][spans["trace"][rows]]
    return pl.Series("shown", now), changes(calls.with_columns(**signs, unsure=pieced))


def changes(signs: pl.DataFrame) -> pa.Table:
    """METRIC_CHANGES of `signs`, one row for each series and minute.

    signs: billed, error, attempt, unsure (bool); org, team, key_id, service, provider, request_model, response_model,
    operation, prompt_name, prompt_version, start (UTC ns), duration (ns), day, cost_status, cost_nano, ttft_ns, TOKENS.
    """
    answered = pl.col("response_model").fill_null("")
    calls = signs.with_columns(
        pl.when(answered != "").then(answered).otherwise("request_model").alias("model"),
        pl.when(pl.col("day") == _EPOCH).then(0).otherwise(pl.col("start") // _MINUTE * 60).alias("minute"),
    ).with_columns(pl.col(NAMES).fill_null(""))
    cell, cells = intern(calls, (*CELL, "unsure"))
    latencies = _latencies(calls)
    amounts = calls.select(
        pl.Series("cell", cell),
        pl.col("billed").alias("calls"),
        pl.col("error").alias("errors"),
        pl.col("attempt").alias("attempts"),
        (pl.col("billed") * (pl.col("cost_status") == "unpriced").fill_null(False)).alias("unpriced_calls"),
        *(pl.col(name).fill_null(0) * pl.col("billed") for name in (*TOKENS, "cost_nano")),
        *(
            (pl.col("billed") * pl.Series(values.filled(1) <= 0)).alias(f"{name}_zeros")
            for name, values in latencies.items()
        ),
    )
    sums = amounts.group_by("cell").sum().sort("cell").drop("cell")
    lists = _bucket_lists(cell, calls["billed"].to_numpy(), latencies, cells.height)
    found = pl.concat([cells, sums, lists.to_frame()], how="horizontal")
    return found.select(METRIC_CHANGES.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(METRIC_CHANGES)


def bucket_lists(long: pl.DataFrame, cells: int) -> pl.Series:
    """The column `buckets` of `cells` cells. long: cell, measure, bucket, n, each once; those of 0 are left out."""
    long = long.filter(pl.col("n") != 0).sort("cell", "measure", "bucket")
    offsets = np.searchsorted(long["cell"].to_numpy(), np.arange(cells + 1))
    kind = METRIC_CHANGES.field("buckets").type.value_type
    columns = [long[field.name].to_arrow().cast(field.type) for field in kind]
    items = pa.StructArray.from_arrays(columns, fields=list(kind))
    return pl.Series("buckets", pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items))


def _sign(now: np.ndarray, before: np.ndarray, bit: int) -> np.ndarray:
    return ((now & bit) > 0).astype(np.int64) - ((before & bit) > 0)


def _latencies(calls: pl.DataFrame) -> dict[str, np.ma.MaskedArray]:
    """ns of each of MEASURES, masked where not known; TPOT as in latency.time_per_output_token."""
    duration, ttft, output = (calls[name] for name in ("duration", "ttft_ns", "output_tokens"))
    known = ttft.is_not_null().to_numpy()
    first, tokens = ttft.fill_null(0).to_numpy(), output.fill_null(0).to_numpy()
    tpot = (duration.to_numpy() - first) // np.maximum(tokens - 1, 1)
    return {
        "duration": np.ma.array(duration.to_numpy(), mask=False),
        "ttft": np.ma.array(first, mask=~known),
        "tpot": np.ma.array(tpot, mask=~(known & (tokens >= 2))),
    }


def _bucket_lists(
    cell: np.ndarray, billed: np.ndarray, latencies: dict[str, np.ma.MaskedArray], cells: int
) -> pl.Series:
    parts = []
    for number, name in enumerate(MEASURES):
        values = latencies[name]
        rows = np.flatnonzero((values.filled(0) > 0) & (billed != 0))
        found = {"cell": cell[rows], "bucket": buckets(values.data[rows]), "n": billed[rows]}
        parts.append(pl.DataFrame(found).with_columns(measure=pl.lit(number, pl.Int8)))
    long = pl.concat(parts).group_by("cell", "measure", "bucket").agg(pl.col("n").sum())
    return bucket_lists(long, cells)
