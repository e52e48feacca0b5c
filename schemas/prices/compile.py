"""Turns one model of the package's data into price rows: one per context, period, hours and context length."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from hashlib import blake2b

from genai_prices import types
from genai_prices.data_units import unit_data

from schemas.prices import Discount, Supplement
from schemas.prices.index import Context, combinations

DAY_NS = 86_400 * 10**9
# Families of units that a span does not count: hours of audio, pixels.
_UNCOUNTED = {"durations", "pixels"}
UNITS: dict[str, str] = {
    unit["price_key"]: usage_key
    for usage_key, unit in unit_data.items()
    if unit["dimensions"]["family"] not in _UNCOUNTED
}
# 10^-24 dollars: the finest decimal of the book's prices per single unit, so that every price is an integer.
YOCTO = 10**24


@dataclass(frozen=True)
class Rate:
    """A price in dollars per `per` units: `base`, and from the first input token above `start` another."""

    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()

    def scaled(self, factor: Decimal) -> "Rate":
        return Rate(self.base * factor, tuple((start, price * factor) for start, price in self.tiers))

    def above(self, threshold: int) -> Decimal:
        """The price for an input of more than `threshold` tokens, up to the next tier."""
        return next((price for start, price in reversed(self.tiers) if threshold >= start), self.base)


Prices = dict[str, Rate]  # by price key of the package, e.g. input_mtok


@dataclass(frozen=True)
class Period:
    """Prices of one context from `start` (None: always) on, by the hours of the day in which they hold."""

    start: date | None
    by_hours: tuple[tuple[int, int, Prices], ...]


def contexts(model: types.ModelInfo, rules: Supplement, provider: str) -> list[Context]:
    """Every combination of request contexts that can change the model's price, the standard one first."""
    pairs = [pair for variant in model.price_variants or () for pair in variant.when.items()]
    return combinations([*pairs, *(rule.context for rule in rules.contexts(provider, model.id))])


def periods(model: types.ModelInfo, context: Context, rules: Supplement, provider: str) -> list[Period]:
    """The model's prices over all time, without overlap or gap, in order of `start`."""
    starts, hours = _boundaries(model, context, rules, provider)
    found: list[Period] = []
    for start in (None, *starts):
        day = start or (starts[0] - timedelta(days=1) if starts else date(2000, 1, 1))
        by_hours = tuple((a, b, _price_at(model, day, a, context, rules, provider)) for a, b in hours)
        if all(prices == by_hours[0][2] for _, _, prices in by_hours):
            by_hours = ((0, DAY_NS, by_hours[0][2]),)
        if not found or found[-1].by_hours != by_hours:
            found.append(Period(start, by_hours))
    return found


def _boundaries(
    model: types.ModelInfo, context: Context, rules: Supplement, provider: str
) -> tuple[list[date], list[tuple[int, int]]]:
    conditions = [] if isinstance(model.prices, types.ModelPrice) else [c.constraint for c in model.prices]
    conditions += [variant.constraint for variant in model.price_variants or ()]
    dates = {c.start_date for c in conditions if isinstance(c, types.StartDateConstraint)}
    dates |= {rule.effective_from for rule in rules.contexts(provider, model.id) if rule.context in context}
    dates |= {rule.effective_from for rule in rules.derived if rule.covers(provider, model.id)}
    moments = {0, DAY_NS}
    for condition in conditions:
        if isinstance(condition, types.TimeOfDateConstraint):
            moments |= {_of_day(condition.start_time), _of_day(condition.end_time)}
    edges = sorted(moments)
    return sorted(dates), list(zip(edges, edges[1:], strict=False))


def _of_day(value: time) -> int:
    """Nanoseconds since midnight UTC; a time without a zone is UTC, as the package reads it."""
    moment = datetime.combine(date(2000, 1, 2), value)
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    return ((utc.hour * 60 + utc.minute) * 60 + utc.second) * 10**9 + utc.microsecond * 1000


