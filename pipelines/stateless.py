"""The stateless path as both engines run it on one batch: observe, the records that nobody owns, the buckets."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.limits import Limits
from schemas.price_book import PriceBook
from transforms.dead_letters import Refused, dead_letters
from transforms.folds.buckets import bucket_of
from transforms.normalise.count_text import TokenCache
from transforms.observe import Observed, observe
from transforms.otlp.requests import request_rows

# The order of writing: `requests` says that a record's rows are in the store, so it comes last.
FACTS = ("spans", "messages", "span_logs", "dead_letters", "requests")

_MISSING_TENANT = "the record has no `org` header: it came past the gateway without a tenant"


def observe_records(
    raw: pa.Table, book: PriceBook, limits: Limits, code_version: str, tokens: TokenCache | None = None
) -> Observed:
    """`observe` over the records of `raw` (schema RAW); a record without an org is a dead letter (MissingTenant)."""
    owned = (pl.Series(raw["org"], dtype=pl.String).fill_null("") != "").to_numpy()
    observed = observe(raw.filter(pa.array(owned)), book, limits, code_version, tokens)
    if owned.all():
        return observed
    stray = raw.filter(pa.array(~owned))
    bodies = stray["body"].to_pylist()
    refused = [Refused(row, -1, body, "MissingTenant", _MISSING_TENANT) for row, body in enumerate(bodies)]
    ones = np.ones(stray.num_rows, np.int64)
    more = {
        "dead_letters": dead_letters(stray, refused, "source", code_version),
        "requests": request_rows(stray, ones, ones, sorted(set(stray["signal"].to_pylist()))),
    }
    tables = observed.tables
    return replace(observed, tables=tables | {t: pa.concat_tables([tables[t], more[t]]) for t in more})


def split_by_bucket(rows: pa.Table, of_row: np.ndarray) -> Iterator[tuple[int, pa.Table]]:
    """(bucket, its rows of `rows` in their order) for each bucket that has any; of_row: the bucket of each row."""
    for bucket in np.unique(of_row).tolist():
        yield bucket, rows.filter(pa.array(of_row == bucket))


def trace_buckets(skeletons: pa.Table, buckets: int) -> np.ndarray:
    """The bucket, 0 to `buckets` - 1 (int64), of the trace of each row of SKELETONS."""
    return bucket_of(pl.Series(skeletons["trace_id"], dtype=pl.String), buckets)
