"""What each call costs, by price book, in exact integer arithmetic.

The rules are those of `genai_prices.calc_price`, which is the oracle of the tests: a unit is billed for what its more
specific units leave over (uncached input, say), a context tier applies to all tokens of the call, a request price to
each call, and counts that contradict each other are refused. calc_price computes in Decimal with the context's 28
digits and does not round; here `cost_nano` is the exact total, rounded half to even once, to whole nano-dollars.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import combinations
from operator import or_

import polars as pl
from genai_prices.data_units import unit_data

from schemas.price_book import YOCTO_PER_NANO, PriceBook, price_column
from schemas.prices.index import Context
from transforms.prices.match import match, match_unlisted, under_contract

# Columns of `calls` that are not named as the unit is in genai-prices. Any other usage key is read if it is there.
_COLUMNS = {
    "output_reasoning_tokens": "reasoning_tokens",
    "input_audio_tokens": "audio_input_tokens",
    "output_audio_tokens": "audio_output_tokens",
}
_MODEL_KEYS = ["provider", "request_model", "response_model"]
_LATEST = 2**63 - 1
_DIMENSIONS = {unit: frozenset(definition["dimensions"].items()) for unit, definition in unit_data.items()}
_DAY_NS = 86_400 * 10**9


def price(calls: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """One row per row of `calls`, in order.

    calls: provider, request_model, response_model (String), start_ns (Int64, UTC), service_tier (String), batch
    (Boolean) and counts (Int64, inclusive, NULL for not reported): input_tokens, output_tokens, cache_read_tokens,
    cache_write_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, and any other
    usage key of genai-prices that is there (web_searches, cache_audio_read_tokens ...). NULL counts as none, as in
    calc_price. Further request contexts of the book (speed, route, search_type) are read if they are there. Contexts
    are compared in lower case; the service tier `batch` is the same as batch = true. With org (String), the contracts
    of that organisation hold, else those for everybody; with received_at (Int64, UTC ns), what of them was known then,
    else (also where it is NULL or 0) all that is.

    Returns cost_nano (Int64, NULL unless priced), cost_status (priced | unpriced | no_usage), price_id (String, NULL
    unless priced) and cost_flag (String, NULL unless unpriced), the reason: model_not_in_book, count_out_of_range
    (negative, or more than `limit` allows), counts_contradict (parts exceed their whole or come without it),
    unit_not_counted (the model is sold by hours or characters, say, and the call has tokens only), cost_overflow (does
    not fit Int64). A model that the book lists as free is priced at 0.
    """
    counts = {unit: column for unit in unit_data if (column := _COLUMNS.get(unit, unit)) in calls.columns}
    rows = _rows(calls, book)
    used = book.rows[rows.drop_nulls().unique()]
    units = [unit for unit in book.units if used[price_column(unit)].count()]
    frame = calls.select(pl.col(column).cast(pl.Int64).alias(unit) for unit, column in counts.items())
    frame = frame.with_columns(pl.lit(None, pl.Int64).alias(unit) for unit in units if unit not in counts)
    frame = frame.with_columns(
        rows.alias("row"), *(book.rows[c].gather(rows) for c in ("price_id", "free", *map(price_column, units)))
    )
    frame = frame.with_columns(_problem_of_counts(counts))
    for level in _levels(units):
        frame = frame.with_columns(_left_over(unit, units) for unit in level)
    return _outcome(frame, units, list(counts))


def limit(unit: str) -> int:
    """The highest count of `unit` that is priced; with it, no sum of products leaves 128 bits."""
    return 2**53 if _DIMENSIONS[unit] >= {("family", "tokens")} else 2**40


def _rows(calls: pl.DataFrame, book: PriceBook) -> pl.Series:
    """The position in `book.rows` of each call's price (UInt32), NULL where there is none."""
    found = [_fitting_rows(calls, plans, book) for plans in _plans(calls, book)]
    return pl.select(pl.coalesce(found)).to_series()


