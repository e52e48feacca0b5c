"""Which spans bill, and the ledger rows that say so.

A *candidate* is a span that one of its sightings calls billable; *usage* is an input or an output token count.
Of each trace, a candidate is gone (does not bill) when
1. roll-up: a candidate with usage is below it in the tree, one with reported usage if its own is reported: what was
   counted from text takes nothing back that a provider reported; or
2. duplicate: another candidate of the same response id is the better record of the call. Those that have a
   candidate of that response id with usage below them are rule 1's; of the others the best one stays (see
   precedence, then the smallest span id); or
3. its fullest sighting is not billable after all; or
4. already reported: its usage was counted from text, and a call above it that stands by rule 1 reported its own.

Of a group of one response id somebody always stays, or has a roll-up's descendant that does: the best of those
not left aside can only go by rule 1, and then the candidate below it bills the call.

Order of arrival. A verdict may flip as spans arrive (a parent that comes late makes an ancestor out of a
duplicate), but a row once written cannot be taken back. So the ledger rests on a second predicate, *may*, that
can only become true as the set of spans grows, and that holds wherever `gone` holds for any part of the set:
- sightings of a span that disagree (on parent, times, numbers or response id), or a loop of several parent ids,
  stay in their trace: there `may` holds for all candidates;
- elsewhere parents never change, so a descendant stays a descendant: rule 1 itself can only become true, and so can
  the part of rule 4 that a call above reported its usage;
- and there rule 2 implies that a better record of the response id exists, other than the parent of a candidate
  with usage (which rule 2 leaves aside whenever it is known). Records are fixed there, so this stays true.
Every candidate has a charge row; every candidate of which `may` holds has a reversal row, negative when it is
gone and zero when it stands. Both are functions of the set of spans of the trace, and a row written for a part
of the set is superseded: the charge's version is that of the span, the reversal's the number of sightings.
"""

from hashlib import blake2b

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import USAGE
from transforms.blocks import TOKENS
from transforms.buckets import hex_ids, mix
from transforms.precedence import DESCENDING, ORDER, merits
from transforms.tree import Forest

ROLL_UP, NOT_A_CALL, STANDS = "roll-up of its descendants", "not a call by its fullest record", "stands after all"
REPORTED_ABOVE = "reported by a call above it"


def verdicts(spans: pl.DataFrame, forest: Forest, mixed: np.ndarray) -> pl.DataFrame:
    """What bills, one row per row of `spans`: columns gone, may (bool), reason (text, of `may`), code (uint32).

    spans: the winners of whole traces, rows as given to `forest`: trace, span, parent, start, duration, billable,
    candidate, dialect, token_source and the columns of CALL. mixed: bool, sightings of a span of the trace disagree.
    code: changes with what a reversal row says; 0 when there is none to write.
    """
    calls = spans.select(
        "trace", "span", "response_id", "billable", "candidate",
        *merits(pl.col("billable") & pl.any_horizontal(pl.col("input_tokens", "output_tokens").is_not_null())),
    )  # fmt: skip
    billable, candidate, usage = (calls[name].to_numpy() for name in ("billable", "candidate", "usage"))
    reported = usage & calls["reported"].to_numpy()
    above_reported, above_usage = (forest.totals(flags.astype(np.int64)) > flags for flags in (reported, usage))
    rolled = billable & (above_reported | (above_usage & ~reported))
    counted = usage & ~reported
    told = counted & forest.below(reported & ~above_reported)
    beaten, contested, by = _duplicates(calls, forest)
    wide_loop = forest.loop & (spans["parent"] != spans["span"]).to_numpy()
    mixed = mixed | _in_traces(calls["trace"].to_numpy(), wide_loop)
    gone = candidate & (rolled | beaten | told | ~billable)
    may = candidate & (mixed | rolled | contested | (counted & forest.below(reported)))
    which = np.select([~may, ~gone, ~billable, rolled, beaten], [0, 1, 2, 3, 5], 4)
    text = pl.Series(["", STANDS, NOT_A_CALL, ROLL_UP, REPORTED_ABOVE, "duplicate of "])[which]
    target = np.where(which == 5, by, 0).astype(np.uint64)
    code = np.where(which == 5, np.maximum(mix(target) >> np.uint64(32), 5), which).astype(np.uint32)
    return pl.DataFrame({"gone": gone, "may": may, "reason": text + pl.Series(hex_ids(target)), "code": code})


def charges(calls: pl.DataFrame) -> pa.Table:
    """USAGE rows that charge `calls`: the columns of SKELETONS, start (UTC ns) for start_time, and call_id."""
    ids = entry_ids(calls, "charge", "trace_id", "span_id")
    return _rows(calls, "charge", ids, calls.select(reason=pl.lit(""), version="version"))


