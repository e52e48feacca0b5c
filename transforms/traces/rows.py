"""Rows of TRACES from the forest of their spans: totals over billed calls, and the tree as parallel arrays."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import TRACES
from transforms.folds.buckets import hex_ids
from transforms.traces.blocks import ENDED, Block
from transforms.traces.tree import Forest, self_times

Rows = np.ndarray
Values = pl.Series | np.ndarray | pa.Array
SUMS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_nano")
TREE_SUMS = ("input_tokens", "output_tokens", "cost_nano")


@dataclass(frozen=True)
class Wood:
    """The winners of whole traces, in the order of (trace, start, span), and what was found out about them.

    spans: rows of a block's spans with the columns of CALL, and end (UTC ns). billed: bool, one item per row.
    """

    spans: pl.DataFrame
    forest: Forest
    billed: np.ndarray

    def column(self, name: str) -> Rows:
        return self.spans[name].to_numpy()


def trace_rows(block: Block, wood: Wood, emit: np.ndarray, final: np.ndarray) -> pa.Table:
    """One TRACES row for each trace of `block` flagged in `emit` (bool), 'final' where flagged in `final`.

    A row's version is twice the number of sightings in it, plus one when final: it grows with the set of spans.
    """
    trace = wood.column("trace")
    order = wood.forest.order()
    order = order[emit[trace[order]]]
    cuts = _cuts(trace[order], wood, order)
    which = pl.Series(cuts.trace)
    about = block.traces[which]
    counts = block.counts()[cuts.trace]
    ended = final[cuts.trace]
    columns = {
        "org": about["org"],
        "trace_id": about["trace_id"],
        "fragment": about["fragment"],
        "state": pl.Series(["provisional", "final"])[ended.astype(np.int64)],
        "day": about["day"],
        "version": (2 * counts + ended).astype(np.uint64),
        **_root(block, wood, cuts),
        **_totals(block, wood, cuts),
        **_tree(block, wood, cuts),
    }
    arrays = [_arrow(columns[field.name], field.type) for field in TRACES]
    return pa.Table.from_arrays(arrays, schema=TRACES)


def rooted(block: Block) -> np.ndarray:
    """Which traces have a root that ended (bool)."""
    spans = block.spans
    return block.any_of(((spans["parent"] == 0) & (spans["version"] >= ENDED)).to_numpy())


@dataclass(frozen=True)
class _Cuts:
    """Rows of the spans shown, in depth-first order, cut into traces.

    trace: the number of each trace shown. firsts: where each begins in `order`; offsets: the same, and the end.
    start: UTC ns, the earliest start in each trace. of: for each item of `order`, the place of its trace.
    """

    order: Rows
    trace: Rows
    firsts: Rows
    offsets: Rows
    start: Rows
    of: Rows

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sum of `values` (one per row of the spans) in each trace."""
        return np.add.reduceat(values[self.order].astype(np.int64), self.firsts)

    def earliest(self, flags: np.ndarray) -> Rows:
        """In each trace the first row, by (start, span), that is flagged; -1 where none is."""
        rows = np.where(flags, np.arange(len(flags)), len(flags))[self.order]
        first = np.minimum.reduceat(rows, self.firsts)
        return np.where(first == len(flags), -1, first)


def _cuts(trace: Rows, wood: Wood, order: Rows) -> _Cuts:
    begins = np.concatenate([[True], trace[1:] != trace[:-1]])
    firsts = np.flatnonzero(begins)
    start = np.minimum.reduceat(wood.column("start")[order], firsts)
    offsets = np.append(firsts, len(order))
    return _Cuts(order, trace[firsts], firsts, offsets, start, np.cumsum(begins) - 1)


def _root(block: Block, wood: Wood, cuts: _Cuts) -> dict[str, Values]:
    """What a trace takes from its first root, or where it has none from its first span on top."""
    forest, span = wood.forest, wood.column("span")
    is_root = wood.column("parent") == 0
    root = cuts.earliest(is_root)
    chosen = np.where(root >= 0, root, cuts.order[cuts.firsts])
    label = block.sides["label"][pl.Series(wood.column("label")[chosen])]
    user, user_of = block.sides["user"], wood.column("user")
    people = {}
    for name in ("session_id", "user_id"):
        given = (user[name].fill_null("") != "").to_numpy()[user_of]
        row = cuts.earliest(given)
        found = pl.Series(user_of[row], dtype=pl.UInt32).set(pl.Series(row < 0), None)
        people[name] = user[name][found].fill_null("")
    return {
        "team": label["team"],
        "key_id": label["key_id"],
        "root_span_id": hex_ids(np.where(root >= 0, span[root], 0)),
        "root_name": label["name"].set(pl.Series(root < 0), ""),
        "root_count": cuts.sums(is_root),
        "orphan_count": cuts.sums(forest.orphan),
        "cycle_count": cuts.sums(forest.loop),
        "depth": np.maximum.reduceat(forest.depth[cuts.order], cuts.firsts) + 1,
        "start_time": cuts.start,
        "duration_ns": np.maximum.reduceat(wood.column("end")[cuts.order], cuts.firsts) - cuts.start,
        **people,
    }


