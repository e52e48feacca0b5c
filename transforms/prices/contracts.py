"""Lays contracts over the price book: plans in which a contract's periods replace the rows of the book.

For each organisation, seller and model with contracts, and each context, the plan holds the book's rows cut by the
periods of the contracts for everybody, and those cut by the periods of the organisation's own; so whatever the time,
exactly one row fits. It does so for each moment at which something more became known.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from itertools import combinations as choose
from typing import Any

import polars as pl

from schemas.price_book import PriceBook, price_column
from schemas.prices.compile import DAY_NS
from schemas.prices.contracts import Contract, ContractError, Entry
from schemas.prices.index import STANDARD, Context, Model, Provider, combinations, read_context
from transforms.prices.pricing import limit

Row = dict[str, Any]  # of PriceBook.rows
Span = tuple[int, int]  # UTC ns, from (inclusive) and to
_END = 2**63 - 1
_TERMS = {"hours_from", "hours_to", "input_above", "input_up_to", "free"}


@dataclass(frozen=True)
class Piece:
    """A period in which `entry` is in force: UTC ns, `end` is exclusive and None if there is none."""

    start: int
    end: int | None
    entry: Entry


def timeline(entries: Iterable[Entry]) -> list[Piece]:
    """What is in force when, of entries about the same prices: no overlap, in order of time, gaps where none speaks."""
    by_order = sorted(entries, key=lambda entry: entry.order, reverse=True)
    edges = sorted({edge for entry in by_order for edge in (entry.contract.effective_from, _end(entry.contract))})
    found: list[Piece] = []
    for start, end in pairwise(edges):
        covering = (e for e in by_order if e.contract.effective_from <= start and _end(e.contract) >= end)
        winner = next(covering, None)
        if winner is None:
            continue
        if found and found[-1].entry is winner and found[-1].end == start:
            start = found.pop().start
        found.append(Piece(start, None if end == _END else end, winner))
    return found


def _end(contract: Contract) -> int:
    return _or(contract.effective_to, _END)


def require_sound(contract: Contract) -> None:
    """Raises ContractError if the contract covers no time, or its prices leave no exact cost."""
    if contract.effective_from >= _end(contract):
        raise ContractError("it ends before it begins")
    thresholds = [band.above for band in contract.bands]
    if thresholds and (thresholds[0] is not None or len(set(thresholds)) < len(thresholds)):
        raise ContractError("its first band starts at no number of tokens, each other one at one of its own")
    for band in contract.bands:
        if any(price < 0 for _, price in band.prices):
            raise ContractError("a price is negative")
        if not band.prices:
            raise ContractError("it states no price")
        if sum(price * limit(unit) for unit, price in band.prices) >= 2**127:
            raise ContractError("its prices are too high for an exact cost")


def with_contracts(book: PriceBook, entries: Iterable[Entry]) -> PriceBook:
    """The default book with contracts over it. What an organisation agreed on is seen in its own plans only.

    A contract names a seller and a model of the book, by any name of the model that the seller's matchers take, or
    ones that the book does not know. Raises ContractError for an entry that cannot hold (see `require_sound`).
    """
    stated: dict[tuple[str, str], dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        require_sound(entry.contract)
        made = entry.contract
        listed = find_listed(book, made.provider, made.model)
        stated[made.provider, listed.id if listed else made.model][made.org].append(entry)
    plans = _Plans(book)
    contracts: dict[tuple[str, str, str], Model] = {}
    unlisted: dict[tuple[str, str], frozenset[str]] = {}
    for (seller, model), by_org in sorted(stated.items()):
        listed = find_listed(book, seller, model)
        for org in sorted(by_org):
            layers = [by_org[layer] for layer in dict.fromkeys(("", org)) if layer in by_org]
            contracts[org, seller, model] = plans.compose(seller, model, listed, layers)
            if listed is None:
                unlisted[org, model] = unlisted.get((org, model), frozenset()) | {seller}
    rows = pl.DataFrame(plans.rows, schema=book.rows.schema)
    return replace(book, rows=pl.concat([book.rows, rows]), contracts=contracts, unlisted=unlisted)


def find_listed(book: PriceBook, seller: str, model: str) -> Model | None:
    """The model of the book that `seller` sells under this id or name, its own or one of another seller."""
    found = book.providers.get(seller)
    if found is None:
        return None
    sellers: list[Provider] = [found, *(book.providers[other] for other in found.fallbacks)]
    by_id = next((listed for one in sellers if (listed := one.by_id(model))), None)
    return by_id or book.find_model(found, model)


class _Plans:
    """The plans that contracts bring, numbered after those of the book, and their rows."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._next = int(book.rows["plan"].max() or 0) + 1  # type: ignore[arg-type]
        self.rows: list[Row] = []

    def compose(self, seller: str, model: str, listed: Model | None, orgs: Sequence[Sequence[Entry]]) -> Model:
        """The model as it is bought under the entries of `orgs`, each over those before.

        A contract for a context also holds in each more specific one, while the book prices both alike: that for the
        standard price in the tier `default`, say. Of two such contracts the more specific one holds.
        """
        own = listed.pairs if listed and listed.provider == seller else STANDARD  # what is borrowed has no contexts
        by_context = [_by_context(entries) for entries in orgs]
        agreed = {pair for context in chain(*by_context) for pair in context}
        below = {
            context: self._rows(listed, context & own) for context in combinations([*sorted(own), *sorted(agreed)])
        }
        plans: dict[Context, int] = {}
        for context, rows in below.items():
            layers = [
                (layer[wider], alike)
                for layer in by_context
                for wider in _wider(context)
                if wider in layer and (alike := _alike(rows, below[wider]))
            ]
            if layers:
                plans[context] = self._add(rows, layers)
            elif listed:
                plans[context] = listed.plans[context & own]
        return Model(seller, model, plans)

    def _rows(self, listed: Model | None, context: Context) -> list[Row]:
        return self._book.rows.filter(plan=listed.plan(context)).to_dicts() if listed else []

    def _add(self, below: Sequence[Row], layers: Sequence[tuple[Sequence[Entry], Sequence[Span]]]) -> int:
        moments = sorted({entry.known_from for entries, _ in layers for entry in entries})
        for since, until in zip([None, *moments], [*moments, None], strict=True):
            rows = list(below)
            for entries, spans in layers:
                known = timeline(entry for entry in entries if since is not None and entry.known_from <= since)
                pieces = [clipped for piece in known for span in spans if (clipped := _clip(piece, span))]
                rows = [*_around(rows, pieces), *(row for piece in pieces for row in _rows_of(piece))]
            self.rows += [{**row, "plan": self._next, "known_from": since, "known_to": until} for row in rows]
        self._next += 1
        return self._next - 1


