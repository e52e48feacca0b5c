"""What a block of open spans says at this moment: trace rows, ledger entries, claims on calls, changes of metrics."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import CLAIMS, TRACES, USAGE
from transforms.billing.claims import claims
from transforms.billing.ledger import call_ids, charges, reversals, verdicts
from transforms.metrics.changes import changes_of
from transforms.traces.blocks import JUDGED, Block, expand
from transforms.traces.rows import Wood, trace_rows
from transforms.traces.tree import build

_LATEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Evaluation:
    """block: as given, with what was told of each call written down. traces: TRACES. usage: USAGE. claims: CLAIMS.
    changes: METRIC_CHANGES."""

    block: Block
    traces: pa.Table
    usage: pa.Table
    claims: pa.Table
    changes: pa.Table


def evaluate(block: Block, emit: np.ndarray, final: np.ndarray) -> Evaluation:
    """Rows of the traces flagged in `emit`, and all ledger entries and claims that are new.

    emit, final: bool, one item per trace; `final` traces must be in `emit`, and all their reversals are told
    again, so that whatever part of the trace an earlier run had told about is superseded.
    """
    fresh = block.spans["fresh"].to_numpy()
    candidate = block.spans["candidate"].to_numpy()
    charge = fresh & candidate & block.spans["won"].to_numpy()
    candidates = np.bincount(block.trace_of()[candidate], minlength=block.traces.height)
    # A call with a reversal is judged again together with its charge, so that both tell the same numbers.
    judged = (candidates > 1) | block.any_of(block.spans["told"].to_numpy() > 0)
    need = emit | (block.any_of(fresh) & judged)
    told = _unjudged(np.flatnonzero(charge & ~need[block.trace_of()]))
    traces = TRACES.empty_table()
    if need.any():
        wood, verdict = _wood(block, need)
        told = pl.concat([told, _judged(wood, verdict, charge, final)])
        traces = trace_rows(block, wood, emit, final) if emit.any() else traces
    block, usage, claimed = _tell(block, told)
    counted, changed = changes_of(block)
    block = replace(block, spans=block.spans.with_columns(counted))
    return Evaluation(block, traces, usage, claimed, changed)


def _wood(block: Block, need: np.ndarray) -> tuple[Wood, pl.DataFrame]:
    """The winners of the traces flagged in `need` with their tree, and the verdict on each."""
    keep = block.spans["won"].to_numpy() & need[block.trace_of()]
    spans = block.spans.with_row_index("row").filter(keep).sort("trace", "start", "span")
    start = np.maximum(spans["start"].to_numpy(), 0)
    end = start + np.clip(spans["duration"].to_numpy(), 0, _LATEST - start)
    calls = block.sides["call"][spans["call"]]
    judged = block.sides["label"].select(JUDGED)[spans["label"]]
    spans = pl.concat([spans, calls, judged], how="horizontal").with_columns(
        trace=spans["trace"].cast(pl.Int64), start=pl.Series(start), end=pl.Series(end)
    )
    trace, span, parent = (spans[name].to_numpy() for name in ("trace", "span", "parent"))
    forest = build(trace, span, parent)
    mixed = block.any_of(block.spans["mixed"].to_numpy())[trace]
    verdict = verdicts(spans, forest, mixed)
    return Wood(spans, forest, spans["billable"].to_numpy() & ~verdict["gone"].to_numpy()), verdict


def _unjudged(rows: np.ndarray) -> pl.DataFrame:
    """What is told of calls whose trace has nothing yet that speaks against them: they are charged."""
    facts = {"charge": True, "reverse": False, "gone": False, "may": False, "reason": ""}
    literals = [pl.lit(value).alias(name) for name, value in facts.items()]
    return pl.DataFrame({"row": rows.astype(np.uint32)}).with_columns(literals, code=pl.lit(0, pl.UInt32))


def _judged(wood: Wood, verdict: pl.DataFrame, charge: np.ndarray, final: np.ndarray) -> pl.DataFrame:
    """What is told of calls whose trace was looked at: charges, and reversals that are new or the last word."""
    spans = wood.spans.select("row", "told").hstack(verdict)
    last = pl.Series(final[wood.column("trace")])
    spans = spans.with_columns(
        charge=pl.Series(charge[wood.column("row")]),
        reverse=pl.col("may") & ((pl.col("code") != pl.col("told")) | last),
    )
    return spans.filter(pl.col("charge") | pl.col("reverse")).select(
        "row", "charge", "reverse", "gone", "may", "reason", "code"
    )


def _tell(block: Block, told: pl.DataFrame) -> tuple[Block, pa.Table, pa.Table]:
    """USAGE and CLAIMS rows of what is `told` (see _judged), and the block that knows of them."""
    if told.is_empty():
        return block, USAGE.empty_table(), CLAIMS.empty_table()
    told = told.sort("row")
    spans = block.spans[told["row"]]
    calls = expand(block, spans).with_columns(
        told["charge", "reverse", "gone", "may", "reason"],
        sightings=pl.Series(block.counts()[spans["trace"].to_numpy()]),
    )
    calls = calls.with_columns(call_id=call_ids(calls))
    usage, reversed_ = [charges(calls.filter("charge"))], told.filter("reverse")
    if reversed_.height:
        usage.append(reversals(calls.filter("reverse")))
        codes = block.spans["told"].to_numpy().copy()
        codes[reversed_["row"].to_numpy()] = reversed_["code"].to_numpy()
        knowing = replace(block, spans=block.spans.with_columns(told=pl.Series(codes)))
    else:
        knowing = block
    return knowing, pa.concat_tables(usage), claims(block, calls)
