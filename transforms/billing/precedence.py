"""Which of several records of one call is the better one: an order by their content alone.

1. One with usage; 2. one whose counts the provider reported, not counted or estimated from text; 3. the one that
knows the most numbers (a part of zero tokens says no more than none); 4. one of an authoritative dialect, written by
the provider's own SDK: it is exact where a layer around it is a few tokens off; 5. the one that started last, then
the shortest: the innermost layer. What is still equal goes by id.
"""

from functools import cache

import polars as pl

from schemas.dialects import dialects
from transforms.traces.blocks import TOKENS

# Columns to sort by, and in which order: the best record comes first.
ORDER = ("usage", "reported", "known", "authoritative", "start", "duration")
DESCENDING = (True, True, True, True, True, False)


def merits(usage: pl.Expr) -> tuple[pl.Expr, ...]:
    """The columns of ORDER, from: token_source, the token columns, cost_nano, dialect, start and duration (ns).

    usage: bool, whether the record counts as one with usage.
    """
    return (
        usage.alias("usage"),
        (pl.col("token_source") == "reported").fill_null(False).alias("reported"),
        pl.sum_horizontal(pl.col(*TOKENS, "cost_nano").fill_null(0) != 0).alias("known"),
        pl.col("dialect").is_in(_authoritative()).fill_null(False).alias("authoritative"),
        pl.col("start"),
        pl.col("duration"),
    )


@cache
def _authoritative() -> list[str]:
    return [dialect.name for dialect in dialects() if dialect.usage.authoritative]