def reversals(calls: pl.DataFrame) -> pa.Table:
    """USAGE rows that take `calls` back in their trace: further columns gone, reason, and sightings, the version.

    A call that is not gone has zeros instead of its numbers taken back.
    """
    return taken_back(calls, entry_ids(calls, "reversal", "trace_id", "span_id"), version="sightings")


def taken_back(calls: pl.DataFrame, ids: pl.Series, version: str) -> pa.Table:
    """USAGE rows that take back those of `calls` that are `gone`, and zeros for the others.

    calls: as for `charges`, with gone (bool), reason (text), and a column `version` for the rows' versions.
    """
    sign = pl.when("gone").then(-1).otherwise(0)
    taken = calls.with_columns(pl.col(*TOKENS, "cost_nano") * sign)
    return _rows(taken, "reversal", ids, calls.select("reason", version=pl.col(version).cast(pl.UInt64)))


def call_ids(calls: pl.DataFrame) -> pl.Series:
    """Identity of each call: hash of org and response id, else of org, trace and span."""
    own = pl.concat_str(pl.lit("span"), "org", "trace_id", "span_id", separator="\0")
    named = pl.concat_str(pl.lit("response"), "org", "response_id", separator="\0")
    known = pl.col("response_id").fill_null("") != ""
    return _hashes(calls.select(pl.when(known).then(named).otherwise(own)).to_series())


def entry_ids(calls: pl.DataFrame, kind: str, *about: str) -> pl.Series:
    """Identity of the ledger entry of each call: hash of the kind of entry, org, and the columns `about`."""
    return _hashes(calls.select(pl.concat_str(pl.lit(kind), "org", *about, separator="\0")).to_series())


def _duplicates(calls: pl.DataFrame, forest: Forest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rule 2 of each row: beaten (bool), contested (bool: its part of `may`), and by which span (uint64)."""
    rows = calls.height
    beaten, contested, by = np.zeros(rows, bool), np.zeros(rows, bool), np.zeros(rows, np.uint64)
    group = ("trace", "response_id")
    named = calls.with_columns(
        row=pl.int_range(rows), place=pl.Series(forest.position), end=pl.Series(forest.position + forest.size),
        above=pl.Series(forest.parent),
    ).filter(pl.col("candidate") & (pl.col("response_id").fill_null("") != ""))  # fmt: skip
    named = named.filter(named.select(group).is_duplicated())
    if named.is_empty():
        return beaten, contested, by
    below = pl.when("usage").then("place").shift(-1).backward_fill().over(group, order_by="place")
    named = named.with_columns(aside=(below < pl.col("end")).fill_null(False)).sort(
        *group, *ORDER, "span", descending=[False, False, *DESCENDING, False]
    )
    rank = pl.int_range(pl.len()).over(group)
    best = pl.when(pl.col("billable") & ~pl.col("aside")).then("span").drop_nulls().first().over(group)
    named = named.with_columns(rank=rank, best=best)
    row = named["row"].to_numpy()
    lost = named.select((pl.col("span") != pl.col("best")).fill_null(False)).to_series().to_numpy()
    beaten[row] = lost
    by[row] = named["best"].fill_null(0).to_numpy()
    parents = named.select("trace", "response_id", above="row", above_rank="rank")
    better = named.join(parents, on=[*group, "above"], how="left", maintain_order="left").select(
        pl.col("rank") > (pl.col("usage") & (pl.col("above_rank") < pl.col("rank"))).fill_null(False).cast(pl.Int64)
    )
    contested[row] = better.to_series().to_numpy()
    return beaten, contested, by


def _in_traces(trace: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Which rows are in a trace that has a flagged row."""
    return np.isin(trace, trace[flags]) if flags.any() else flags


def _rows(calls: pl.DataFrame, entry: str, ids: pl.Series, facts: pl.DataFrame) -> pa.Table:
    answered = pl.col("response_model").fill_null("")
    rows = calls.drop("reason", "version", strict=False).with_columns(
        facts["reason"], facts["version"],
        entry=pl.lit(entry),
        entry_id=ids,
        time=pl.col("start"),
        model=pl.when(answered != "").then(answered).otherwise("request_model"),
    )  # fmt: skip
    table = rows.select(USAGE.names).to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.cast(USAGE)


def _hashes(texts: pl.Series) -> pl.Series:
    """BLAKE2b-128 of each text, in hex."""
    digests = [blake2b(text, digest_size=16).hexdigest() for text in texts.cast(pl.Binary).to_list()]
    return pl.Series(digests, dtype=pl.String)
