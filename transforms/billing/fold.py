"""The fold that sees to it that a call which several traces saw is billed once.

Its rows are the claims of the fold over traces, those of one call in one bucket. A call that has one claim, as most
have, costs its place in state and says nothing. When a claim of another trace comes, all but one are taken back (see
duplicates); when the trace of that one takes it back itself, the next one bills.

State is that of segments: a chunk for the claims of each tick. A call that is seen again moves to the chunk of that
tick, and a chunk is dropped `horizon_ns` after it was written; then the reversals of its calls are told once more, so
that whatever an earlier run had told of them is superseded. A sighting after that bills as a call of its own, and a
trace that changes its mind about a call after that leaves what was told of it: the horizon must be longer than that
of traces, so that their last word finds their calls.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import CLAIMS
from transforms.billing.calls import CLAIM_CHUNKS, from_claims, unite
from transforms.billing.duplicates import told_anew
from transforms.folds.buckets import bucket_of
from transforms.folds.cold import expire, revive, store
from transforms.folds.segments import Head
from transforms.folds.step import Fold, State, Step
from transforms.folds.ticks import rested, ticking


@dataclass(frozen=True)
class BillSettings:
    """horizon_ns: how long a call is kept after its last sighting. tick_ns: least time between two ticks."""

    horizon_ns: int = 660 * 10**9
    tick_ns: int = 10**9


def make_bill(settings: BillSettings) -> Fold:
    """The fold over CLAIMS rows; out: "usage" (USAGE), reversals, and "changes" (METRIC_CHANGES), where not empty.

    Raises UnknownSchemaVersion on state that another version wrote.
    """
    return ticking(partial(_tick, settings), settings.tick_ns, CLAIMS)


def call_buckets(claims: pa.Table, buckets: int) -> np.ndarray:
    """The bucket, 0 to `buckets` - 1 (int64), of the call of each row of CLAIMS."""
    return bucket_of(pl.Series(claims["call_id"], dtype=pl.String), buckets)


def _tick(settings: BillSettings, state: State, head: Head, arrived: list[pa.Table], now: int) -> Step:
    news = from_claims([CLAIMS.empty_table(), *arrived])
    known = revive(state, head, np.unique(news["hash"].to_numpy()), CLAIM_CHUNKS)
    seen = unite(pl.concat([*known, news]))
    head, writes, expired = expire(state, head, seen["hash"].to_numpy(), now, CLAIM_CHUNKS)
    claims = pl.concat([seen, *expired])
    before = pl.concat([*known, *expired, claims.clear()])
    claims, usage, changes = told_anew(claims, np.arange(claims.height) >= seen.height, before)
    head, stored = store(state, head, claims.head(seen.height), now + settings.horizon_ns, CLAIM_CHUNKS)
    wake = max(int(head.dues[0]), now + settings.tick_ns) if len(head.dues) else None
    writes |= stored | rested(head, now, wake)
    out = (("usage", usage), ("changes", changes))
    return Step(writes, tuple((name, rows) for name, rows in out if rows.num_rows), wake_at=wake)
