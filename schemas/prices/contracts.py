"""Contracts: prices that an organisation agreed on, and corrections of the book that hold for everybody.

They are bitemporal. A contract states what calls cost from `effective_from` to `effective_to` (valid time); the entry
that records it holds for what is received from `known_from` on (known time). An entry is never changed: a correction
is a further entry, and where two speak about the same time the one that was known last wins.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b

from schemas.prices.compile import YOCTO

# Dollars of a contract are for so many units of the price book.
_MILLION, _ONE = 10**6, 1
# The fields of a contract's prices: the unit of the price book and for how many of it the dollars are.
FIELDS: dict[str, tuple[str, int]] = {
    "input": ("input_tokens", _MILLION),
    "output": ("output_tokens", _MILLION),
    "cache_read": ("cache_read_tokens", _MILLION),
    "cache_write": ("cache_write_tokens", _MILLION),
    "cache_write_1h": ("cache_write_1h_tokens", _MILLION),
    "reasoning": ("output_reasoning_tokens", _MILLION),
    "audio_input": ("input_audio_tokens", _MILLION),
    "audio_output": ("output_audio_tokens", _MILLION),
    "audio_cache_read": ("cache_audio_read_tokens", _MILLION),
    "image_input": ("input_image_tokens", _MILLION),
    "image_output": ("output_image_tokens", _MILLION),
    "web_search": ("web_searches", _ONE),
    "request": ("requests", _ONE),
}
# An entry holds for what is received this long after it was written, when every reader has it: a reader asks more
# often than this (see PriceFeed), so that a replay prices a call as the first run did.
LEAD_NS = 6 * 10**9


def dollars(yocto: int, count: int) -> Decimal:
    """What `count` units cost that are `yocto` yoctodollars each, exact."""
    return Decimal(f"{yocto * count}E-24")


def yoctodollars(price: Decimal, count: int) -> int:
    """The inverse of `dollars`. Raises ValueError for a price that no whole number of yoctodollars makes."""
    numerator, denominator = price.as_integer_ratio()
    amount, rest = divmod(numerator * YOCTO, denominator * count)
    if rest:
        raise ValueError(f"{price} dollars for {count} are no whole number of yoctodollars each")
    return amount


class ContractError(ValueError):
    """A contract that cannot hold; the message says why."""


@dataclass(frozen=True)
class Band:
    """Prices for inputs of more than `above` tokens (None: of any), up to the next band.

    prices: (unit of the price book, yoctodollars for one of it), sorted. What is not priced is billed as the more
    general unit, as in the price book: cache reads as input, reasoning as output.
    """

    above: int | None
    prices: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Contract:
    """What a model costs in a period. `org` '': for everybody. Without bands: what lies below it holds again, that is
    the contract for everybody, else the book."""

    org: str
    provider: str
    model: str
    context: str  # as in the price book's rows: `key=value` pairs, sorted, joined by ','; '' for the standard price
    effective_from: int  # UTC ns, inclusive
    effective_to: int | None  # UTC ns, exclusive; None: without end
    bands: tuple[Band, ...]

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.org, self.provider, self.model, self.context

    def overlaps(self, other: "Contract") -> bool:
        """Whether both speak about the same prices at some time."""
        return (
            self.key == other.key
            and (self.effective_to is None or other.effective_from < self.effective_to)
            and (other.effective_to is None or self.effective_from < other.effective_to)
        )


@dataclass(frozen=True)
class Entry:
    """A contract as it was recorded."""

    contract: Contract
    entry_id: str
    known_from: int  # UTC ns
    reason: str
    actor: str

    @property
    def order(self) -> tuple[int, str]:
        """Of two entries about the same time the greater one wins."""
        return self.known_from, self.entry_id

    def price_id(self, above: int | None) -> str:
        """The id of the prices of one band: organisation (`*` for everybody), seller, model, first day, hash."""
        made = self.contract
        day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=made.effective_from // 10**9)
        digest = _hash((self.entry_id, above), 6)
        return f"{made.org or '*'}:{made.provider}/{made.model}@{day.date()}#{digest}"


def record(contracts: Iterable[Contract], known: Iterable[Entry], now: int, reason: str, actor: str) -> list[Entry]:
    """The entries that state `contracts`, given those that are `known`; a contract that holds already has none.

    now: UTC ns. The id is a hash of the contract, and of how often the very same one was recorded before: so writing
    twice is writing once, and a contract that was corrected can be put back in force.
    """
    earlier = sorted(known, key=lambda entry: entry.order)
    moment = max([now + LEAD_NS, *(entry.known_from + 1 for entry in earlier[-1:])])
    found = []
    for contract in contracts:
        same = [entry for entry in earlier if entry.contract == contract]
        if same and not _overruled(same[-1], earlier):
            continue
        found.append(Entry(contract, _hash((astuple(contract), len(same)), 12), moment, reason, actor))
    return found


def _overruled(entry: Entry, entries: list[Entry]) -> bool:
    return any(other.order > entry.order and other.contract.overlaps(entry.contract) for other in entries)


def _hash(content: object, size: int) -> str:
    return blake2b(repr(content).encode(), digest_size=size).hexdigest()
