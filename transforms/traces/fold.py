"""The fold that turns span skeletons of one bucket into trace rows and ledger entries.

Time. Rows wait in the inbox until the next tick, at most `tick_ns`; all work is done by ticks. In a tick
- a span that is new and may bill is charged at once, a call that turns out to be none is taken back;
- a trace is emitted as 'provisional' when its root has ended for the first time, when it went quiet (nothing
  new for `quiet_gap_ns`), and while it grows at most once in `quiet_gap_ns`; never twice with equal content;
- a trace that went quiet moves to a cold chunk, and comes back when another of its spans arrives;
- a chunk older than `horizon_ns` is emitted as 'final' and dropped, except for traces that came back.
A span later than that opens a further fragment of its trace; the store's view unites fragments by span id.

State. At most 200 bytes an open span, at most `max_trace_spans` sightings a trace: a trace that grows beyond
is cut, its full piece is emitted as 'final' and dropped, and the rest goes on as a fragment of its own. Verdicts
on calls see one fragment. A fragment is named by the hash of the span ids that it began with.
"""

from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import SKELETONS
from schemas.limits import LIMITS
from transforms.folds.cold import Codec, expire, revive, store
from transforms.folds.segments import Head
from transforms.folds.step import Fold, State, Step
from transforms.folds.ticks import rested, ticking
from transforms.traces.blocks import Block, cut, from_skeletons, select, stack, unite
from transforms.traces.evaluate import evaluate
from transforms.traces.packing import pack, unpack
from transforms.traces.rows import rooted

_NO_DAY = np.iinfo(np.int32).max  # stands for the day of a time out of range, which is day 0
_BLOCKS = Codec(lambda block: pack(block, "zstd"), unpack, Block.hashes, select)


@dataclass(frozen=True)
class AssembleSettings:
    """quiet_gap_ns: without a new span for so long a trace is quiet. horizon_ns: how long a quiet trace is
    kept for late spans. tick_ns: least time between two ticks. max_trace_spans: bound of state for one trace."""

    quiet_gap_ns: int = 5 * 10**9
    horizon_ns: int = 600 * 10**9
    tick_ns: int = 10**9
    max_trace_spans: int = LIMITS.trace_spans


def make_assemble(settings: AssembleSettings) -> Fold:
    """The fold over SKELETONS rows; out: "traces" (TRACES), "usage" (USAGE), "claims" (CLAIMS), "changes"
    (METRIC_CHANGES), where not empty.

    Raises UnknownSchemaVersion on state that another version wrote.
    """

    return ticking(partial(_tick, settings), settings.tick_ns, SKELETONS)


def _tick(settings: AssembleSettings, state: State, head: Head, arrived: list[pa.Table], now: int) -> Step:
    block = _gather(state, head, arrived, now)
    head, writes, expired = expire(state, head, block.hashes(), now, _BLOCKS)
    block, full = cut(block, settings.max_trace_spans)
    block = stack([_name(block), *expired])
    final = np.append(full, np.ones(block.traces.height - len(full), bool))
    emit = final | _due(block, now, settings)
    told = evaluate(block, emit, final)
    block = _emitted(told.block, emit, now)
    asleep = _quiet(block, now, settings)
    awake = select(block, ~final & ~asleep)
    head, stored = store(state, head, select(block, ~final & asleep), now + settings.horizon_ns, _BLOCKS)
    wake = _wake(head, awake, now, settings)
    writes |= stored | rested(head, now, wake)
    if awake.traces.height or "hot" in state:
        writes["hot"] = pack(awake, "lz4") if awake.traces.height else None
    tables = (told.traces, told.usage, told.claims, told.changes)
    out = zip(("traces", "usage", "claims", "changes"), tables, strict=True)
    return Step(writes, tuple((name, rows) for name, rows in out if rows.num_rows), wake_at=wake)


def _gather(state: State, head: Head, arrived: list[pa.Table], now: int) -> Block:
    """What is hot, what arrived, and what comes back from the cold because of it."""
    hot = unpack(state["hot"]) if "hot" in state else None
    if not arrived:
        return hot or from_skeletons(SKELETONS.empty_table(), now)
    new = from_skeletons(pa.concat_tables(arrived), now)
    if hot is None:
        return unite(stack([*revive(state, head, new.hashes(), _BLOCKS), new]))
    absent = np.setdiff1d(new.hashes(), hot.hashes())
    return unite(stack([hot, *revive(state, head, absent, _BLOCKS), new]))


def _name(block: Block) -> Block:
    """`block` with a fragment id (hash of the sorted span ids) and a day (the first) for traces without."""
    nameless = (block.traces["fragment"] == "").to_numpy()
    if not nameless.any():
        return block
    spans = block.spans.filter(nameless[block.trace_of()]).sort("trace", "span")
    ids = spans["span"].to_numpy().astype(">u8").tobytes()
    trace = spans["trace"].to_numpy()
    ends = np.cumsum(np.bincount(trace, minlength=block.traces.height))[nameless]
    starts = np.concatenate([[0], ends[:-1]])
    bounds = zip((8 * starts).tolist(), (8 * ends).tolist(), strict=True)
    names = [blake2b(ids[one:two], digest_size=16).hexdigest() for one, two in bounds]
    days = np.minimum.reduceat(spans["day"].cast(pl.Int32).replace(0, _NO_DAY).fill_null(_NO_DAY).to_numpy(), starts)
    first = pl.Series(np.where(days == _NO_DAY, 0, days), dtype=pl.Int32).cast(pl.Date)
    rows = pl.Series(np.flatnonzero(nameless))
    fragment = block.traces["fragment"].scatter(rows, pl.Series(names))
    day = block.traces["day"].scatter(rows, first)
    return replace(block, traces=block.traces.with_columns(fragment, day))


def _due(block: Block, now: int, settings: AssembleSettings) -> np.ndarray:
    """Which traces have something new to show and a reason to show it now."""
    emitted = block.traces["emitted"].to_numpy()
    rested = block.traces["emitted_at"].to_numpy() + settings.quiet_gap_ns <= now
    complete = (emitted == 0) & rooted(block)
    return (block.counts() != emitted) & (complete | rested | _quiet(block, now, settings))


def _quiet(block: Block, now: int, settings: AssembleSettings) -> np.ndarray:
    return block.traces["seen"].to_numpy() + settings.quiet_gap_ns <= now


def _emitted(block: Block, emit: np.ndarray, now: int) -> Block:
    """`block` with the rows just emitted written down."""
    traces = block.traces.with_columns(
        emitted=pl.Series(np.where(emit, block.counts(), block.traces["emitted"]), dtype=pl.UInt32),
        emitted_at=pl.Series(np.where(emit, now, block.traces["emitted_at"])),
    )
    return replace(block, traces=traces)


def _wake(head: Head, awake: Block, now: int, settings: AssembleSettings) -> int | None:
    """When something is due next, not before the next tick; None when nothing is kept."""
    dues = [int(due) for due in head.dues[:1]]
    if awake.traces.height:
        dues.append(int(awake.traces["seen"].to_numpy().min()) + settings.quiet_gap_ns)
    return max(min(dues), now + settings.tick_ns) if dues else None
