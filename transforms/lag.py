"""How long items were on their way, as a histogram of fixed bounds that any number of writers can add to."""

from collections.abc import Mapping

import numpy as np

# Upper bounds of the buckets in ms. The objectives are bounds, so that the share below each of them is exact: 500 ms,
# 2 s and 5 s from the collector to the store, 30 s for a fresh table.
BOUNDS_MS = (
    *(50, 100, 150, 200, 300, 400, 500, 750, 1_000, 1_500, 2_000, 3_000, 4_000, 5_000, 7_500, 10_000, 15_000, 20_000),
    *(30_000, 45_000, 60_000, 90_000, 120_000, 180_000, 300_000, 600_000, 1_200_000, 1_800_000, 3_600_000),
    *(7_200_000, 14_400_000, 86_400_000),
)
BUCKETS = (*map(str, BOUNDS_MS), "Inf")


def lag_counts(received_at: np.ndarray, items: np.ndarray, now: int) -> Mapping[str, int]:
    """Bucket -> items that took no longer than it says.

    received_at: UTC ns (int64) of each record; items: how many were in it; now: UTC ns. A record from the future, by a
    clock that is ahead, took no time.
    """
    took_ms = (now - received_at) / 1e6
    per_bucket = np.bincount(np.searchsorted(BOUNDS_MS, took_ms), weights=items, minlength=len(BUCKETS))
    return dict(zip(BUCKETS, per_bucket.cumsum().astype(np.int64).tolist(), strict=True))
