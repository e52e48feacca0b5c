"""The price book as tables: every price of `genai-prices` as a row that a join can find.

Prices are integer yoctodollars (10^-24 dollars) for one unit, Int128: the finest of the book's prices, 18 decimals
per million tokens, is a whole number of them, so a cost is a sum of integer products and is rounded once.

A plan is what holds for one model in one context (service tier, batch ...): a set of rows that covers all times,
all hours of the day and all context lengths, without overlap or gap, so that exactly one row fits a call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import polars as pl
from genai_prices import __version__
from genai_prices.data import providers as DATA
from genai_prices.types import ModelInfo

from schemas.prices import Names, Supplement, load_names, load_supplement
from schemas.prices.compile import DAY_NS, UNITS, YOCTO, Period, bands, contexts, periods, price_id
from schemas.prices.index import Context, Model, Provider, find_model, find_provider, index_provider, write_context

YOCTO_PER_NANO = YOCTO // 10**9

# What a price row is, before its price columns: one Int128 per unit of UNITS, NULL where the row does not price it.
ROWS: dict[str, pl.DataType] = {
    "plan": pl.Int32(),
    "price_id": pl.String(),
    "org": pl.String(),  # '' for everybody; a contract's rows carry their organisation
    "provider": pl.String(),
    "model": pl.String(),
    "context": pl.String(),  # 'key=value' pairs, sorted, joined by ','; '' for the standard price
    "effective_from": pl.Int64(),  # UTC ns, inclusive; NULL: always
    "effective_to": pl.Int64(),  # UTC ns, exclusive; NULL: still valid
    "hours_from": pl.Int64(),  # ns since midnight UTC, inclusive
    "hours_to": pl.Int64(),  # exclusive
    "input_above": pl.Int64(),  # for inputs of more tokens than this; NULL: from nothing
    "input_up_to": pl.Int64(),  # and of at most this many; NULL: without end
    "free": pl.Boolean(),  # the book lists the model and charges nothing for it
    "known_from": pl.Int64(),  # for what was received from here on (UTC ns); NULL: whenever
    "known_to": pl.Int64(),  # and before this; NULL: still the last that is known
    "source": pl.String(),
}


def price_column(unit: str) -> str:
    """The name of the column with the price of `unit` (a usage key of genai-prices)."""
    return f"{unit}_price"


@dataclass(frozen=True)
class PriceBook:
    """Prices and the matchers that lead to them. `rows`: schema ROWS and one price column per unit, by plan.

    contracts: the plans of a model as an organisation ('' for everybody else) buys it from a seller, by (organisation,
    seller, model); where there is none, the book's own hold. unlisted: the sellers of the models that an
    organisation's contracts name and the book does not know, by (organisation, model).
    """

    rows: pl.DataFrame
    providers: Mapping[str, Provider]
    names: Names
    contracts: Mapping[tuple[str, str, str], Model] = field(default_factory=dict)
    unlisted: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    def contract(self, org: str, seller: str, model: str) -> Model | None:
        return self.contracts.get((org, seller, model)) or self.contracts.get(("", seller, model))

    def sellers(self, org: str, model: str) -> frozenset[str]:
        """Who sells a model that contracts of `org` list, its own or everybody's, and the book does not."""
        return self.unlisted.get((org, model), frozenset()) | self.unlisted.get(("", model), frozenset())

    @cached_property
    def orgs(self) -> frozenset[str]:
        """The organisations that have contracts of their own."""
        return frozenset(org for org, _, _ in self.contracts if org)

    def find_provider(self, name: str) -> Provider | None:
        return find_provider(self.providers, name)

    def find_model(self, provider: Provider, name: str) -> Model | None:
        return find_model(self.providers, provider, name)

    @cached_property
    def units(self) -> tuple[str, ...]:
        """The units that some row prices."""
        return tuple(unit for unit in UNITS.values() if self.rows[price_column(unit)].count())

    @cached_property
    def context_keys(self) -> frozenset[str]:
        """The keys of request contexts that change some price, e.g. service_tier, processing."""
        labels = self.rows["context"].unique().to_list()
        return frozenset(pair.split("=")[0] for label in labels for pair in label.split(",") if pair)


def compile_book(supplement: Supplement | None = None) -> PriceBook:
    """The default book of `genai-prices` as tables, with `supplement` on top (default: `supplement.toml`).

    Raises ValueError for a price that no row can hold (see `bands`).
    """
    rules = load_supplement() if supplement is None else supplement
    rows: list[dict[str, object]] = []
    providers: dict[str, Provider] = {}
    plan = 0
    for data in DATA:
        models: list[Model] = []
        for info in data.models:
            plans: dict[Context, int] = {}
            for context in contexts(info, rules, data.id):
                plans[context] = plan
                rows += _plan_rows(plan, data.id, info, context, rules)
                plan += 1
            models.append(Model(data.id, info.id, plans))
        providers[data.id] = index_provider(data, tuple(models))
    prices = {price_column(unit): pl.Int128() for unit in sorted(UNITS.values())}
    return PriceBook(pl.DataFrame(rows, schema={**ROWS, **prices}), providers, load_names())


def _plan_rows(
    plan: int, provider: str, info: ModelInfo, context: Context, rules: Supplement
) -> list[dict[str, object]]:
    found = periods(info, context, rules, provider)
    ends = [period.start for period in found[1:]] + [None]
    label = write_context(context)
    rows: list[dict[str, object]] = []
    for period, end in zip(found, ends, strict=True):
        row = {
            "plan": plan,
            "org": "",
            "provider": provider,
            "model": info.id,
            "context": label,
            "effective_from": _midnight(period.start),
            "effective_to": _midnight(end),
            "source": f"genai-prices {__version__}",
        }
        rows += [{**row, **priced} for priced in _priced(provider, info.id, label, period)]
    return rows


def _priced(provider: str, model: str, label: str, period: Period) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for hours_from, hours_to, prices in period.by_hours:
        for above, up_to, units in bands(prices):
            conditions = (label, hours_from, hours_to, above, up_to, sorted(units.items()))
            row: dict[str, object] = {
                "price_id": price_id(provider, model, period.start, conditions),
                "hours_from": hours_from,
                "hours_to": hours_to,
                "input_above": above,
                "input_up_to": up_to,
                "free": not prices,
            }
            rows.append(row | {price_column(unit): price for unit, price in units.items()})
    return rows


def _midnight(day: date | None) -> int | None:
    return None if day is None else (day - date(1970, 1, 1)).days * DAY_NS
