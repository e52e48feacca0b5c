"""What lines of fields state: contracts, or everything that is wrong with them."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches
from itertools import combinations, pairwise
from typing import Any, TypeVar

from cli.prices.lines import FileRefused, Line
from schemas.price_book import PriceBook, price_column
from schemas.prices.contracts import FIELDS, Band, Contract, ContractError, yoctodollars
from schemas.prices.index import read_context, write_context
from transforms.prices.contracts import find_listed, require_sound

_WHERE = ("org", "provider", "model", "context", "from", "to", "above", "withdraw")
_REQUIRED = ("provider", "model", "from")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# More places than any price has: what a binary floating-point number looks like in decimals.
_MOST_PLACES = 12
_EPOCH, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)  # what the store's times can hold
_T = TypeVar("_T")


@dataclass(frozen=True)
class Statements:
    """warnings: what holds, but may not be meant."""

    contracts: list[Contract]
    warnings: list[str]


@dataclass(frozen=True)
class _Stated:
    """One band of a contract and the line that states it."""

    line: Line
    contract: Contract

    @property
    def above(self) -> int | None:
        return self.contract.bands[0].above if self.contract.bands else None


def read_statements(lines: Iterable[Line], book: PriceBook, unlisted: bool) -> Statements:
    """The contracts that `lines` state, checked as a whole against each other and the default book.

    unlisted: whether models that the book does not know may be named. Raises FileRefused with every mistake.
    """
    mistakes: list[str] = []
    stated = [one for line in lines if (one := _attempt(mistakes, _read, line, book, unlisted))]
    by_period: dict[tuple[object, ...], list[_Stated]] = defaultdict(list)
    for one in stated:
        by_period[*one.contract.key, one.contract.effective_from, one.contract.effective_to].append(one)
    whole = [one for group in by_period.values() if (one := _attempt(mistakes, _join, group))]
    for one, other in combinations(whole, 2):
        if one.contract.overlaps(other.contract):
            mistakes.append(f"{other.line}: it overlaps the period of {one.line}")
    if mistakes:
        raise FileRefused("\n".join(dict.fromkeys(mistakes)))
    warnings = [*_gaps(whole), *(warning for one in whole for warning in _left_out(one, book))]
    return Statements([one.contract for one in whole], warnings)


def _attempt(mistakes: list[str], function: Callable[..., _T], *arguments: Any) -> _T | None:
    try:
        return function(*arguments)
    except FileRefused as error:
        mistakes.append(str(error))
        return None


def _read(line: Line, book: PriceBook, unlisted: bool) -> _Stated:
    mistakes: list[str] = []
    for field in line.fields:
        if field not in _WHERE and field not in FIELDS:
            mistakes.append(f"{line.at(field)}: no such field{_meant(field, [*_WHERE, *FIELDS])}")
    mistakes += [f"{line}: {field} is missing" for field in _REQUIRED if not line.fields.get(field)]
    if mistakes:
        raise FileRefused("\n".join(mistakes))
    values: dict[str, Any] = {
        field: _attempt(mistakes, _value, line, field, text, reader)
        for field, text in line.fields.items()
        if (reader := _READERS.get(field, _price if field in FIELDS else str))
    }
    context = _attempt(mistakes, _value, line, "context", line.fields.get("context", ""), lambda t: _context(t, book))
    seller, model = _attempt(mistakes, _model, line, book, unlisted) or ("", "")
    if mistakes:
        raise FileRefused("\n".join(mistakes))
    prices = tuple(sorted((FIELDS[f][0], yoctodollars(values[f], FIELDS[f][1])) for f in FIELDS if f in values))
    if bool(prices) == bool(values.get("withdraw")):
        raise FileRefused(f"{line}: it states {'prices and that they end' if prices else 'no price'}")
    bands = (Band(values.get("above") or None, prices),) if prices else ()
    period = (values["from"], values.get("to"))
    return _Stated(line, Contract(values.get("org", ""), seller, model, context or "", *period, bands))


def _value(line: Line, field: str, text: str, reader: Callable[[str], _T]) -> _T:
    try:
        return reader(text)
    except ValueError as error:
        raise FileRefused(f"{line.at(field)}: {error}") from error


def _price(text: str) -> Decimal:
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is not an exact decimal such as 2.50")
    if len(text.partition(".")[2]) > _MOST_PLACES:
        raise ValueError(f"{text} has more than {_MOST_PLACES} decimal places, like a float that is no exact decimal")
    price = Decimal(text)
    if price < 0 or text.startswith("-"):
        raise ValueError(f"{text} is negative")
    return price


def read_time(text: str) -> int:
    """UTC ns of a date (its midnight in UTC) or of an RFC 3339 time. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no date such as 2026-01-31 or 2026-01-31T09:00:00Z ({error})") from error
    if _DAY.fullmatch(text):
        moment = moment.replace(tzinfo=UTC)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no zone: write 2026-01-31T09:00:00Z")
    if not _EPOCH <= moment < _LAST:
        raise ValueError(f"{text!r} is not between {_EPOCH.year} and {_LAST.year}")
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise ValueError(f"{text!r} is not a number of tokens")
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is not true or false")
    return text.lower() == "true"