def _fitting_rows(calls: pl.DataFrame, plans: pl.Series, book: PriceBook) -> pl.Series:
    """The position in `book.rows` of the row of each call's plan that fits it (UInt32), NULL where there is none."""
    conditions = book.rows.select(
        "plan", "effective_from", "effective_to", "hours_from", "hours_to", "input_above", "input_up_to", "known_from",
        "known_to",
    ).with_row_index("row")  # fmt: skip
    received = pl.col("received_at") if "received_at" in calls.columns else pl.lit(0, pl.Int64)
    calls = calls.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("call"),
        plans.alias("plan"),
        "start_ns",
        pl.col("input_tokens").fill_null(0),
        pl.when(received > 0).then(received).otherwise(_LATEST).alias("known_at"),
    )
    start, of_day, size = pl.col("start_ns"), pl.col("start_ns") % _DAY_NS, pl.col("input_tokens")
    fits = [
        pl.col("effective_from").is_null() | (start >= pl.col("effective_from")),
        pl.col("effective_to").is_null() | (start < pl.col("effective_to")),
        (of_day >= pl.col("hours_from")) & (of_day < pl.col("hours_to")),
        pl.col("input_above").is_null() | (size > pl.col("input_above")),
        pl.col("input_up_to").is_null() | (size <= pl.col("input_up_to")),
        pl.col("known_from").is_null() | (pl.col("known_at") >= pl.col("known_from")),
        pl.col("known_to").is_null() | (pl.col("known_at") < pl.col("known_to")),
    ]
    found = calls.join(conditions, on="plan", maintain_order="left").filter(*fits).select("call", "row")
    return calls.select("call").join(found, on="call", how="left", maintain_order="left")["row"]


def _plans(calls: pl.DataFrame, book: PriceBook) -> list[pl.Series]:
    """The plans of each call (Int32, NULL where there is none); of the rows that fit, that of the first plan holds.

    A distinct name is matched once. A model that only contracts list goes first, as their periods may not cover the
    time of the call.
    """
    buyer = pl.lit("")
    if book.orgs and "org" in calls.columns:
        buyer = pl.when(pl.col("org").is_in(book.orgs)).then("org").otherwise(buyer)
    keys = ["buyer", *_MODEL_KEYS, *sorted({"service_tier", "batch", *book.context_keys} & set(calls.columns))]
    calls = calls.with_columns(buyer.alias("buyer")).select(keys)
    distinct = calls.unique(maintain_order=True)
    names = distinct.select(_MODEL_KEYS).unique().rows()
    models = {(seller, asked, answered): match(seller, asked, answered, book) for seller, asked, answered in names}
    plans: dict[str, list[int | None]] = {"unlisted": [], "listed": []}
    for call in distinct.iter_rows(named=True):
        seller, asked, answered = (call[key] for key in _MODEL_KEYS)
        context = _context(call, book)
        listed = under_contract(models[seller, asked, answered], call["buyer"], book)
        unlisted = match_unlisted(seller, asked, answered, call["buyer"], book)
        plans["listed"].append(listed and listed.plan(context))
        plans["unlisted"].append(unlisted and unlisted.plan(context))
    distinct = distinct.with_columns(pl.Series(kind, found, pl.Int32) for kind, found in plans.items())
    joined = calls.join(distinct, on=keys, how="left", nulls_equal=True, maintain_order="left")
    return [joined[kind] for kind in (("unlisted", "listed") if book.unlisted else ("listed",))]


def _context(call: dict[str, str | bool | None], book: PriceBook) -> Context:
    pairs = {(key, str(call[key]).lower()) for key in book.context_keys & call.keys() if call[key]}
    if call.get("batch") or ("service_tier", "batch") in pairs:
        pairs.add(("processing", "batch"))
    return frozenset(pairs)


def _problem_of_counts(counts: Iterable[str]) -> list[pl.Expr]:
    """Counts outside their limits become NULL and are told in `out_of_range`."""
    outside = {unit: ~pl.col(unit).is_between(0, limit(unit)) for unit in counts}
    return [
        pl.any_horizontal(expression.fill_null(False) for expression in outside.values()).alias("out_of_range"),
        pl.all_horizontal(pl.col(unit).is_null() for unit in counts).alias("no_usage"),
        *(pl.when(~expression).then(pl.col(unit)).alias(unit) for unit, expression in outside.items()),
    ]


def _below(unit: str, units: Iterable[str]) -> list[str]:
    """Those of `units` that are more specific kinds of `unit`."""
    return [other for other in units if _DIMENSIONS[other] > _DIMENSIONS[unit]]


def _levels(units: Sequence[str]) -> list[list[str]]:
    """`units` by how specific they are, the most specific first: each level needs those before it."""
    depths = sorted({len(_DIMENSIONS[unit]) for unit in units}, reverse=True)
    return [[unit for unit in units if len(_DIMENSIONS[unit]) == depth] for depth in depths]


