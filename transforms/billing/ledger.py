"""Which spans bill, and the ledger rows that say so.

A *candidate* is a span that one of its sightings calls billable; *usage* is an input or an output token count.
Candidates of a trace may be sightings of one call (see same_call). One *repeats* another if it is a sighting of the
same call with the same input and output. Of each trace, a candidate is gone (does not bill) when
1. roll-up: a candidate with usage is below it in the tree that does not repeat it, one with reported usage if its own
   is reported: what was counted from text takes nothing back that a provider reported; or
2. duplicate: another sighting of its call is the better record. Roll-ups with a sighting of their call below them are
   rule 1's; of the others the best one stays, above or below (see precedence, then the smallest span id); or
3. its fullest sighting is not billable after all; or
4. already reported: its usage was counted from text, and a call above it reported its own, with no reported usage
   below that.

Of the sightings of a call somebody always stays, or has a roll-up's descendant that does: the best of those
not left aside can only go by rule 1, and then the candidate below it bills the call.

Order of arrival. A verdict may flip as spans arrive (a parent that comes late makes an ancestor out of a
duplicate), but a row once written cannot be taken back. So the ledger rests on a second predicate, *may*, that
can only become true as the set of spans grows, and that holds wherever `gone` holds for any part of the set:
- sightings of a span that disagree (on parent, times, numbers, names or response id), or a loop of several parent
  ids, stay in their trace: there `may` holds for all candidates;
- elsewhere parents never change, so a descendant stays a descendant: that rule 1's candidate is below, whether it
  repeats or not, can only become true, and so can the part of rule 4 that a call above reported its usage;
- and there records are fixed. Rule 2 implies a better record of the same response id, or a better one of another
  scope with the same tokens; that there is one stays true, whichever of them are found to be one call in the end.
Every candidate has a charge row; every candidate of which `may` holds has a reversal row, negative when it is
gone and zero when it stands. Both are functions of the set of spans of the trace, and a row written for a part
of the set is superseded: the charge's version is that of the span, the reversal's the number of sightings.
"""

from hashlib import blake2b

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import USAGE
from transforms.billing.precedence import DESCENDING, ORDER, merits
from transforms.billing.same_call import BUCKET, layered, same_calls
from transforms.folds.buckets import hex_ids, mix
from transforms.traces.blocks import TOKENS
from transforms.traces.tree import Forest

ROLL_UP, NOT_A_CALL, STANDS = "roll-up of its descendants", "not a call by its fullest record", "stands after all"
REPORTED_ABOVE = "reported by a call above it"
SAME_ID, SAME_USE = "duplicate of ", "duplicate, by its model, tokens and times, of "


def verdicts(spans: pl.DataFrame, forest: Forest, mixed: np.ndarray) -> pl.DataFrame:
    """What bills, one row per row of `spans`: columns gone, may (bool), reason (text, of `may`), code (uint32).

    spans: the winners of whole traces, rows as given to `forest`: trace, span, parent, start, end, duration, billable,
    candidate and the columns of CALL and JUDGED. mixed: bool, sightings of a span of the trace disagree.
    code: changes with what a reversal row says; 0 when there is none to write.
    """
    calls, twice = _calls(spans, forest)
    billable, candidate = (spans[name].to_numpy() for name in ("billable", "candidate"))
    usage, reported = (_spread(calls, calls[name], spans.height) for name in ("usage", "reported"))
    reported &= usage
    below_reported, below_usage = (forest.totals(flags.astype(np.int64)) - flags for flags in (reported, usage))
    others_reported, others_usage = (
        below > _repeats_below(twice, flags) for below, flags in ((below_reported, reported), (below_usage, usage))
    )
    rolled = billable & (others_reported | (others_usage & ~reported))
    counted = usage & ~reported
    told = counted & forest.below(reported & (below_reported == 0))
    beaten, contested, by, named = _duplicates(twice, rolled)
    wide_loop = forest.loop & (spans["parent"] != spans["span"]).to_numpy()
    mixed = mixed | _in_traces(spans["trace"].to_numpy(), wide_loop)
    gone = candidate & (rolled | beaten | told | ~billable)
    above = billable & ((below_reported > 0) | ((below_usage > 0) & ~reported))
    may = candidate & (mixed | above | contested | (counted & forest.below(reported)))
    which = np.select([~may, ~gone, ~billable, rolled, beaten & named, beaten], [0, 1, 2, 3, 5, 6], 4)
    text = pl.Series(["", STANDS, NOT_A_CALL, ROLL_UP, REPORTED_ABOVE, SAME_ID, SAME_USE])[which]
    target = np.where(which > 4, by, 0).astype(np.uint64)
    code = np.where(which > 4, np.maximum(mix(target ^ which.astype(np.uint64)) >> np.uint64(32), 7), which)
    code = code.astype(np.uint32)
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


