"""The budgets of one organisation, and which of them count a spend."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas import budget_pb2 as pb
from transforms.budgets.amounts import MAX_LIMIT, NANO_DOLLARS, TOKENS
from transforms.budgets.blobs import pack, unpack
from transforms.budgets.windows import DAY, MONTH, TOTAL, WEEK, Span, window_at, zone

UNITS = {pb.UNIT_NANO_DOLLARS: NANO_DOLLARS, pb.UNIT_TOKENS: TOKENS}
WINDOW_NAMES = {pb.WINDOW_DAY: DAY, pb.WINDOW_WEEK: WEEK, pb.WINDOW_MONTH: MONTH, pb.WINDOW_TOTAL: TOTAL}
_MOST_MATCHES = 10_000  # owners whose budgets are remembered


class InvalidLimits(ValueError):
    """A set of budgets that can't be taken; the one before it stays in force."""


class Owner(NamedTuple):
    """What a spend belongs to; provider and model are '' when not known."""

    team: str
    key_id: str
    provider: str = ""
    model: str = ""


@dataclass(frozen=True)
class Budget:
    """One budget, as schemas/budget.proto has it."""

    proto: pb.Budget
    unit: str
    window: str
    zone: ZoneInfo

    @cached_property
    def id(self) -> str:
        return self.proto.budget_id

    @cached_property
    def counted(self) -> tuple:
        """What its balance counts: it may not change under one id."""
        one = self.proto
        return (one.team, one.key_id, one.provider, one.model, one.window, one.time_zone, one.unit)

    @property
    def narrow(self) -> bool:
        """Whether it counts some providers or models only."""
        return bool(self.proto.provider or self.proto.model)

    def concerns(self, owner: Owner) -> bool:
        """Whether it counts something of what the team and the key of `owner` spend."""
        return self.proto.team in ("", owner.team) and self.proto.key_id in ("", owner.key_id)

    def in_force(self, time: int) -> bool:
        return self.proto.effective_from <= time and (not self.proto.effective_to or time < self.proto.effective_to)

    def counts(self, owner: Owner) -> bool:
        """Whether it counts what `owner` spends; a limit by provider or model counts nothing of an unknown one."""
        one = self.proto
        if not self.concerns(owner) or one.provider not in ("", owner.provider):
            return False
        if one.model.endswith("*"):
            return owner.model.startswith(one.model[:-1])
        return one.model in ("", owner.model)


@dataclass(frozen=True)
class Book:
    """The budgets of one revision, and those of earlier ones, whose balances may still change."""

    revision: int
    active: tuple[Budget, ...]
    retired: tuple[Budget, ...]
    _matches: dict[Owner, tuple[Budget, ...]] = field(default_factory=dict, compare=False)
    _spans: dict[tuple[str, str], Span] = field(default_factory=dict, compare=False)

    @cached_property
    def by_id(self) -> dict[str, Budget]:
        return {budget.id: budget for budget in (*self.retired, *self.active)}

    @cached_property
    def active_ids(self) -> frozenset[str]:
        return frozenset(budget.id for budget in self.active)

    @cached_property
    def _by_owner(self) -> dict[tuple[str, str], list[Budget]]:
        found: dict[tuple[str, str], list[Budget]] = {}
        for budget in self.active:
            found.setdefault((budget.proto.team, budget.proto.key_id), []).append(budget)
        return found

    def above(self, owner: Owner, time: int) -> list[Budget]:
        """The budgets in force at `time` that count what `owner` spends: organisation, team, key, each by name."""
        matched = self._matches.get(owner)
        if matched is None:
            if len(self._matches) >= _MOST_MATCHES:
                self._matches.clear()
            places = [("", ""), (owner.team, ""), ("", owner.key_id), (owner.team, owner.key_id)]
            near = [budget for place in dict.fromkeys(places) for budget in self._by_owner.get(place, ())]
            matched = self._matches[owner] = tuple(budget for budget in near if budget.counts(owner))
        return [budget for budget in matched if budget.in_force(time)]

    def span(self, budget: Budget, time: int) -> Span:
        """The window of `budget` that holds `time`."""
        key = (budget.window, budget.zone.key)
        span = self._spans.get(key)
        if span is None or not (span.start <= time < span.end or span.end == 0):
            span = self._spans[key] = window_at(budget.window, budget.zone, time)
        return span

    def to_bytes(self) -> bytes:
        parts = [pb.Limits(revision=self.revision, budgets=[b.proto for b in group]) for group in self._groups]
        return pack([part.SerializeToString().hex() for part in parts])

    @property
    def _groups(self) -> tuple[tuple[Budget, ...], ...]:
        return self.active, self.retired


EMPTY = Book(0, (), ())


def read_book(data: bytes) -> Book:
    """The book in `data`. Raises UnknownSchemaVersion."""
    active, retired = (pb.Limits.FromString(bytes.fromhex(part)) for part in unpack(data))
    return Book(active.revision, _checked(active.budgets), _checked(retired.budgets))


def revised(book: Book, limits: pb.Limits) -> Book:
    """`book` with the budgets of `limits` in force. Raises InvalidLimits."""
    active = _checked(limits.budgets)
    for budget in active:
        known = book.by_id.get(budget.id)
        if known is not None and known.counted != budget.counted:
            raise InvalidLimits(f"budget {budget.proto.name}: what it counts has changed, it needs another id")
    ids = {budget.id for budget in active}
    return Book(limits.revision, active, tuple(b for b in book.by_id.values() if b.id not in ids))


def _checked(budgets: Iterable[pb.Budget]) -> tuple[Budget, ...]:
    found = {}
    for one in budgets:
        if not one.budget_id or one.budget_id in found:
            raise InvalidLimits(f"budget {one.name}: the id {one.budget_id!r} is empty or given twice")
        if one.unit not in UNITS or one.window not in WINDOW_NAMES:
            raise InvalidLimits(f"budget {one.name}: unit {one.unit} or window {one.window} is not known")
        if not 0 <= one.limit <= MAX_LIMIT:
            raise InvalidLimits(f"budget {one.name}: the limit is {one.limit}, not from 0 to {MAX_LIMIT}")
        if any(not 1 <= percent <= 100 for percent in one.thresholds):
            raise InvalidLimits(f"budget {one.name}: thresholds are 1 to 100 percent, not {list(one.thresholds)}")
        try:
            found[one.budget_id] = Budget(one, UNITS[one.unit], WINDOW_NAMES[one.window], zone(one.time_zone))
        except ValueError as error:
            raise InvalidLimits(f"budget {one.name}: {error}") from error
    return tuple(found.values())
