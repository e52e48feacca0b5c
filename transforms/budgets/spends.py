"""A spend: a reservation and what became of it, or a charge without one; and its effect on its lines."""

from enum import StrEnum
from typing import Any, NamedTuple

from transforms.budgets.amounts import NANO_DOLLARS, UNKNOWN, Amounts
from transforms.budgets.limits import Owner


class Status(StrEnum):
    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"
    REFUSED = "refused"  # no hold was made; what the call costs all the same is charged
    CHARGED = "charged"  # there was no reservation


class Line(NamedTuple):
    """A budget in one window that the spend counts against. held: whether the estimate was held on it."""

    budget_id: str
    window_start: int  # UTC ns
    unit: str
    held: bool


class Effect(NamedTuple):
    """What a spend adds to a balance. over: of `posted`, what no hold covered."""

    posted: int
    pending: int
    over: int

    def less(self, other: "Effect") -> "Effect":
        return Effect(self.posted - other.posted, self.pending - other.pending, self.over - other.over)


NOTHING = Effect(0, 0, 0)


class Traced(NamedTuple):
    """What the traced calls of a spend cost, and how many of them say so: none, and what was settled stands."""

    cost: int = 0
    costs: int = 0
    tokens: int = 0
    counts: int = 0

    def of(self, unit: str) -> int | None:
        if unit == NANO_DOLLARS:
            return self.cost if self.costs else None
        return self.tokens if self.counts else None

    def changed(self, amounts: Amounts, sign: int) -> "Traced":
        """With the cost of one more call (sign 1), or of one less (-1)."""
        cost, costs, tokens, counts = self
        if amounts.cost is not None:
            cost, costs = cost + sign * amounts.cost, costs + sign
        if amounts.tokens is not None:
            tokens, counts = tokens + sign * amounts.tokens, counts + sign
        return Traced(cost, costs, tokens, counts)


class Spend(NamedTuple):
    """keep: UTC ns until when it is remembered. time: UTC ns at which it was opened, which chose its windows.

    late: it was settled after it had expired. placed: whether its lines were chosen. content, settlement: fingerprints
    of Reserve and Settle in hex, '' where none came.
    """

    keep: int
    status: Status
    time: int
    owner: Owner
    expires: int = 0
    estimate: Amounts = UNKNOWN
    settled: Amounts = UNKNOWN
    traced: Traced = Traced()
    lines: tuple[Line, ...] = ()
    late: bool = False
    placed: bool = False
    content: str = ""
    settlement: str = ""

    def covered(self, unit: str, held: bool = True) -> int:
        """How much of its cost a hold covers."""
        covering = self.status in (Status.HELD, Status.SETTLED) and held and not self.late
        return (self.estimate.of(unit) or 0) if covering else 0

    def effect(self, unit: str, held: bool = True) -> Effect:
        """What it adds to the balance of a budget in `unit`.

        A traced cost takes the place of a settled one, and of a part of the hold while the call is under way.
        """
        traced = self.traced.of(unit)
        posted = traced if traced is not None else (self.settled.of(unit) or 0)
        covered = self.covered(unit, held)
        pending = max(covered - posted, 0) if self.status is Status.HELD else 0
        over = 0 if self.status is Status.CHARGED else max(posted - covered, 0)
        return Effect(posted, pending, over)

    def to_state(self) -> list[Any]:
        keep, status, time, owner, expires, estimate, settled, traced, lines, *rest = self
        named = [owner.team, owner.key_id, owner.provider, owner.model]
        amounts = [[*estimate], [*settled], [*traced]]
        return [keep, status.value, time, named, expires, *amounts, [[*line] for line in lines], *rest]


def read_spend(state: list[Any]) -> Spend:
    keep, status, time, owner, expires, estimate, settled, traced, lines, *rest = state
    amounts = (Amounts(*estimate), Amounts(*settled), Traced(*traced))
    return Spend(keep, Status(status), time, Owner(*owner), expires, *amounts, tuple(Line(*x) for x in lines), *rest)


class Entry(NamedTuple):
    """One entry of the usage ledger, with the numbers of its greatest version. Amounts are signed."""

    version: int
    cost: int | None
    tokens: int | None


class Call(NamedTuple):
    """A traced call: its entries by id, and the name of the spend that it belongs to."""

    keep: int
    spend: str
    entries: dict[str, Entry]

    def amounts(self) -> Amounts:
        """What it costs: the sum of its entries. A reversal may come before its charge: never below zero."""
        costs = [entry.cost for entry in self.entries.values() if entry.cost is not None]
        tokens = [entry.tokens for entry in self.entries.values() if entry.tokens is not None]
        return Amounts(max(sum(costs), 0) if costs else None, max(sum(tokens), 0) if tokens else None)

    def to_state(self) -> list[Any]:
        return [self.keep, self.spend, {name: [*entry] for name, entry in self.entries.items()}]


def read_call(state: list[Any]) -> Call:
    keep, spend, entries = state
    return Call(keep, spend, {name: Entry(*entry) for name, entry in entries.items()})


class Response(NamedTuple):
    """What a provider's response id names: the spend that was settled with it, the first call that was traced with it.

    Either is '' while it has not come.
    """

    keep: int
    spend: str
    call_id: str

    def to_state(self) -> list[Any]:
        return [*self]
