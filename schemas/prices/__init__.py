"""Data beside the price book: how names are read (`names.toml`) and what the book lacks (`supplement.toml`)."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Form:
    """A model name that matches `pattern` is sold by `seller`."""

    name: str
    pattern: re.Pattern[str]
    seller: str


@dataclass(frozen=True)
class Spelling:
    """A rewrite of a model name to another spelling of the same model."""

    name: str
    pattern: re.Pattern[str]
    replace: str


@dataclass(frozen=True)
class Names:
    sellers: Mapping[str, str]
    open_names: frozenset[str]
    gateways: frozenset[str]
    first_party: tuple[str, ...]
    open_weights: tuple[str, ...]
    forms: tuple[Form, ...]
    spellings: tuple[Spelling, ...]


@dataclass(frozen=True)
class Rule:
    """One price that the book lacks: which models, since when, and where it is written."""

    name: str
    providers: tuple[str, ...]
    models: tuple[str, ...]
    effective_from: date
    source: str

    def covers(self, provider: str, model: str) -> bool:
        return provider in self.providers and any(fnmatchcase(model, pattern) for pattern in self.models)


@dataclass(frozen=True)
class Derived(Rule):
    unit: str
    of: str
    beside: str
    factor: Decimal


@dataclass(frozen=True)
class Backdated(Rule):
    context: tuple[str, str]


@dataclass(frozen=True)
class Discount(Rule):
    context: tuple[str, str]
    factor: Decimal


@dataclass(frozen=True)
class Supplement:
    derived: tuple[Derived, ...] = ()
    backdated: tuple[Backdated, ...] = ()
    discounts: tuple[Discount, ...] = ()

    def contexts(self, provider: str, model: str) -> list[Backdated | Discount]:
        """The rules that give a model a price in a context of its own."""
        rules = [*self.backdated, *self.discounts]
        return [rule for rule in rules if rule.covers(provider, model)]


def _table(file: str) -> dict[str, Any]:
    return tomllib.loads(files(__name__).joinpath(file).read_text("utf-8"))


def load_names() -> Names:
    table = _table("names.toml")
    return Names(
        sellers=table["sellers"],
        open_names=frozenset(table["open"]["names"]),
        gateways=frozenset(table["open"]["gateways"]),
        first_party=tuple(table["open"]["first_party"]),
        open_weights=tuple(table["open"]["open_weights"]),
        forms=tuple(Form(f["name"], re.compile(f["pattern"]), f["seller"]) for f in table["form"]),
        spellings=tuple(Spelling(s["name"], re.compile(s["pattern"]), s["replace"]) for s in table["spelling"]),
    )


def load_supplement() -> Supplement:
    """The rules of `supplement.toml`. Raises TypeError for an unknown field, KeyError for a missing one."""
    table = _table("supplement.toml")
    return Supplement(
        derived=tuple(Derived(**_rule(row)) for row in table["derived"]),
        backdated=tuple(Backdated(**_rule(row)) for row in table["backdated"]),
        discounts=tuple(Discount(**_rule(row)) for row in table["discount"]),
    )


def _rule(row: Mapping[str, Any]) -> dict[str, Any]:
    fields = {**row, "providers": tuple(row["providers"]), "models": tuple(row.get("models", ["*"]))}
    if "context" in row:
        ((key, value),) = row["context"].items()
        fields["context"] = (key, value)
    if "factor" in row:
        fields["factor"] = Decimal(row["factor"])
    return fields
