"""What a block of open spans says at this moment: trace rows and ledger entries."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import TRACES, USAGE
from transforms.billing import charges, reversals, verdicts
from transforms.blocks import Block, expand
from transforms.trace_rows import Wood, trace_rows
from transforms.tree import build

_LATEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Evaluation:
    """block: as given, with what was told about each call written down. traces: TRACES. usage: USAGE rows."""

    block: Block
    traces: pa.Table
    usage: pa.Table


def evaluate(block: Block, emit: np.ndarray, final: np.ndarray) -> Evaluation:
    """Rows of the traces flagged in `emit`, and all ledger entries that are new.

    emit, final: bool, one item per trace; `final` traces must be in `emit`, and all their reversals are told
    again, so that whatever part of the trace an earlier run had told about is superseded.
    """
    fresh = block.spans["fresh"].to_numpy()
    candidate = block.spans["candidate"].to_numpy()
    entries = []
    bills = block.spans.filter(fresh & candidate & block.spans["won"].to_numpy())
    if bills.height:
        entries.append(charges(expand(block, bills)))
    candidates = np.bincount(block.trace_of()[candidate], minlength=block.traces.height)
    need = emit | (block.any_of(fresh) & (candidates > 1))
    if not need.any():
        return Evaluation(block, TRACES.empty_table(), _joined(entries))
    wood, verdict = _wood(block, need)
    block, told = _tell(block, wood, verdict, final)
    entries.append(told)
    traces = trace_rows(block, wood, emit, final) if emit.any() else TRACES.empty_table()
    return Evaluation(block, traces, _joined(entries))


def _wood(block: Block, need: np.ndarray) -> tuple[Wood, pl.DataFrame]:
    """The winners of the traces flagged in `need` with their tree, and the verdict on each."""
    keep = block.spans["won"].to_numpy() & need[block.trace_of()]
    spans = block.spans.with_row_index("row").filter(keep).sort("trace", "start", "span")
    start = np.maximum(spans["start"].to_numpy(), 0)
    end = start + np.clip(spans["duration"].to_numpy(), 0, _LATEST - start)
    calls = block.sides["call"][spans["call"]]
    spans = pl.concat([spans, calls], how="horizontal").with_columns(
        trace=spans["trace"].cast(pl.Int64), start=pl.Series(start), end=pl.Series(end)
    )
    trace, span, parent = (spans[name].to_numpy() for name in ("trace", "span", "parent"))
    forest = build(trace, span, parent)
    mixed = block.any_of(block.spans["mixed"].to_numpy())[trace]
    verdict = verdicts(spans, forest, mixed)
    return Wood(spans, forest, spans["billable"].to_numpy() & ~verdict["gone"].to_numpy()), verdict


def _tell(block: Block, wood: Wood, verdict: pl.DataFrame, final: np.ndarray) -> tuple[Block, pa.Table]:
    """The reversals that say something new, or the last word, and the block that knows of them."""
    spans = wood.spans.select("row", "trace", "told").hstack(verdict)
    spans = spans.filter(pl.col("may") & ((pl.col("code") != pl.col("told")) | pl.Series(final[wood.column("trace")])))
    if spans.is_empty():
        return block, USAGE.empty_table()
    rows = spans["row"].to_numpy()
    told = block.spans["told"].to_numpy().copy()
    told[rows] = spans["code"].to_numpy()
    sightings = block.counts()[spans["trace"].to_numpy()]
    calls = expand(block, block.spans[rows]).with_columns(spans["gone"], spans["reason"], sightings=sightings)
    block = replace(block, spans=block.spans.with_columns(told=pl.Series(told)))
    return block, reversals(calls)


def _joined(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables) if tables else USAGE.empty_table()
