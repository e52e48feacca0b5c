"""Open spans in compact columns: what a fold over traces computes with and keeps.

A span takes a fixed number of bytes; its texts and numbers are rows of small side tables in which equal rows
are stored once, so that spans of one service and model share one label.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.columns import group_codes, intern
from transforms.folds.buckets import hex_ids, id_words, trace_hashes

LABEL = (
    *("team", "key_id", "name", "kind", "status", "service", "scope", "dialect", "prompt_name", "prompt_version"),
    *("provider", "request_model", "response_model", "operation", "token_source", "cost_status", "price_id"),
)
USER = ("session_id", "user_id")
TOKENS = (
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    *("reasoning_tokens", "audio_input_tokens", "audio_output_tokens"),
)
CALL = ("response_id", "request_id", *TOKENS, "cost_nano", "ttft_ns")
# What verdicts rest on besides the numbers of a call.
JUDGED = ("scope", "dialect", "token_source", "request_model", "response_model")
SIDES = {"label": LABEL, "user": USER, "call": CALL}

# The bit of a span's version that says that its end time is set.
ENDED = 1 << 60


@dataclass(frozen=True)
class Block:
    """Spans of many traces.

    traces: org, trace_id, hash (uint64 of both), fragment ('' until it is named), day (date32), seen (UTC ns of its
        last arrival), emitted_at, emitted (number of sightings in the row last emitted, 0 for none), pieced (a part of
        the trace was cut off and forgotten).
    spans: one row per sighting (distinct version) of a span: trace (row of `traces`), span, parent (uint64,
        0 for none), start, duration (ns), version, day, billable, candidate (any sighting is billable), won
        (the greatest version of its span), mixed (its span's sightings disagree on what verdicts rest on), told
        (code of the reversal last told), shown (bits: what of it metrics count, see metrics.shown), fresh (new in this
        step, or another sighting of its span is), and a row number for each side table.
    sides: label, user and call: distinct rows of the columns in SIDES.
    """

    traces: pl.DataFrame
    spans: pl.DataFrame
    sides: dict[str, pl.DataFrame]

    def hashes(self) -> np.ndarray:
        """Hash of each trace."""
        return self.traces["hash"].to_numpy()

    def trace_of(self) -> np.ndarray:
        """Row of `traces` of each span."""
        return self.spans["trace"].to_numpy()

    def counts(self) -> np.ndarray:
        """Sightings in each trace."""
        return np.bincount(self.trace_of(), minlength=self.traces.height)

    def any_of(self, flags: np.ndarray) -> np.ndarray:
        """Which traces have a span whose flag is set."""
        found = np.zeros(self.traces.height, bool)
        found[self.trace_of()[flags]] = True
        return found


def from_skeletons(rows: pa.Table, now: int) -> Block:
    """The spans of SKELETONS `rows`, all fresh, their traces seen at `now`."""
    frame = pl.DataFrame(pl.from_arrow(rows))
    trace, traces = intern(frame, ("org", "trace_id"))
    sides = {name: intern(frame, columns) for name, columns in SIDES.items()}
    spans = pl.DataFrame(
        {
            "trace": trace,
            "span": id_words(frame["span_id"]),
            "parent": id_words(frame["parent_span_id"]),
            "start": frame["start_time"].fill_null(0),
            "duration": frame["duration_ns"].fill_null(0),
            "version": frame["version"],
            "day": frame["day"],
            "billable": frame["billable"].fill_null(False),
        }
    ).with_columns(
        candidate="billable",
        won=pl.lit(True),
        mixed=pl.lit(False),
        told=pl.lit(0, pl.UInt32),
        shown=pl.lit(0, pl.UInt8),
        **{name: pl.Series(codes) for name, (codes, _) in sides.items()},
        fresh=pl.lit(True),
    )
    traces = traces.with_columns(
        pl.Series("hash", trace_hashes(traces["org"], traces["trace_id"])),
        fragment=pl.lit(""),
        day=pl.lit(None, pl.Date),
        seen=pl.lit(now, pl.Int64),
        emitted_at=pl.lit(now, pl.Int64),
        emitted=pl.lit(0, pl.UInt32),
        pieced=pl.lit(False),
    )
    return Block(traces, spans, {name: side for name, (_, side) in sides.items()})


def stack(blocks: list[Block]) -> Block:
    """All rows of `blocks`, in order; a trace or a side row in several of them occurs several times."""
    shifted, offsets = [], dict.fromkeys(("trace", *SIDES), 0)
    for block in blocks:
        shifted.append(block.spans.with_columns(pl.col(name) + n for name, n in offsets.items() if n))
        offsets["trace"] += block.traces.height
        for name, side in block.sides.items():
            offsets[name] += side.height
    return Block(
        pl.concat([block.traces for block in blocks]),
        pl.concat(shifted),
        {name: pl.concat([block.sides[name] for block in blocks]) for name in SIDES},
    )


def select(block: Block, keep: np.ndarray) -> Block:
    """The traces flagged in `keep` (bool), with the side rows that they need."""
    spans = block.spans.filter(keep[block.trace_of()])
    rows = {"trace": np.flatnonzero(keep)}
    numbers = [pl.Series("trace", _renumber(keep)[spans["trace"].to_numpy()], pl.UInt32)]
    for name, side in block.sides.items():
        codes = spans[name].to_numpy()
        used = np.zeros(side.height, bool)
        used[codes] = True
        rows[name] = np.flatnonzero(used)
        numbers.append(pl.Series(name, _renumber(used)[codes], pl.UInt32))
    sides = {name: side[rows[name]] for name, side in block.sides.items()}
    return Block(block.traces[rows["trace"]], spans.with_columns(numbers), sides)


def unite(block: Block) -> Block:
    """`block` with each trace once, each sighting once, and the winner of each span marked.

    Of rows of one trace the first gives its fragment, of equal sightings the first is kept: what was known
    before must come first. The winner of a span is its sighting of the greatest version.
    """
    columns = [pl.col(name).first() for name in ("hash", "fragment", "day", "emitted_at", "emitted")]
    groups = (
        block.traces.with_row_index("rows")
        .group_by("org", "trace_id", maintain_order=True)
        .agg(*columns, pl.col("seen").max(), pl.col("pieced").any(), "rows")
    )
    trace = group_codes(groups["rows"], block.traces.height)[block.trace_of()]
    fresh = block.spans["fresh"].to_numpy()
    touched = np.zeros(groups.height, bool)
    touched[trace[fresh]] = True
    spans = block.spans.with_columns(trace=pl.Series(trace, dtype=pl.UInt32))
    changed = touched[trace]
    sighting = ("trace", "span", "version")
    news = spans.filter(changed).unique(sighting, keep="first", maintain_order=True)
    spans = pl.concat([spans.filter(~changed), _elect(news, block.sides)])
    return replace(block, traces=groups.drop("rows").select(block.traces.columns), spans=spans)


def cut(block: Block, limit: int) -> tuple[Block, np.ndarray]:
    """`block` with every trace of more than `limit` sightings cut into pieces, and which pieces are full.

    A piece is a trace of its own from here on; the last one stays open, under a name yet to be given.
    """
    counts = block.counts()
    closed = np.zeros(len(counts), bool)
    if (counts <= limit).all():
        return block, closed
    trace = block.trace_of().astype(np.int64)
    order = np.argsort(trace, kind="stable")
    place = np.empty(len(trace), np.int64)
    place[order] = np.arange(len(trace)) - (np.cumsum(counts) - counts)[trace[order]]
    pieces = (counts + limit - 1) // limit
    first = len(counts) + np.cumsum(pieces - 1) - (pieces - 1)
    piece = place // limit
    number = np.where(piece == 0, trace, first[trace] + piece - 1)
    further = block.traces[np.repeat(np.arange(len(counts)), pieces - 1)].with_columns(
        fragment=pl.lit(""), day=pl.lit(None, pl.Date), emitted=pl.lit(0, pl.UInt32)
    )
    whole = block.traces.with_columns(pl.col("pieced") | pl.Series(pieces > 1))
    traces = pl.concat([whole, further.with_columns(pieced=pl.lit(True))])
    closed = np.bincount(number, minlength=traces.height) == limit
    last = np.where(pieces == 1, np.arange(len(counts)), first + pieces - 2)
    closed[last] = False
    return replace(
        block, traces=traces, spans=block.spans.with_columns(trace=pl.Series(number, dtype=pl.UInt32))
    ), closed


def expand(block: Block, spans: pl.DataFrame) -> pl.DataFrame:
    """`spans` (rows of `block.spans`) with the columns of SKELETONS that their numbers stand for."""
    traces = block.traces.select("org", "trace_id")[spans["trace"]]
    sides = [block.sides[name][spans[name]] for name in SIDES]
    span_id = pl.Series("span_id", hex_ids(spans["span"].to_numpy()))
    return pl.concat([traces, span_id.to_frame(), spans.drop(*SIDES), *sides], how="horizontal")


def _elect(spans: pl.DataFrame, sides: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """`spans` with won, candidate, mixed and fresh decided for those that were sighted in several versions."""
    several = spans.select("trace", "span").is_duplicated()
    if not several.any():
        return spans
    twins = spans.filter(several)
    facts = twins.select("parent", "start", "duration", "billable").hstack(
        [*sides["call"][twins["call"]].drop("request_id", "ttft_ns"), *sides["label"].select(JUDGED)[twins["label"]]]
    )
    span = ("trace", "span")
    twins = (
        twins.with_columns(facts=facts.hash_rows())
        .with_columns(
            won=pl.col("version") == pl.col("version").max().over(span),
            candidate=pl.col("billable").any().over(span),
            mixed=(pl.col("facts").min() != pl.col("facts").max()).over(span),
            fresh=pl.col("fresh").any().over(span),
        )
        .drop("facts")
    )
    return pl.concat([spans.filter(~several), twins])


def _renumber(keep: np.ndarray) -> np.ndarray:
    """For each row the number it has among the kept ones."""
    return (np.cumsum(keep) - 1).astype(np.uint32)
