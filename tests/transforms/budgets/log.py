"""A log of budgets for tests: events by short names, and a fold that reads them as an engine's adapter would."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas import budget_pb2 as pb
from schemas.arrow import BUDGET_LOG, CHARGES, to_ipc
from transforms.budgets.fold import BudgetSettings, make_budget
from transforms.budgets.windows import SECOND
from transforms.folds.step import Fold, apply

Row = dict[str, Any]
ORG = "acme"
DAY = 86_400 * SECOND
START = 1_794_223_800 * SECOND  # Monday, 9 November 2026, 11:30 UTC

OUTCOMES = {number: name.removeprefix("OUTCOME_").lower() for name, number in pb.Outcome.items()}


def budget(name: str, limit: int, **fields: Any) -> pb.Budget:
    """A hard budget of the organisation in nano-dollars for each day of UTC, unless `fields` say otherwise."""
    known = {"window": pb.WINDOW_DAY, "time_zone": "UTC", "unit": pb.UNIT_NANO_DOLLARS, "hard": True}
    return pb.Budget(**{"budget_id": name, "name": name, "limit": limit, **known, **fields})


def limits(revision: int, *budgets: pb.Budget) -> pb.Event:
    return pb.Event(org=ORG, limits=pb.Limits(revision=revision, budgets=budgets))


def owner(team: str = "red", key: str = "k1", provider: str = "", model: str = "") -> pb.Owner:
    return pb.Owner(team=team, key_id=key, provider=provider, model=model)


def reserve(request: str, cost: int | None = 0, whose: pb.Owner | None = None, **fields: Any) -> pb.Event:
    asked = pb.Reserve(request_id=request, owner=whose or owner(), cost_nano=cost, **fields)
    return pb.Event(org=ORG, event_id=f"e-{request}", reserve=asked)


def settle(request: str, cost: int | None = None, **fields: Any) -> pb.Event:
    return pb.Event(org=ORG, event_id=f"s-{request}", settle=pb.Settle(request_id=request, cost_nano=cost, **fields))


def release(request: str) -> pb.Event:
    return pb.Event(org=ORG, release=pb.Release(request_id=request))


def extend(request: str, ttl_s: int = 0) -> pb.Event:
    return pb.Event(org=ORG, extend=pb.Extend(request_id=request, ttl_s=ttl_s))


def balance(**fields: Any) -> pb.Event:
    return pb.Event(org=ORG, event_id="b", balance=pb.Balance(request_id="b", **{"all": True, **fields}))


TICK = pb.Event(org=ORG, tick=pb.Tick())


def entry(call: str, cost: int | None, **fields: Any) -> Row:
    """A row of CHARGES: the charge of `call`."""
    known = {"org": ORG, "team": "red", "key_id": "k1", "provider": "openai", "model": "gpt-4o", "call_id": call}
    known |= {"entry_id": f"{call}/charge", "version": 1, "response_id": "", "request_id": "", "time": START}
    return known | {"input_tokens": None, "output_tokens": None, "cost_nano": cost} | fields


def charges(*rows: Row) -> pb.Event:
    return pb.Event(org=ORG, charges=pb.Charges(rows=to_ipc(pa.Table.from_pylist(list(rows), CHARGES))))


def record(offset: int, time: int, *events: pb.Event) -> Row:
    body = pb.EventBatch(events=events).SerializeToString()
    return {"org": ORG, "partition": 0, "offset": offset, "time": time, "body": body}


@dataclass
class Log:
    """The log, and the fold that reads each record as it comes."""

    fold: Fold = field(default_factory=lambda: make_budget(BudgetSettings()))
    state: dict[str, bytes] = field(default_factory=dict)
    time: int = START
    records: list[Row] = field(default_factory=list)
    out: list[tuple[str, pa.Table]] = field(default_factory=list)

    def send(self, *events: pb.Event, after: int = 0) -> list[pb.Reply]:
        """Appends a record with `events`, `after` ns later; returns its replies."""
        self.time += after
        self.records.append(record(len(self.records), self.time, *events))
        return self.read([self.records[-1]])

    def ask(self, event: pb.Event, after: int = 0) -> pb.Reply:
        """The one reply to `event`."""
        [reply] = self.send(event, after=after)
        return reply

    def outcome(self, event: pb.Event, after: int = 0) -> str:
        return OUTCOMES[self.ask(event, after).outcome]

    def read(self, rows: list[Row]) -> list[pb.Reply]:
        """Gives records to the fold in one call; returns the replies."""
        step = self.fold(self.state, pa.Table.from_pylist(rows, BUDGET_LOG), 0)
        self.state = apply(self.state, step.writes)
        letters = () if step.bad is None else (("dead_letters", step.bad),)
        self.out += step.out + letters
        found = [rows for name, rows in step.out if name == "budget_replies"]
        return [pb.Reply.FromString(body) for table in found for body in table["body"].to_pylist()]

    def rows(self, name: str) -> list[Row]:
        """All rows written to a table, in order."""
        return [row for table, rows in self.out if table == name for row in rows.to_pylist()]

    def balances(self) -> dict[tuple[str, int], Row]:
        """By budget and start of the window, the row of the greatest version."""
        found: dict[tuple[str, int], Row] = {}
        for row in self.rows("budget_balances"):
            key = (row["budget_id"], row["window_start"].value)
            if key not in found or row["version"] >= found[key]["version"]:
                found[key] = row
        return found

    def held(self, name: str) -> tuple[int, int]:
        """(spent, pending) of a budget now, as the ledger says it."""
        [status] = [found for found in self.peek().balances if found.budget_id == name]
        return status.spent, status.pending

    def held_all(self) -> dict[str, tuple[int, int]]:
        """(spent, pending) of each budget now."""
        return {status.name: (status.spent, status.pending) for status in self.peek().balances}

    def peek(self) -> pb.Reply:
        """All balances now; the log is left as it is."""
        row = record(len(self.records), self.time, balance())
        step = self.fold(self.state, pa.Table.from_pylist([row], BUDGET_LOG), 0)
        [replies] = [rows for name, rows in step.out if name == "budget_replies"]
        return pb.Reply.FromString(replies["body"][0].as_py())

    def told(self) -> list[tuple[str, str, int]]:
        """(kind, budget, threshold) of what people were told."""
        return [(row["kind"], row["budget_id"], row["threshold"]) for row in self.rows("budget_events")]

    def letters(self) -> list[tuple[str, str]]:
        return [(row["error"], row["message"]) for row in self.rows("dead_letters")]


def opened(*budgets: pb.Budget) -> Log:
    """A log whose first record sets these budgets."""
    log = Log()
    log.send(limits(1, *budgets))
    return log