def _calls(spans: pl.DataFrame, forest: Forest) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The candidates of `spans` with their row and merits (see precedence); and those that one trace may have seen
    twice, by their id or their tokens, as for same_calls, with call."""
    usage = pl.col("billable") & pl.any_horizontal(pl.col("input_tokens", "output_tokens").is_not_null())
    calls = spans.select(
        "trace", "span", "billable", "end", "request_model", "response_model",
        pl.col("response_id", "scope").fill_null(""),
        pl.col("input_tokens", "output_tokens").fill_null(0),
        *merits(usage),
        row=pl.int_range(pl.len(), dtype=pl.Int64),
        place=pl.Series(forest.position),
        close=pl.Series(forest.position + forest.size),
    ).filter(spans["candidate"])  # fmt: skip
    by_id = (calls["response_id"] != "") & calls.select("trace", "response_id").is_duplicated()
    by_tokens = (calls["input_tokens"] > 0) & calls.select(BUCKET).is_duplicated()
    twice = calls.filter(by_id | by_tokens)
    return calls, twice.with_columns(same_calls(twice))


def _repeats_below(calls: pl.DataFrame, flags: np.ndarray) -> np.ndarray:
    """How many flagged spans below each row repeat it (int64); flags: bool, one item per row of all spans."""
    rows = len(flags)
    found = np.zeros(rows, np.int64)
    record = ("call", "input_tokens", "output_tokens")
    twins = calls.filter(calls.select(record).is_duplicated()).sort(*record, "place")
    if twins.height:
        run = twins.select(pl.struct(record).rle_id().cast(pl.Int64) * (rows + 1)).to_series().to_numpy()
        row, place, close = (twins[name].to_numpy() for name in ("row", "place", "close"))
        passed = np.append(0, np.cumsum(flags[row]))
        ends = (np.searchsorted(run + place, run + edge) for edge in (close, place + 1))
        last, first = (passed[end] for end in ends)
        found[row] = last - first
    return found


def _duplicates(calls: pl.DataFrame, rolled: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rule 2 of each span: beaten (bool), contested (bool: its part of `may`), by which span (uint64), and whether that
    has its response id (bool).

    calls: the second of _calls. rolled: bool, one item per row of all spans.
    """
    rows = len(rolled)
    beaten, contested, named = (np.zeros(rows, bool) for _ in range(3))
    by = np.zeros(rows, np.uint64)
    if calls.is_empty():
        return beaten, contested, by, named
    best_first = calls.sort(*ORDER, "span", descending=[*DESCENDING, False])
    contested[best_first.filter(_better())["row"]] = True
    several = best_first.filter(best_first["call"].is_duplicated())
    several = several.with_columns(rolled=pl.Series(rolled[several["row"].to_numpy()]))
    below = pl.when("usage").then("place").shift(-1).backward_fill().over("call", order_by="place")
    several = several.with_columns(aside=pl.col("rolled") & (below < pl.col("close")).fill_null(False))
    stays = pl.col("billable") & ~pl.col("aside")
    best = pl.col("span", "response_id").filter(stays).first().over("call").name.prefix("best_")
    several = several.with_columns(best)
    row = several["row"].to_numpy()
    beaten[row] = several.select((pl.col("span") != pl.col("best_span")).fill_null(False)).to_series().to_numpy()
    by[row] = several["best_span"].fill_null(0).to_numpy()
    named[row] = (
        several.select(pl.col("response_id") == pl.col("best_response_id").fill_null("")).to_series().to_numpy()
    )
    named[several.filter(response_id="")["row"]] = False
    return beaten, contested, by, named


def _better() -> pl.Expr:
    """Whether an earlier row has the same response id, or is layered with this one; rows: the best record first."""
    rank = pl.int_range(pl.len())
    named = (pl.col("response_id") != "") & (rank.over("trace", "response_id") > 0)
    other = pl.col("scope") != pl.col("scope").first()
    return named | (layered() & (other | (rank > rank.filter(other).min())).fill_null(False).over(BUCKET))


def _spread(calls: pl.DataFrame, flags: pl.Series, rows: int) -> np.ndarray:
    """`flags` of the calls as one bool for each of all `rows` spans."""
    found = np.zeros(rows, bool)
    found[calls["row"].to_numpy()] = flags.to_numpy()
    return found


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
