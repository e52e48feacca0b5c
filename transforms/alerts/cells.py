"""The cells of the last minutes, and what each rule's series are in them.

A cell is one row of METRICS: an organisation's counts of one minute and one combination of dimensions. It is told again
with a greater version whenever it changed, and counts once.
"""

from collections.abc import Iterable, Iterator

import polars as pl
import pyarrow as pa

from transforms.alerts.rules import BUDGET_DIMENSIONS, COUNTERS, DIMENSIONS, HISTOGRAMS, UNPRICED, Kind, Rule

MINUTE_NS = 60 * 10**9

# What a series adds up: n the numerator, d the denominator, c the calls; of a histogram z the zeros, and by its index
# each bucket.
Sums = dict[str, int]

_KEY = {"org", "minute", *DIMENSIONS, *BUDGET_DIMENSIONS}
_BUCKETS = pl.List(pl.Struct({"key": pl.Int16, "value": pl.UInt64}))
_TOKENS = ("input_tokens", "output_tokens")


def metric_cells(tables: Iterable[pa.Table]) -> pl.DataFrame:
    """Rows of METRICS as cells: the minute a number of minutes since 1970, of each cell the greatest version."""
    frame = pl.concat([_frame(table) for table in tables])
    minute = pl.col("minute").dt.epoch("s").cast(pl.Int64) // 60
    return newest(frame.with_columns(minute, *(pl.col(f"{name}_ns").cast(_BUCKETS) for name in HISTOGRAMS)))


def budget_cells(tables: Iterable[pa.Table]) -> pl.DataFrame:
    """Rows of BUDGET_BALANCES as cells; of each budget and minute the last one, windows that are over left out."""
    frame = pl.concat([_frame(table) for table in tables])
    frame = frame.filter(pl.col("window_end").is_null() | (pl.col("window_end") > pl.col("time")))
    minute = pl.col("time").dt.epoch("ns").cast(pl.Int64) // MINUTE_NS
    used = pl.col("spent") + pl.col("pending")
    return newest(frame.select("org", *BUDGET_DIMENSIONS, "limit", "version", minute=minute, used=used))


def newest(cells: pl.DataFrame) -> pl.DataFrame:
    """Of each cell the row of the greatest version."""
    key = [name for name in cells.columns if name in _KEY]
    return cells.sort("version", maintain_order=True).unique(key, keep="last", maintain_order=True)


def sums_of(cells: pl.DataFrame, rule: Rule) -> Iterator[tuple[int, tuple[str, ...], Sums]]:
    """(minute, group, sums) of what `rule` measures in `cells`, all of one organisation."""
    for name, values in rule.where:
        cells = cells.filter(pl.col(name).is_in(values))
    keys = ["minute", *rule.by]
    if rule.kind is Kind.BUDGET:
        found = cells.group_by(keys).agg(n=pl.col("used").sum(), d=pl.col("limit").sum(), c=pl.len())
    else:
        found = cells.group_by(keys).agg(
            _numerator(rule).sum().alias("n"), c=pl.col("calls").sum(), **_denominator(rule)
        )
    names = [name for name in ("n", "d", "c") if name in found.columns]
    histograms = _histograms(cells, rule, keys) if rule.signal.quantile else {}
    for row in found.sort(keys).iter_rows(named=True):
        group = tuple(row[name] for name in rule.by)
        sums = {name: row[name] for name in names if row[name]}
        yield row["minute"], group, sums | histograms.get((row["minute"], *group), {})


def needs_histograms(rules: Iterable[Rule]) -> bool:
    return any(rule.signal.quantile for rule in rules)


def _numerator(rule: Rule) -> pl.Expr:
    metric = rule.signal.metric
    if metric == UNPRICED:
        tokens = sum((pl.col(name) for name in _TOKENS), pl.lit(0))
        made_nothing = (pl.col("cost_nano") == 0) & (tokens > 0)
        return pl.when(made_nothing).then(pl.col("calls")).otherwise(pl.col("unpriced_calls"))
    return pl.col("calls") if metric in HISTOGRAMS else pl.col(COUNTERS[metric])


def _denominator(rule: Rule) -> dict[str, pl.Expr]:
    return {"d": pl.col(COUNTERS[rule.signal.over]).sum()} if rule.signal.over else {}


def _histograms(cells: pl.DataFrame, rule: Rule, keys: list[str]) -> dict[tuple, Sums]:
    """By minute and group the counts of the buckets of the rule's histogram; index as text, 'z' for the zeros."""
    buckets, zeros_of = f"{rule.signal.metric}_ns", f"{rule.signal.metric}_zeros"
    found: dict[tuple, Sums] = {}
    exploded = cells.select(*keys, buckets).explode(buckets).drop_nulls(buckets).unnest(buckets)
    for *key, index, count in exploded.group_by([*keys, "key"]).agg(pl.col("value").sum()).iter_rows():
        found.setdefault(tuple(key), {})[str(index)] = count
    for *key, zeros in cells.group_by(keys).agg(pl.col(zeros_of).sum()).iter_rows():
        if zeros:
            found.setdefault(tuple(key), {})["z"] = zeros
    return found


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))
