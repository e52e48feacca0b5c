"""What metrics count of each span of a block at this moment, as bits: a change is the difference to the bits before.

BILLED: the call counts with its tokens, cost and latency, as the ledger says by now. ERROR: it failed, and no call is
directly below it, which would be the one that failed. ATTEMPT: it is billed, or it failed and bills nothing.
"""

import numpy as np
import polars as pl

from transforms.traces.blocks import Block

BILLED, ERROR, ATTEMPT = 1, 2, 4

# Of a call's last reversal, what was told: nothing, or that it stands.
_NOT_GONE = 2


def shown(block: Block) -> np.ndarray:
    """uint8: the bits of each row of the spans; only the sighting that won has any."""
    spans, label = block.spans, block.sides["label"]
    won, candidate = spans["won"].to_numpy(), spans["candidate"].to_numpy()
    billed = won & candidate & (spans["told"].to_numpy() < _NOT_GONE)
    of = spans["label"].to_numpy()
    call = label.select((pl.col("cost_status") != "none").fill_null(False)).to_series().to_numpy()
    failed = call & label.select((pl.col("status") == "error").fill_null(False)).to_series().to_numpy()
    if not failed.any():
        return billed * np.uint8(BILLED | ATTEMPT)
    error = won & failed[of]
    error[error] = ~_above_a_call(spans, error, won & call[of])
    bits = billed * np.uint8(BILLED) | error * np.uint8(ERROR)
    return bits | (billed | (error & ~candidate)) * np.uint8(ATTEMPT)


def _above_a_call(spans: pl.DataFrame, asked: np.ndarray, calls: np.ndarray) -> np.ndarray:
    """Which of the `asked` rows are the parent of one of `calls` (both bool, a flag for each row)."""
    parents = spans.filter(calls).select("trace", span="parent")
    own = spans.filter(asked).select("trace", "span").with_row_index("row")
    found = own.join(parents, on=["trace", "span"], how="semi")["row"].to_numpy()
    above = np.zeros(own.height, bool)
    above[found] = True
    return above