def _price_at(
    model: types.ModelInfo, day: date, of_day: int, context: Context, rules: Supplement, provider: str
) -> Prices:
    moment = datetime.combine(day, time(), UTC) + timedelta(microseconds=of_day // 1000)
    prices = _rates(model.get_prices(moment, dict(context)))
    prices = _supplemented(prices, model, moment, context, rules, provider)
    for rule in rules.derived:
        unit, of, beside = (unit_data[key]["price_key"] for key in (rule.unit, rule.of, rule.beside))
        applies = rule.covers(provider, model.id) and moment.date() >= rule.effective_from
        if applies and beside in prices and unit not in prices:
            prices = {**prices, unit: prices[of].scaled(rule.factor)}
    return prices


def _supplemented(
    prices: Prices,
    model: types.ModelInfo,
    moment: datetime,
    context: Context,
    rules: Supplement,
    provider: str,
) -> Prices:
    """`prices` by the first rule of the supplement for something in `context` that the book at `moment` leaves out."""
    for rule in rules.contexts(provider, model.id):
        variants = [variant for variant in model.price_variants or () if variant.when == dict([rule.context])]
        stated = any(v.constraint is None or v.constraint.active(moment) for v in variants)
        if stated or rule.context not in context or moment.date() < rule.effective_from:
            continue
        if isinstance(rule, Discount):
            return {k: rate.scaled(rule.factor) if k.endswith("_mtok") else rate for k, rate in prices.items()}
        if backdated := _first_variant(model, variants, moment):
            return {**prices, **backdated}
    return prices


def _first_variant(model: types.ModelInfo, variants: list[types.PriceVariant], moment: datetime) -> Prices | None:
    """The oldest variant's prices, if the standard price at `moment` is the one it was first sold beside."""
    dated = [(v.constraint.start_date, v) for v in variants if isinstance(v.constraint, types.StartDateConstraint)]
    if not dated:
        return None
    start, variant = min(dated, key=lambda pair: pair[0])
    recorded = model.get_prices(datetime.combine(start, moment.time(), UTC))
    return _rates(variant.prices) if recorded == model.get_prices(moment) else None


def _rates(prices: types.ModelPrice) -> Prices:
    rates: Prices = {}
    for key, value in vars(prices).items():
        if isinstance(value, types.TieredPrices):
            rates[key] = Rate(value.base, tuple((tier.start, tier.price) for tier in value.tiers))
        elif isinstance(value, Decimal):
            rates[key] = Rate(value)
    return rates


def bands(prices: Prices) -> Iterator[tuple[int | None, int | None, Mapping[str, int]]]:
    """(above, up to, yoctodollars by usage key) per range of input tokens.

    Raises ValueError for a price that is not a whole number of yoctodollars, and for tiers without a price for input:
    the package then reads the length of the context in another way.
    """
    counted = {key: rate for key, rate in prices.items() if key in UNITS}
    thresholds = sorted({start for rate in counted.values() for start, _ in rate.tiers})
    if thresholds and "input_mtok" not in counted:
        raise ValueError("a context tier without a price for input tokens")
    for above, up_to in zip((None, *thresholds), (*thresholds, None), strict=True):
        threshold = -1 if above is None else above
        units = {UNITS[key]: _yocto(key, rate.above(threshold)) for key, rate in counted.items()}
        yield above, up_to, units


def _yocto(price_key: str, dollars: Decimal) -> int:
    numerator, denominator = dollars.as_integer_ratio()
    amount, rest = divmod(numerator * YOCTO, denominator * unit_data[UNITS[price_key]]["per"])
    if rest or amount < 0:
        raise ValueError(f"{price_key} {dollars} is not a whole, non-negative number of yoctodollars")
    return amount


def price_id(provider: str, model: str, start: date | None, content: object) -> str:
    """provider/model@first day#hash of the prices and their conditions; `@` alone where the book has no first day."""
    digest = blake2b(repr(content).encode(), digest_size=6).hexdigest()
    return f"{provider}/{model}@{start or ''}#{digest}"
