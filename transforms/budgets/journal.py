"""What one call of the fold says: rows of its tables, collected as tuples."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas.arrow import BUDGET_BALANCES, BUDGET_ENTRIES, BUDGET_EVENTS, BUDGET_REPLIES, DEAD_LETTERS
from transforms.budgets.balances import Balance
from transforms.budgets.limits import Budget, Owner
from transforms.budgets.spends import Line
from transforms.budgets.windows import Span

STEP = "budgets"


@dataclass
class Place:
    """Where in the log the ledger is: the record, its time (UTC ns, never less than the one before), and how many
    entries it has made so far."""

    org: str
    partition: int = 0
    offset: int = 0
    time: int = 0
    entries: int = 0

    @property
    def version(self) -> int:
        return self.offset + 1


@dataclass
class Journal:
    """replies, entries, events, letters: rows in order. balances: the last row of each that changed."""

    place: Place
    replies: list[tuple] = field(default_factory=list)
    entries: list[tuple] = field(default_factory=list)
    events: list[tuple] = field(default_factory=list)
    balances: dict[str, tuple] = field(default_factory=dict)
    letters: list[dict[str, Any]] = field(default_factory=list)

    def reply(self, request_id: str, body: bytes) -> None:
        self.replies.append((self.place.org, request_id, body))

    def entry(self, kind: str, line: Line, posted: int, pending: int, owner: Owner, ids: tuple[str, str]) -> None:
        """ids: of the request and of the call, '' for none."""
        at = self.place
        entry_id = f"{at.partition}-{at.offset}-{at.entries}"
        at.entries += 1
        known = (at.org, entry_id, at.time, kind, line.budget_id, line.window_start, line.unit, posted, pending)
        whose = (*ids, owner.team, owner.key_id, owner.provider, owner.model)
        self.entries.append((*known, *whose, at.version))

    def balance(self, name: str, budget: Budget, span: Span, balance: Balance) -> None:
        at = self.place
        self.balances[name] = (at.org, *_budget(budget, span, balance), at.time, at.version)

    def event(self, kind: str, percent: int, budget: Budget, span: Span, balance: Balance, request_id: str) -> None:
        at = self.place
        event_id = f"{budget.id}-{span.start}-{kind}-{percent}-{budget.proto.limit}"
        told = (at.org, event_id, kind, at.time, percent, *_budget(budget, span, balance))
        self.events.append((*told, request_id, at.partition, at.offset))

    def letter(self, position: int, raw: bytes, error: str, message: str) -> None:
        """A dead letter for the event at `position` of the record (-1: the record). raw: it, or the part refused."""
        at = self.place
        self.letters.append(
            {
                "org": at.org,
                "team": "",
                "key_id": "",
                "received_at": at.time,
                "step": STEP,
                "error": error,
                "message": message,
                "topic": "budget.log",
                "partition": at.partition,
                "offset": at.offset,
                "position": position,
                "raw": raw,
                "code_version": "",
            }
        )

    def tables(self) -> tuple[tuple[str, pa.Table], ...]:
        """The rows as tables, empty ones left out; replies first, somebody waits for them."""
        made = (
            ("budget_replies", self.replies, BUDGET_REPLIES),
            ("budget_events", self.events, BUDGET_EVENTS),
            ("budget_entries", self.entries, BUDGET_ENTRIES),
            ("budget_balances", list(self.balances.values()), BUDGET_BALANCES),
        )
        return tuple((name, _table(rows, schema)) for name, rows, schema in made if rows)

    def dead_letters(self) -> pa.Table | None:
        return pa.Table.from_pylist(self.letters, DEAD_LETTERS) if self.letters else None


def _budget(budget: Budget, span: Span, balance: Balance) -> tuple:
    one = budget.proto
    return (
        one.budget_id,
        one.name,
        one.team,
        one.key_id,
        one.provider,
        one.model,
        budget.unit,
        one.hard,
        budget.window,
        one.time_zone,
        span.start,
        span.end or None,
        one.limit,
        balance.posted,
        balance.pending,
    )


def _table(rows: list[tuple], schema: pa.Schema) -> pa.Table:
    # As structs: an array for each column would take five times as long for the few rows of one record.
    named = [dict(zip(schema.names, row, strict=True)) for row in rows]
    return pa.Table.from_struct_array(pa.array(named, pa.struct(list(schema))))
