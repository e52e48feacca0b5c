"""The book's models by name: the package's own matchers, indexed so that a look-up does not walk every model."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import product

from genai_prices import types

Context = frozenset[tuple[str, str]]
STANDARD: Context = frozenset()

_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


def write_context(context: Context) -> str:
    """`key=value` pairs, sorted, joined by ','."""
    return ",".join(f"{key}={value}" for key, value in sorted(context))


def read_context(label: str) -> Context:
    """The inverse of `write_context`."""
    return frozenset((key, value) for key, _, value in (pair.partition("=") for pair in label.split(",") if pair))


def combinations(pairs: Iterable[tuple[str, str]]) -> list[Context]:
    """Every context that can be made of `pairs`, with one value for a key, the standard one first."""
    values: dict[str, list[str | None]] = {}
    for key, value in pairs:
        options = values.setdefault(key, [None])
        if value not in options:
            options.append(value)
    chosen = product(*([(key, value) for value in options] for key, options in values.items()))
    return [frozenset((key, value) for key, value in pairs if value is not None) for pairs in chosen]


@dataclass(frozen=True)
class Model:
    """One model of the book. `plans`: number of its set of price rows in each context that changes its price."""

    provider: str
    id: str
    plans: Mapping[Context, int]

    def plan(self, context: Context) -> int | None:
        """The plan of a call in `context`; what does not change this model's price is left out of account.

        None for a model that only a contract lists, in a context that no contract is about.
        """
        return self.plans.get(context & self.pairs)

    @property
    def pairs(self) -> Context:
        """All that changes this model's price."""
        return frozenset().union(*self.plans)


@dataclass(frozen=True)
class Provider:
    """One seller. `exact` and `clauses` say which position in `models` a name has; the lowest one wins."""

    id: str
    models: tuple[Model, ...]
    exact: Mapping[str, int]
    clauses: tuple[tuple[int, types.MatchLogic], ...]
    fallbacks: tuple[str, ...]
    known_as: types.MatchLogic | None
    family: types.MatchLogic | None

    def own(self, name: str) -> Model | None:
        """The first of its models that matches `name` (lower case)."""
        best = self.exact.get(name, len(self.models))
        for position, clause in self.clauses:
            if position >= best:
                break
            if clause.is_match(name):
                best = position
                break
        return self.models[best] if best < len(self.models) else None

    def by_id(self, model_id: str) -> Model | None:
        return next((model for model in self.models if model.id == model_id), None)


def index_provider(provider: types.Provider, models: tuple[Model, ...]) -> Provider:
    """`models`: in the order of `provider.models`."""
    exact: dict[str, int] = {}
    clauses: list[tuple[int, types.MatchLogic]] = []
    for position, model in enumerate(provider.models):
        for clause in _alternatives(model.match):
            if isinstance(clause, types.ClauseEquals):
                exact.setdefault(clause.equals.lower(), position)
            else:
                clauses.append((position, clause))
    return Provider(
        id=provider.id,
        models=models,
        exact=exact,
        clauses=tuple(clauses),
        fallbacks=tuple(provider.fallback_model_providers or ()),
        known_as=provider.provider_match,
        family=provider.model_match,
    )


def _alternatives(clause: types.MatchLogic) -> Iterator[types.MatchLogic]:
    if isinstance(clause, types.ClauseOr):
        for alternative in clause.or_:
            yield from _alternatives(alternative)
    else:
        yield clause


def find_model(providers: Mapping[str, Provider], provider: Provider, name: str) -> Model | None:
    """The model that `genai_prices` finds: its own models, its fallbacks, then both with a compact date dashed."""
    name = name.lower()
    dashed = _COMPACT_DATE.sub(_dash, name)
    for spelling in (name,) if dashed == name else (name, dashed):
        for seller in (provider, *(providers[other] for other in provider.fallbacks)):
            if model := seller.own(spelling):
                return model
    return None


def _dash(match: re.Match[str]) -> str:
    year, month, day = (int(part) for part in match.groups())
    try:
        return f"-{date(year, month, day).isoformat()}"
    except ValueError:
        return match.group(0)


def find_provider(providers: Mapping[str, Provider], name: str) -> Provider | None:
    """The provider whose id is `name`, else the first whose matcher knows it, as `genai_prices` does."""
    name = name.lower().strip()
    if provider := providers.get(name):
        return provider
    return next((p for p in providers.values() if p.known_as and p.known_as.is_match(name)), None)
