"""The series of one rule: what they added up in the window, how they stand, and how both lie in state.

Minutes whose cells may still change are kept one by one and set anew when a cell is told again; older ones are added
up in slots, at most some 60 of them to a window.
"""

from dataclasses import dataclass, field
from hashlib import blake2b

import orjson

from transforms.alerts.baseline import Baseline
from transforms.alerts.cells import Sums
from transforms.alerts.life import Life, State
from transforms.alerts.rules import MAX_SERIES, OTHER, Kind, Rule, Signal
from transforms.folds.segments import UnknownSchemaVersion

SCHEMA_VERSION = 1
# A series that was not seen for so many minutes is forgotten.
FORGET = 7 * 24 * 60

Group = tuple[str, ...]


@dataclass
class Series:
    """One group of a rule; changed in place by the fold that unpacked it. first: the minute that was told of
    first. seen: the newest with calls of those that are open no more."""

    open: dict[int, Sums] = field(default_factory=dict)
    slots: dict[int, Sums] = field(default_factory=dict)
    life: Life = Life()
    first: int = 0
    seen: int = 0
    baseline: Baseline = Baseline()

    def window(self, rule: Rule, minute: int) -> Sums:
        """What was added up in the window of `rule` that ends with `minute`."""
        total: Sums = {}
        first = minute - rule.window + 1
        for slot, sums in self.slots.items():
            if first <= slot * rule.slot <= minute:
                _add(total, sums)
        for at, sums in self.open.items():
            if first <= at <= minute:
                _add(total, sums)
        return total

    def latest(self, minute: int) -> Sums:
        """The last sample at or before `minute`, of a budget."""
        past = [at for at in self.open if at <= minute]
        return self.open[max(past)] if past else self.slots.get(0, {})

    def called(self, until: int) -> int:
        """The newest minute with calls at or before `until`; 0 for none."""
        return max([self.seen, *(at for at, sums in self.open.items() if at <= until and sums.get("c"))])

    def freeze(self, rule: Rule, until: int) -> None:
        """Moves the minutes up to `until` into slots, and drops the slots that no window reaches any more."""
        self.seen = self.called(until)
        for minute in sorted(at for at in self.open if at <= until):
            sums = self.open.pop(minute)
            if rule.kind is Kind.BUDGET:
                self.slots = {0: sums}
            else:
                _add(self.slots.setdefault(minute // rule.slot, {}), sums)
        if rule.kind is not Kind.BUDGET:
            first = until + 1 - rule.window
            self.slots = {slot: sums for slot, sums in self.slots.items() if slot * rule.slot >= first}

    def is_over(self, rule: Rule, minute: int) -> bool:
        """Whether nothing of it is left that anybody could want to know."""
        if rule.kind in (Kind.ABSENCE, Kind.ANOMALY, Kind.BUDGET):
            return self.called(max(self.open, default=0)) < minute - FORGET
        return not self.open and not self.slots and self.life.state is State.OK


def place(found: dict[Group, Series], group: Group) -> Series:
    """The series of `group`; of one too many the series OTHER of all of those."""
    if group not in found and len(found) >= MAX_SERIES:
        group = tuple(OTHER for _ in group)
    return found.setdefault(group, Series())


@dataclass(frozen=True)
class Kept:
    """measures: of the rule that the series are of. rule: its name, kind and grouping; the rest of it is not kept."""

    measures: str
    rule: Rule
    series: dict[Group, Series]


def pack(rule: Rule, found: dict[Group, Series]) -> bytes:
    rows = [
        [
            group,
            {str(at): sums for at, sums in series.open.items()},
            {str(at): sums for at, sums in series.slots.items()},
            [series.life.state, series.life.since, series.life.calm],
            series.first,
            series.seen,
            series.baseline.to_json(),
        ]
        for group, series in found.items()
    ]
    return orjson.dumps([SCHEMA_VERSION, measures(rule), rule.name, rule.kind, rule.by, rows])


def unpack(data: bytes) -> Kept:
    """Raises UnknownSchemaVersion."""
    version, measured, name, kind, by, rows = orjson.loads(data)
    if version != SCHEMA_VERSION:
        raise UnknownSchemaVersion(f"alert state has version {version}, this code reads {SCHEMA_VERSION}")
    found = {}
    for group, open_, slots, (state, since, calm), first, seen, baseline in rows:
        found[tuple(group)] = Series(
            {int(at): sums for at, sums in open_.items()},
            {int(at): sums for at, sums in slots.items()},
            Life(State(state), since, calm),
            first,
            seen,
            Baseline.from_json(baseline),
        )
    return Kept(measured, Rule(name, Kind(kind), Signal("calls"), by=tuple(by)), found)


def measures(rule: Rule) -> str:
    """A hash of what the series of `rule` are made of."""
    return blake2b(repr(rule.measures).encode(), digest_size=8).hexdigest()


def _add(total: Sums, sums: Sums) -> None:
    for name, value in sums.items():
        total[name] = total.get(name, 0) + value