def _totals(block: Block, wood: Wood, cuts: _Cuts) -> dict[str, Values]:
    labels, billed = block.sides["label"], wood.billed
    label = wood.column("label")
    failed = cuts.sums((labels["status"] == "error").fill_null(False).to_numpy()[label])
    priced = billed & wood.spans["cost_nano"].is_not_null().to_numpy()
    unpriced = billed & (labels["cost_status"] == "unpriced").fill_null(False).to_numpy()[label]
    calls, priced_calls = cuts.sums(billed), cuts.sums(priced)
    status = np.select([calls == 0, priced_calls == calls, priced_calls == 0], [0, 1, 2], 3)
    answered = labels["response_model"].fill_null("")
    model = pl.select(pl.when(answered != "").then(answered).otherwise(labels["request_model"])).to_series()
    return {
        **{name: cuts.sums(_billed(wood, name)) for name in SUMS},
        "span_count": np.diff(cuts.offsets),
        "error_count": failed,
        "status": pl.Series(["ok", "error"])[(failed > 0).astype(np.int64)],
        "call_count": calls,
        "unpriced_count": cuts.sums(unpriced),
        "cost_status": pl.Series(["none", "priced", "unpriced", "partly"])[status],
        "ttft_ns": _ttft(wood, cuts),
        "models": _distinct(model, label, billed, cuts),
        "providers": _distinct(labels["provider"], label, billed, cuts),
        "services": _distinct(labels["service"], label, np.ones(len(label), bool), cuts),
    }


def _tree(block: Block, wood: Wood, cuts: _Cuts) -> dict[str, Values]:
    order, forest, labels = cuts.order, wood.forest, block.sides["label"]
    label = pl.Series(wood.column("label")[order])
    begin = forest.position[order][cuts.firsts][cuts.of]
    above = forest.parent[order]
    answered = labels["response_model"].fill_null("")
    start = wood.column("start")
    lists: dict[str, Values] = {
        "span_ids": hex_ids(wood.column("span")[order]),
        "parent_indexes": np.where(above < 0, -1, forest.position[above] - begin),
        "depths": forest.depth[order],
        "names": labels["name"][label],
        "kinds": labels["kind"][label],
        "statuses": labels["status"][label],
        "start_offsets_ns": start[order] - cuts.start[cuts.of],
        "durations_ns": (wood.column("end") - start)[order],
        "span_models": pl.select(
            pl.when(answered != "").then(answered).otherwise(labels["request_model"].fill_null(""))
        ).to_series()[label],
        "span_ttfts_ns": wood.spans["ttft_ns"].fill_null(-1).to_numpy()[order],
        "span_billed": wood.billed[order],
        "self_time_ns": self_times(forest, start, wood.column("end"))[order],
    }
    for name in TREE_SUMS:
        own = _billed(wood, name)
        lists[f"self_{name}"] = own[order]
        lists[f"total_{name}"] = forest.totals(own)[order]
    offsets = pa.array(cuts.offsets, pa.int32())
    return {
        name: pa.ListArray.from_arrays(offsets, _arrow(values, TRACES.field(name).type.value_type))
        for name, values in lists.items()
    }


def _ttft(wood: Wood, cuts: _Cuts) -> pl.Series:
    """ns from the trace's start to the first token of its first billed call that recorded one."""
    recorded = wood.spans["ttft_ns"].is_not_null().to_numpy()
    row = cuts.earliest(wood.billed & recorded)
    first = wood.column("start") + wood.spans["ttft_ns"].fill_null(0).to_numpy()
    return pl.Series(first[row] - cuts.start).set(pl.Series(row < 0), None)


def _billed(wood: Wood, name: str) -> np.ndarray:
    """The numbers of the billed calls, 0 elsewhere and where not known."""
    return np.where(wood.billed, wood.spans[name].fill_null(0).to_numpy(), 0)


def _distinct(texts: pl.Series, codes: Rows, flags: np.ndarray, cuts: _Cuts) -> pa.ListArray:
    """For each trace the distinct texts of its flagged rows, in order, without '' and NULL.

    texts: one per code; codes, flags: one per row of the spans.
    """
    known = texts.fill_null("").unique().sort()
    rank = known.search_sorted(texts.fill_null("")).to_numpy()[codes]
    shown = flags & (known != "").to_numpy()[rank]
    shown = shown[cuts.order]
    pairs = np.unique(cuts.of[shown] * len(known) + rank[cuts.order][shown])
    trace, rank = np.divmod(pairs, len(known))
    offsets = np.zeros(len(cuts.trace) + 1, np.int32)
    np.cumsum(np.bincount(trace, minlength=len(cuts.trace)), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), _arrow(known[pl.Series(rank)], pa.string()))


def _arrow(values: Values, kind: pa.DataType) -> pa.Array:
    """`values` as an Arrow array of `kind`."""
    if isinstance(values, pl.Series):
        return values.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(kind)
    return (pa.array(values) if isinstance(values, np.ndarray) else values).cast(kind)
