"""Base-2 exponential histograms of durations, as OpenTelemetry and Prometheus have them.

Source: OpenTelemetry specification, metrics data model, "ExponentialHistogram", mapping by logarithm. At scale s the
base is 2^(2^-s), and bucket i holds the values in (base^i, base^(i+1)]; a value that is not positive counts as zero.
Two histograms are merged by adding up their buckets.

SCALE 6 (base 1.0109) because a quantile must be within 1 % of the exact one: the value told for a bucket is that from
which both its ends are equally far, (base - 1) / (base + 1) = 0.54 %; scale 5 would be 1.08 % off.
"""

from collections.abc import Mapping

import numpy as np

SCALE = 6
BASE = 2.0 ** (2.0**-SCALE)


def buckets(values: np.ndarray) -> np.ndarray:
    """int16: the bucket of each of `values` (positive integers)."""
    return (np.ceil(np.log2(values) * 2**SCALE) - 1).astype(np.int16)


def quantile(histogram: Mapping[int, int], zeros: int, q: float) -> float | None:
    """The value at rank ceil(q * n) of n, the smallest at least, within 1 %; None when there are no values."""
    count = zeros + sum(histogram.values())
    if count == 0:
        return None
    rank = max(1, int(np.ceil(q * count)))
    if rank <= zeros:
        return 0.0
    seen = zeros
    for bucket, count in sorted(histogram.items()):
        seen += count
        if seen >= rank:
            return BASE**bucket * 2 * BASE / (1 + BASE)
    raise AssertionError("a rank is at most the number of values")
