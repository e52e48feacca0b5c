"""Trace and span ids: bytes on the wire, lower-case hex in columns (W3C Trace Context, section 3.2.2)."""

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.columns import pc

TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8


def hex_ids(ids: pa.Array) -> pl.Series:
    """Binary ids as lower-case hex text."""
    return pl.Series(ids, dtype=pl.Binary).bin.encode("hex")


def invalid_ids(ids: pa.Array, size: int) -> np.ndarray:
    """Which binary ids have not `size` bytes, or are all zeros (bool[n])."""
    zero = pc.equal(ids, pa.scalar(bytes(size), ids.type))
    wrong = pc.not_equal(pc.binary_length(ids), size)
    return pc.or_(zero, wrong).to_numpy(zero_copy_only=False)
