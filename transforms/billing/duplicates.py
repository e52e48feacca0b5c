"""Which trace bills a call that several of them saw, and the ledger rows that say so.

Of the claims on one call that stand in their own traces the best record bills (see precedence, then the smallest
trace and span id); the others are *beaten*. Two attempts of a request have two response ids, so they are two calls.

Order of arrival. As in billing, which rows are in the ledger rests on a predicate, *may*, that can only become true
as claims arrive, and that holds wherever a claim was ever beaten:
- traces decide among their own spans, so `may` needs a claim of another trace;
- if no claim on the call is mixed, records are fixed, and the claim that beats another is a better record of another
  trace. That there is one stays true, even when it no longer stands itself;
- if one is mixed, `may` holds for all.
Each claim of which `may` holds has a reversal row of its own kind, negative when it is beaten and else zero. Its
version is the sum of the versions of all claims on the call: it grows whenever the content changes.
"""

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import METRIC_CHANGES, USAGE
from transforms.billing.calls import CALL, CLAIM
from transforms.billing.ledger import STANDS, call_ids, entry_ids, taken_back
from transforms.billing.precedence import DESCENDING, ORDER, merits
from transforms.folds.buckets import id_words, mix
from transforms.metrics.changes import changes

TAKEN_BACK = "taken back in its trace"

# What is told of a claim that is not beaten; the codes of one that is are greater.
_LAST_UNBEATEN = 2
_NOT_BEATEN = pl.when("stands").then(1).otherwise(2)


def told_anew(claims: pl.DataFrame, final: np.ndarray, before: pl.DataFrame) -> tuple[pl.DataFrame, pa.Table, pa.Table]:
    """USAGE rows of the reversals that say something new, or the last word; `claims`, which know of them; and
    METRIC_CHANGES for what they take back.

    claims: see calls, all claims on each call. final: bool, for each claim whether it is the last word. before: those
    of `claims` that were known, as they were.
    """
    several = claims.with_row_index("row").filter(claims.select(CALL).is_duplicated())
    nothing = USAGE.empty_table(), METRIC_CHANGES.empty_table()
    if several.is_empty():
        return claims, *nothing
    judged = _judged(several)
    last = pl.Series(final[judged["row"].to_numpy()])
    news = judged.filter(pl.col("may") & ((pl.col("code") != pl.col("told")) | last))
    if news.is_empty():
        return claims, *nothing
    told = claims["told"].to_numpy().copy()
    told[news["row"].to_numpy()] = news["code"].to_numpy()
    return claims.with_columns(told=pl.Series(told)), _reversals(news), _changes(news, before)


def _changes(news: pl.DataFrame, before: pl.DataFrame) -> pa.Table:
    """What the `news` take back from now on, less what was taken back of the same claims `before`."""
    was = before.filter(pl.col("told") > _LAST_UNBEATEN).join(news, on=CLAIM, how="semi")
    taken, given = (
        news.select(*was.columns, billed=-pl.col("gone").cast(pl.Int64)),
        was.with_columns(billed=pl.lit(1, pl.Int64)),
    )
    signs = pl.concat([taken, given])
    return changes(signs.with_columns(error=pl.lit(0, pl.Int64), attempt="billed", unsure=pl.lit(False)))


def _judged(claims: pl.DataFrame) -> pl.DataFrame:
    """`claims` in the order of (call, precedence), further columns gone, may, by_trace, by_span, code, sum."""
    usage = pl.any_horizontal(pl.col("input_tokens", "output_tokens").is_not_null())
    ranked = claims.with_columns(*merits(usage)).sort(
        *CALL, *ORDER, "trace_id", "span_id", descending=[False, False, *DESCENDING, False, False]
    )
    rank, elsewhere = pl.int_range(pl.len()), pl.col("trace_id") != pl.col("trace_id").first()
    ranked = ranked.with_columns(
        pl.col("trace_id").filter("stands").first().over(CALL).alias("by_trace"),
        pl.col("span_id").filter("stands").first().over(CALL).alias("by_span"),
        (elsewhere | (rank > rank.filter(elsewhere).min())).fill_null(False).over(CALL).alias("better_elsewhere"),
        (elsewhere.any() & pl.col("mixed").any()).over(CALL).alias("unsure"),
        pl.col("version").sum().over(CALL).alias("sum"),
    )
    best = (pl.col("span_id") == pl.col("by_span")) & (pl.col("trace_id") == pl.col("by_trace"))
    ranked = ranked.with_columns(gone=(pl.col("stands") & ~best).fill_null(False))
    ranked = ranked.with_columns(may=pl.col("gone") | pl.col("unsure") | pl.col("better_elsewhere"))
    return ranked.with_columns(code=pl.when("gone").then(_codes(ranked)).otherwise(_NOT_BEATEN).cast(pl.UInt32))


def _codes(ranked: pl.DataFrame) -> pl.Series:
    """uint32: changes with what the reversal of a beaten claim says, beyond those of claims that are not."""
    by, trace = (id_words(ranked[name]) for name in ("by_span", "by_trace"))
    words = mix(mix(by) ^ trace ^ mix(ranked["record"].to_numpy()))
    return pl.Series(np.maximum(words >> np.uint64(32), 3).astype(np.uint32))


def _reversals(news: pl.DataFrame) -> pa.Table:
    duplicate = pl.format("duplicate of span {} in trace {}", "by_span", "by_trace")
    kept = pl.when("stands").then(pl.lit(STANDS)).otherwise(pl.lit(TAKEN_BACK))
    calls = news.with_columns(call_id=call_ids(news), reason=pl.when("gone").then(duplicate).otherwise(kept))
    return taken_back(calls, entry_ids(calls, "duplicate", "call_id", "trace_id", "span_id"), version="sum")
