"""Which model of the price book a call used, by the book's matchers and the rules of `schemas/prices/names.toml`.

The response's model is tried before the request's. For each, in this order, the first that the book knows:
1. the provider and the name as they came;
2. other spellings of the name with the same provider (ARN, resource path, region prefix, `@date`, fine-tune, undated);
3. the seller in the name's prefix, as in `openrouter/openai/gpt-4o`, `vertex_ai/gemini-2.5-pro`, `openai:gpt-4o`,
   where it is the provider itself, or the provider may be a mere dialect (`gateways`) or is not named;
4. where the provider is not named: the seller that the form of the name gives away, else the one provider whose
   `model_match` in the book takes the name, else the one first-party provider that lists it. Two takers are none.
3 and 4 do not make the publisher of open weights the seller.
A provider that is named and that the book does not know is never replaced by another.

A model that contracts list and the book does not is matched apart (`match_unlisted`): by the same readings, by the
provider's name as it came, and where none is named by the one seller that the contracts name for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from schemas.price_book import PriceBook
from schemas.prices.index import STANDARD, Context, Model, Provider

# No name in the book is half as long; what is longer is not looked up.
_LONGEST_NAME = 256
# A gateway behind a gateway, as in `openrouter/openai/gpt-4o`.
_MOST_PREFIXES = 2


@dataclass(frozen=True)
class Match:
    """The book's `model` as sold by `seller`. `rule`: how the name was read, e.g. `as_named`, `prefix,at_date`."""

    seller: str
    model: Model
    rule: str

    def plan(self, context: Context) -> int | None:
        """The plan of price rows in a context; as in genai-prices, a model borrowed from another seller has its
        standard price only. None as in `Model.plan`."""
        return self.model.plan(context if self.model.provider == self.seller else STANDARD)


def match(provider: str | None, request_model: str | None, response_model: str | None, book: PriceBook) -> Match | None:
    """The model that a call used, None where no rule leads to the book."""
    provider = (provider or "").strip().lower()
    for name in _names(provider, response_model, request_model):
        for rule, seller, spelling in _readings(provider, name, book):
            if model := _find(seller, spelling, rule, book):
                return Match(seller.id, model, rule)
    return None


def under_contract(found: Match | None, org: str, book: PriceBook) -> Match | None:
    """The match with the plans that the contracts of `org`, else those for everybody, make of the book's."""
    contract = book.contract(org, found.seller, found.model.id) if found else None
    return replace(found, model=contract) if found and contract else found


def match_unlisted(
    provider: str | None, request_model: str | None, response_model: str | None, org: str, book: PriceBook
) -> Match | None:
    """The model that a call used, of those that only contracts of `org` or for everybody list; else None."""
    if not book.unlisted:
        return None
    provider = (provider or "").strip().lower()
    for name in _names(provider, response_model, request_model):
        for rule, seller, spelling in _contract_readings(provider, name, org, book):
            if seller in book.sellers(org, spelling) and (model := book.contract(org, seller, spelling)):
                return Match(seller, model, f"contract,{rule}")
    return None


def _names(provider: str, *models: str | None) -> list[str]:
    """The names that are looked up, lower case."""
    return [] if len(provider) > _LONGEST_NAME else [n.strip().lower() for n in models if n and len(n) <= _LONGEST_NAME]


def _contract_readings(provider: str, name: str, org: str, book: PriceBook) -> Iterator[tuple[str, str, str]]:
    """(rule, seller, name) in the order in which to try them."""
    for rule, spelling in _spellings(name, book):
        yield rule, provider, spelling
    for rule, seller, spelling in _readings(provider, name, book):
        yield rule, seller.id, spelling
    if _is_open(provider, book):
        for rule, spelling in _spellings(name, book):
            sellers = book.sellers(org, spelling)
            yield from ((f"owner,{rule}", seller, spelling) for seller in sellers if len(sellers) == 1)


def _find(seller: Provider, spelling: str, rule: str, book: PriceBook) -> Model | None:
    found = book.find_model(seller, spelling)
    if found is None and rule.endswith("fine_tune"):
        return seller.by_id(spelling)
    return found


def _readings(provider: str, name: str, book: PriceBook) -> Iterator[tuple[str, Provider, str]]:
    """(rule, seller, name) in the order in which to try them."""
    is_open = _is_open(provider, book)
    seller = None if is_open else _seller(provider, book)
    if seller:
        for rule, spelling in _spellings(name, book):
            yield rule, seller, spelling
    for _ in range(_MOST_PREFIXES):
        prefixed = _prefix(name, book)
        if not prefixed or not (is_open or _believes(seller, prefixed[0], book)):
            break
        inner, name = prefixed
        for rule, spelling in _spellings(name, book):
            if not _served_by_anybody(spelling, inner, book):
                yield f"prefix,{rule}", inner, spelling
    if is_open:
        for rule, spelling in _spellings(name, book):
            owner = _owner(spelling, book)
            if owner and not _served_by_anybody(spelling, owner, book):
                yield f"owner,{rule}", owner, spelling


def _is_open(provider: str, book: PriceBook) -> bool:
    return not provider or provider in book.names.open_names


def _believes(seller: Provider | None, prefix: Provider, book: PriceBook) -> bool:
    return seller is not None and (seller.id == prefix.id or seller.id in book.names.gateways)


def _served_by_anybody(name: str, seller: Provider, book: PriceBook) -> bool:
    return seller.id in book.names.first_party and name.startswith(book.names.open_weights)


def _seller(provider: str, book: PriceBook) -> Provider | None:
    """The book's provider of that name; the AI SDK's `azure.chat` is `azure`."""
    spellings = [name for name in (provider, provider.rpartition(".")[0]) if name]
    for name in spellings:
        if known := book.names.sellers.get(name):
            return book.providers[known]
    return next((found for name in spellings if (found := book.find_provider(name))), None)


def _prefix(name: str, book: PriceBook) -> tuple[Provider, str] | None:
    """The seller named before the first `/` or `:`, by its whole name, and the rest."""
    for separator in "/:":
        head, found, rest = name.partition(separator)
        known = book.names.sellers.get(head, head)
        if found and rest and known in book.providers:
            return book.providers[known], rest
    return None


def _spellings(name: str, book: PriceBook) -> Iterator[tuple[str, str]]:
    yield "as_named", name
    for spelling in book.names.spellings:
        rewritten = spelling.pattern.sub(spelling.replace, name, count=1)
        if rewritten != name:
            name = rewritten
            yield spelling.name, name


def _owner(name: str, book: PriceBook) -> Provider | None:
    for form in book.names.forms:
        if form.pattern.search(name):
            return book.providers[form.seller]
    takers = [p for p in book.providers.values() if p.family and p.family.is_match(name)]
    if not takers:
        takers = [book.providers[p] for p in book.names.first_party if book.providers[p].own(name)]
    return takers[0] if len(takers) == 1 else None
