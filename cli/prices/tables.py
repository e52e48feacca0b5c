"""Prices as the commands show them: rows of the book and entries of contracts, in dollars and UTC dates."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any

import polars as pl

from schemas.price_book import PriceBook, price_column
from schemas.prices.compile import DAY_NS
from schemas.prices.contracts import FIELDS, Entry, dollars
from schemas.prices.index import Model
from transforms.prices.contracts import timeline
from transforms.prices.match import match, match_unlisted, under_contract

Shown = dict[str, Any]

_PERIOD = ["from", "to"]
_WHERE = ["org", "provider", "model", "context", "above"]
_SORTED = ["provider", "model", "org", "context", "effective_from", "input_above", "hours_from"]
PRICE_COLUMNS = [*_WHERE, *FIELDS, "other", "hours", *_PERIOD, "price_id", "source", "reason"]
HISTORY_COLUMNS = [
    "known_from", *_WHERE, *FIELDS, *_PERIOD, "in_force", "withdrawn", "reason", "actor", "entry_id", "price_id",
]  # fmt: skip


def in_force(book: PriceBook, at: int) -> pl.DataFrame:
    """The rows of `book` by which calls of `at` (UTC ns) are priced by what is known at last: of each organisation
    with contracts its own, of everybody the rest."""
    replaced = {key for key in book.contracts if key[0] == ""}
    plans = [
        plan
        for provider in book.providers.values()
        for model in provider.models
        if ("", provider.id, model.id) not in replaced
        for plan in model.plans.values()
    ]
    plans += [plan for (org, _, _), model in book.contracts.items() if not org for plan in model.plans.values()]
    everybody = _valid(book.rows.filter(pl.col("plan").is_in(plans)), at)
    own = _valid(book.rows.filter(pl.col("org") != ""), at)
    return pl.concat([everybody, own]).unique(["price_id", "effective_from"], maintain_order=True)


def prices_of(book: PriceBook, org: str, provider: str, model: str, at: int) -> pl.DataFrame | None:
    """The rows by which calls of `model` at `at` (UTC ns) are priced, whatever their context, hour and length.

    None if no rule leads from the name to the book or a contract.
    """
    listed = under_contract(match(provider, model, None, book), org, book)
    unlisted = match_unlisted(provider, model, None, org, book)
    found = [_valid(_rows(book, one.model), at) for one in (unlisted, listed) if one]
    return next((rows for rows in found if rows.height), found[0] if found else None)


def like(book: PriceBook, name: str) -> list[str]:
    """Models of the book with a similar name."""
    known = [model.id for provider in book.providers.values() for model in provider.models]
    return get_close_matches(name.lower(), sorted(set(known)), n=3)


def _rows(book: PriceBook, model: Model) -> pl.DataFrame:
    return book.rows.filter(pl.col("plan").is_in(list(model.plans.values()))).unique(
        ["price_id", "effective_from", "known_from"], maintain_order=True
    )


def _valid(rows: pl.DataFrame, at: int) -> pl.DataFrame:
    return rows.filter(
        pl.col("known_to").is_null(),
        pl.col("effective_from").is_null() | (pl.col("effective_from") <= at),
        pl.col("effective_to").is_null() | (pl.col("effective_to") > at),
    )


def show_rows(rows: pl.DataFrame, reasons: Mapping[str, str]) -> Iterator[Shown]:
    """One mapping of PRICE_COLUMNS for each row of the book, in order. reasons: of the contracts, by price id."""
    named = {price_column(unit) for unit, _ in FIELDS.values()}
    others = [c for c in rows.columns if c.endswith("_price") and c not in named]
    for row in rows.sort(_SORTED).iter_rows(named=True):
        extra = {c.removesuffix("_price"): decimal(dollars(row[c], 10**6)) for c in others if row[c] is not None}
        hours = (row["hours_from"], row["hours_to"])
        yield {
            **{name: row[name] for name in ("org", "provider", "model", "context", "price_id", "source")},
            **{field: _dollars(row[price_column(unit)], count) for field, (unit, count) in FIELDS.items()},
            "above": row["input_above"],
            "other": ", ".join(f"{unit} {price} per million" for unit, price in extra.items()) or None,
            "hours": None if hours == (0, DAY_NS) else "-".join(_clock(edge) for edge in hours),
            "from": utc_time(row["effective_from"]),
            "to": utc_time(row["effective_to"]),
            "reason": reasons.get(row["price_id"]),
        }


def show_entries(entries: Iterable[Entry], known: Iterable[Entry]) -> Iterator[Shown]:
    """One mapping of HISTORY_COLUMNS for each band of each entry. known: all entries, to tell what is in force."""
    by_key: dict[tuple[str, ...], list[Entry]] = {}
    for entry in known:
        by_key.setdefault(entry.contract.key, []).append(entry)
    for entry in entries:
        made = entry.contract
        pieces = [p for p in timeline(by_key.get(made.key, [entry])) if p.entry == entry]
        periods = [f"{utc_time(p.start)} to {utc_time(p.end) or 'further notice'}" for p in pieces]
        for band in made.bands or [None]:
            prices = dict(band.prices) if band else {}
            above = band.above if band else None
            yield {
                **dict(zip(("org", "provider", "model", "context"), made.key, strict=True)),
                **{field: _dollars(prices.get(unit), count) for field, (unit, count) in FIELDS.items()},
                "above": above,
                "known_from": utc_time(entry.known_from),
                "from": utc_time(made.effective_from),
                "to": utc_time(made.effective_to),
                "in_force": ", ".join(periods) or "no",
                "withdrawn": not made.bands,
                "reason": entry.reason,
                "actor": entry.actor,
                "entry_id": entry.entry_id,
                "price_id": entry.price_id(above),
            }


def used(rows: Iterable[Shown], columns: Iterable[str]) -> list[str]:
    """Those of `columns` that say something in some row, for a table that people read."""
    found = list(rows)
    return [column for column in columns if any(row[column] not in (None, "", False) for row in found)]


def _dollars(yocto: int | None, count: int) -> str | None:
    return None if yocto is None else decimal(dollars(yocto, count))


def decimal(amount: Any) -> str:
    """A Decimal without exponent and without zeros at its end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def utc_time(ns: int | None) -> str | None:
    """UTC ns as a date, or as RFC 3339 to the microsecond where it is no midnight; None stays None."""
    if ns is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)
    if ns % DAY_NS == 0:
        return moment.date().isoformat()
    return moment.isoformat().replace("+00:00", "Z")


def _clock(of_day: int) -> str:
    minutes = of_day // (60 * 10**9)
    return f"{minutes // 60:02}:{minutes % 60:02}"
