"""Which model of the price book a call used, by the book's matchers and the rules of `schemas/prices/names.toml`.

The response's model is tried before the request's. For each, in this order, the first that the book knows:
1. the provider and the name as they came;
2. other spellings of the name with the same provider (ARN, resource path, region prefix, `@date`, fine-tune, undated);
3. where the provider may be a mere dialect (`gateways`) or is not named: the seller in the name's prefix, as in
   `openrouter/openai/gpt-4o`, `vertex_ai/gemini-2.5-pro`, `openai:gpt-4o`;
4. where the provider is not named: the seller that the form of the name gives away, else the one provider whose
   `model_match` in the book takes the name, else the one first-party provider that lists it. Two takers are none.
A provider that is named and that the book does not know is never replaced by another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.price_book import PriceBook
from schemas.prices.index import STANDARD, Context, Model, Provider

# No name in the book is half as long; what is longer is not looked up.
_LONGEST_NAME = 256


@dataclass(frozen=True)
class Match:
    """`rule` says how the name was read: `as_named`, or the rules in the order in which they applied."""

    seller: str
    model: Model
    plan: int
    rule: str


def match(
    provider: str | None, request_model: str | None, response_model: str | None, context: Context, book: PriceBook
) -> Match | None:
    """The plan of price rows for a call, None where no rule leads to the book."""
    for name in (response_model, request_model):
        if not name or len(name) > _LONGEST_NAME:
            continue
        for rule, seller, spelling in _readings((provider or "").strip().lower(), name.strip().lower(), book):
            if model := _find(seller, spelling, rule, book):
                # As in genai-prices: a model borrowed from another seller has its standard price only.
                own = context if model.provider == seller.id else STANDARD
                return Match(seller.id, model, model.plan(own), rule)
    return None


def _find(seller: Provider, spelling: str, rule: str, book: PriceBook) -> Model | None:
    found = book.find_model(seller, spelling)
    if found is None and rule.endswith("fine_tune"):
        return seller.by_id(spelling)
    return found


def _readings(provider: str, name: str, book: PriceBook) -> Iterator[tuple[str, Provider, str]]:
    """(rule, seller, name) in the order in which to try them."""
    is_open = not provider or provider in book.names.open_names
    seller = None if is_open else _seller(provider, book)
    if seller:
        for rule, spelling in _spellings(name, book):
            yield rule, seller, spelling
    if not is_open and (seller is None or seller.id not in book.names.gateways):
        return
    while prefixed := _prefix(name, book):
        inner, name = prefixed
        for rule, spelling in _spellings(name, book):
            yield f"prefix,{rule}", inner, spelling
    if is_open:
        for rule, spelling in _spellings(name, book):
            if owner := _owner(spelling, book):
                yield f"owner,{rule}", owner, spelling


def _seller(provider: str, book: PriceBook) -> Provider | None:
    """The book's provider of that name; `azure.chat` is read as `azure` is."""
    named = book.names.sellers.get(provider) or book.names.sellers.get(provider.rpartition(".")[0])
    return book.providers[named] if named else book.find_provider(provider)


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
