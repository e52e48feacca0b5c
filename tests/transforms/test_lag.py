import numpy as np
import pytest

from transforms.lag import BOUNDS_MS, BUCKETS, lag_counts

NOW = 1_800_000_000 * 10**9
MS = 10**6


def _counts(*lags_ms: float, items: tuple[int, ...] | None = None):
    received_at = np.array([NOW - int(lag * MS) for lag in lags_ms], np.int64)
    return lag_counts(received_at, np.array(items or [1] * len(lags_ms)), NOW)


def test_each_bucket_counts_all_items_that_took_no_longer():
    counts = _counts(40, 120, 120_001, items=(3, 5, 7))
    assert (counts["50"], counts["100"], counts["150"], counts["120000"], counts["180000"]) == (3, 3, 8, 8, 15)
    assert list(counts) == list(BUCKETS)
    assert list(counts.values()) == sorted(counts.values())


@pytest.mark.parametrize("bound", [500, 2_000, 5_000, 30_000])
def test_an_objective_is_a_bound_and_belongs_to_the_bucket_below_it(bound):
    assert bound in BOUNDS_MS
    assert _counts(bound)[str(bound)] == 1
    assert _counts(bound + 1)[str(bound)] == 0


def test_a_lag_beyond_the_last_bound_is_in_the_last_bucket_alone():
    counts = _counts(10 * BOUNDS_MS[-1])
    assert counts["Inf"] == 1
    assert sum(counts.values()) == 1


def test_a_record_from_a_clock_that_is_ahead_took_no_time():
    assert _counts(-5_000)["50"] == 1


def test_no_records_are_a_zero_in_every_bucket():
    assert set(_counts().values()) == {0}