def _left_over(unit: str, units: Sequence[str]) -> pl.Expr:
    """What is billed as `unit`: its count without what its more specific units bill; 0 where it has no price."""
    if unit == "requests":
        billed = pl.lit(1, pl.Int64)
    else:
        billed = pl.col(unit).fill_null(0) - pl.sum_horizontal(
            pl.lit(0, pl.Int64), *(f"{other}_billed" for other in _below(unit, units))
        )
    priced = pl.col(price_column(unit)).is_not_null()
    return pl.when(priced).then(billed).otherwise(0).alias(f"{unit}_billed")


def _contradictions(units: Sequence[str], counts: Sequence[str]) -> Iterable[pl.Expr]:
    """Where parts exceed their whole, or a count that the price needs is missing though its parts came."""
    for unit in units:
        if unit == "requests":
            continue
        yield pl.col(f"{unit}_billed") < 0
        known = [other for other in counts if other != unit]
        parts = [pl.col(other) > 0 for other in _below(unit, known)]
        parts += [
            (pl.col(a) > 0) & (pl.col(b) > 0)
            for a, b in combinations(known, 2)
            if _DIMENSIONS[a] | _DIMENSIONS[b] == _DIMENSIONS[unit]
            and not (_DIMENSIONS[a] <= _DIMENSIONS[b] or _DIMENSIONS[b] <= _DIMENSIONS[a])
        ]
        if parts:
            missing = pl.col(price_column(unit)).is_not_null() & pl.col(unit).is_null()
            yield missing & reduce(or_, parts)


def _outcome(frame: pl.DataFrame, units: Sequence[str], counts: Sequence[str]) -> pl.DataFrame:
    zero = pl.lit(0, pl.Int128)
    total = pl.sum_horizontal(
        zero,
        *(pl.col(f"{unit}_billed").cast(pl.Int128) * pl.col(price_column(unit)).fill_null(0) for unit in units),
    )
    counted = [
        pl.col(price_column(unit)).is_not_null() & (unit == "requests" or pl.col(unit).is_not_null()) for unit in units
    ]
    frame = _rounded(frame.with_columns(total.alias("total"))).with_columns(
        pl.any_horizontal(pl.lit(False), *_contradictions(units, counts)).fill_null(False).alias("contradict"),
        pl.any_horizontal(pl.col("free"), *counted).alias("counted"),
    )
    frame = frame.with_columns(_flag().alias("cost_flag"))
    priced = ~pl.col("no_usage") & pl.col("cost_flag").is_null()
    status = pl.when("no_usage").then(pl.lit("no_usage")).when(priced).then(pl.lit("priced"))
    return frame.select(
        pl.when(priced).then("cost").alias("cost_nano"),
        status.otherwise(pl.lit("unpriced")).alias("cost_status"),
        pl.when(priced).then("price_id").alias("price_id"),
        "cost_flag",
    )


def _flag() -> pl.Expr:
    """The first reason why a call with usage has no cost, NULL where it has one."""
    reasons = {
        "model_not_in_book": pl.col("row").is_null(),
        "count_out_of_range": pl.col("out_of_range"),
        "counts_contradict": pl.col("contradict"),
        "unit_not_counted": ~pl.col("counted"),
        "cost_overflow": pl.col("cost").is_null(),
    }
    flags = [pl.when(applies & ~pl.col("no_usage")).then(pl.lit(flag)) for flag, applies in reasons.items()]
    return pl.coalesce(flags)


def _rounded(frame: pl.DataFrame) -> pl.DataFrame:
    """`cost`: column `total`, yoctodollars of at least 0, in nano-dollars, a tie to the even one; NULL over Int64."""
    frame = frame.with_columns((pl.col("total") // YOCTO_PER_NANO).alias("whole"))
    frame = frame.with_columns(((pl.col("total") - pl.col("whole") * YOCTO_PER_NANO) * 2).alias("twice_rest"))
    is_odd = pl.col("whole").cast(pl.Int64, strict=False) % 2 == 1
    up = (pl.col("twice_rest") > YOCTO_PER_NANO) | ((pl.col("twice_rest") == YOCTO_PER_NANO) & is_odd)
    return frame.with_columns((pl.col("whole") + up).cast(pl.Int64, strict=False).alias("cost"))