_READERS: dict[str, Callable[[str], Any]] = {"from": read_time, "to": read_time, "above": _count, "withdraw": _flag}


def _context(text: str, book: PriceBook) -> str:
    context = read_context(text.lower().replace(" ", ""))
    unknown = sorted(key for key, _ in context if key not in book.context_keys)
    if unknown or any(not value for _, value in context) or len(dict(context)) < len(context):
        known = ", ".join(sorted(book.context_keys))
        raise ValueError(f"{text!r} is not key=value pairs such as processing=batch; the keys are {known}")
    return write_context(context)


def _model(line: Line, book: PriceBook, unlisted: bool) -> tuple[str, str]:
    """Seller and model as the book names them."""
    seller, model = line.fields["provider"].lower(), line.fields["model"].lower()
    called = book.names.sellers.get(seller, seller)
    if called != seller:
        raise FileRefused(f"{line.at('provider')}: the price book calls it {called}")
    listed = find_listed(book, seller, line.fields["model"])
    if listed and listed.id.lower() != model:
        raise FileRefused(f"{line.at('model')}: {model} is one name of {listed.id}; name that, it holds for all")
    if listed or unlisted:
        return seller, listed.id if listed else model
    if seller not in book.providers:
        meant = _meant(seller, book.providers)
        raise FileRefused(f"{line.at('provider')}: the price book has no {seller}{meant}; --new allows it")
    meant = _meant(model, [known.id for known in book.providers[seller].models])
    raise FileRefused(f"{line.at('model')}: {seller} has no {model} in the price book{meant}; --new allows it")


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" (is {close[0]} meant?)" if close else ""


def _join(bands: list[_Stated]) -> _Stated:
    """The bands of one period as one contract."""
    ordered = sorted(bands, key=lambda one: one.above or 0)
    for one, other in pairwise(ordered):
        if one.above == other.above:
            raise FileRefused(f"{other.line}: it overlaps the period of {one.line}")
    first = ordered[0]
    joined = tuple(band for one in ordered for band in one.contract.bands)
    if first.above is not None:
        raise FileRefused(f"{first.line.at('above')}: the prices for up to {first.above} tokens are missing")
    made = Contract(*first.contract.key, first.contract.effective_from, first.contract.effective_to, joined)
    try:
        require_sound(made)
    except ContractError as error:
        raise FileRefused(f"{first.line}: {error}") from error
    return _Stated(first.line, made)


def _gaps(stated: Iterable[_Stated]) -> Iterable[str]:
    ordered = sorted(stated, key=lambda one: (one.contract.key, one.contract.effective_from))
    for one, other in pairwise(ordered):
        end = one.contract.effective_to
        if one.contract.key == other.contract.key and end is not None and end < other.contract.effective_from:
            yield f"{other.line}: a gap: the price book holds between the end of {one.line} and its start"


def _left_out(one: _Stated, book: PriceBook) -> Iterable[str]:
    """The prices that the book states for the model and the contract does not."""
    made = one.contract
    listed = find_listed(book, made.provider, made.model)
    plan = listed.plan(read_context(made.context)) if listed and made.bands else None
    if plan is None:
        return
    rows = book.rows.filter(plan=plan)
    stated = {unit for unit, _ in made.bands[0].prices}
    missing = [f for f, (unit, _) in FIELDS.items() if unit not in stated and rows[price_column(unit)].count()]
    if missing:
        yield f"{one.line}: not stated, so billed as what they are part of or not at all: {', '.join(missing)}"