def _wider(context: Context) -> list[Context]:
    """The contexts that say no more than `context`, which is the last of them."""
    pairs = sorted(context)
    return [frozenset(chosen) for size in range(len(pairs) + 1) for chosen in choose(pairs, size)]


def _alike(rows: Sequence[Row], others: Sequence[Row]) -> list[Span]:
    """The times at which two plans of the book state the same prices under the same conditions."""
    edges = {bound for row in (*rows, *others) for bound in _span(row)} | {-_END, _END}
    found: list[Span] = []
    for start, end in pairwise(sorted(edges)):
        if _terms(rows, start) == _terms(others, start):
            found.append((found.pop()[0] if found and found[-1][1] == start else start, end))
    return found


def _terms(rows: Sequence[Row], at: int) -> set[tuple[object, ...]]:
    """What the rows that hold at `at` state, whatever their names and dates."""
    return {
        tuple(value for name, value in row.items() if name in _TERMS or name.endswith("_price"))
        for row in rows
        if _span(row)[0] <= at < _span(row)[1]
    }


def _span(row: Row) -> Span:
    return _or(row["effective_from"], -_END), _or(row["effective_to"], _END)


def _clip(piece: Piece, span: Span) -> Piece | None:
    start, end = max(piece.start, span[0]), min(_or(piece.end, _END), span[1])
    return Piece(start, None if end == _END else end, piece.entry) if start < end else None


def _by_context(entries: Iterable[Entry]) -> dict[Context, list[Entry]]:
    found: dict[Context, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[read_context(entry.contract.context)].append(entry)
    return found


def _around(rows: Iterable[Row], pieces: Sequence[Piece]) -> Iterator[Row]:
    """`rows` without the time of those `pieces` that state prices."""
    taken = [(piece.start, _or(piece.end, _END)) for piece in pieces if piece.entry.contract.bands]
    for row in rows:
        start, end = _span(row)
        left: list[Span] = []
        for first, last in taken:
            if first < end and last > start:
                left.append((start, first))
                start = last
        for first, last in [*left, (start, end)]:
            if first < last:
                bounds = {
                    "effective_from": None if first == -_END else first,
                    "effective_to": None if last == _END else last,
                }
                yield row | bounds


def _or(bound: int | None, unbounded: int) -> int:
    return unbounded if bound is None else bound


def _rows_of(piece: Piece) -> Iterator[Row]:
    entry, made = piece.entry, piece.entry.contract
    ends = [*(band.above for band in made.bands[1:]), None]
    for band, up_to in zip(made.bands, ends, strict=False):
        yield {
            "price_id": entry.price_id(band.above),
            "org": made.org,
            "provider": made.provider,
            "model": made.model,
            "context": made.context,
            "effective_from": piece.start,
            "effective_to": piece.end,
            "hours_from": 0,
            "hours_to": DAY_NS,
            "input_above": band.above,
            "input_up_to": up_to,
            "free": False,
            "source": f"contract {entry.entry_id}",
            **{price_column(unit): price for unit, price in band.prices},
        }
