"""What the ledger should say, the slow way: it keeps every spend, and adds all of them up for each question.

It shares no code with the fold. Windows are found by the calendar of each moment, not by their bounds; expiry by
looking at every hold; and a spend's cost is written down as what it is, not as what has changed.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from schemas import budget_pb2 as pb
from schemas.arrow import from_ipc

SECOND = 10**9
DAY = 86_400 * SECOND
COST, TOKENS = pb.UNIT_NANO_DOLLARS, pb.UNIT_TOKENS


def period(budget: pb.Budget, time: int) -> tuple:
    """Names the window of `time` by its date."""
    day = datetime.fromtimestamp(time // SECOND, UTC).astimezone(ZoneInfo(budget.time_zone)).date()
    names = {pb.WINDOW_DAY: (day,), pb.WINDOW_WEEK: day.isocalendar()[:2], pb.WINDOW_MONTH: (day.year, day.month)}
    return names.get(budget.window, ())


@dataclass
class Held:
    """state: held | settled | released | expired | refused | charged."""

    state: str
    opened: int
    whose: tuple[str, str, str, str]
    budgets: dict[str, tuple[tuple, bool]] = field(default_factory=dict)  # period, and whether the estimate is held
    placed: bool = False
    estimate: dict[int, int | None] = field(default_factory=dict)
    actual: dict[int, int | None] = field(default_factory=dict)
    asked: Any = None
    told: Any = None
    late: bool = False
    expires: int = 0
    calls: set[str] = field(default_factory=set)


class Oracle:
    def __init__(self) -> None:
        self.budgets: dict[str, pb.Budget] = {}
        self.seen: dict[str, pb.Budget] = {}
        self.revision = 0
        self.spends: dict[str, Held] = {}
        self.entries: dict[str, dict[str, tuple[int, int | None, int | None]]] = {}  # call -> entry -> numbers
        self.settled_with: dict[str, str] = {}  # response id -> spend
        self.traced_with: dict[str, str] = {}  # response id -> call
        self.time = 0

    # -- questions ---------------------------------------------------------------------------------------------------

    def call_cost(self, call: str, unit: int) -> int | None:
        known = [numbers[1 if unit == COST else 2] for numbers in self.entries[call].values()]
        known = [number for number in known if number is not None]
        return max(0, sum(known)) if known else None

    def posted(self, spend: Held, unit: int) -> int:
        traced = [cost for call in spend.calls if (cost := self.call_cost(call, unit)) is not None]
        return sum(traced) if traced else (spend.actual.get(unit) or 0)

    def sums(self, budget: str, when: tuple) -> tuple[int, int]:
        """(posted, pending) of a budget in a window."""
        posted = pending = 0
        for spend in self.spends.values():
            if budget in spend.budgets and spend.budgets[budget][0] == when:
                unit, held = self.seen[budget].unit, spend.budgets[budget][1]
                posted += self.posted(spend, unit)
                if spend.state == "held" and held:
                    pending += max(0, (spend.estimate[unit] or 0) - self.posted(spend, unit))
        return posted, pending

    def above(self, whose: tuple[str, str, str, str], time: int) -> list[pb.Budget]:
        found = []
        for budget in self.budgets.values():
            wanted = (budget.team, budget.key_id, budget.provider)
            fits = all(want in ("", have) for want, have in zip(wanted, whose[:3], strict=True))
            prefix = budget.model.endswith("*") and whose[3].startswith(budget.model[:-1])
            begun = budget.effective_from <= time
            if fits and (budget.model in ("", whose[3]) or prefix) and begun and time < (budget.effective_to or 2**63):
                found.append(budget)
        return found

    # -- events ------------------------------------------------------------------------------------------------------

    def see(self, time: int, event: pb.Event) -> tuple | None:
        """The reply that is due: (outcome, further facts)."""
        self.time = max(self.time, time)
        for spend in self.spends.values():
            if spend.state == "held" and spend.expires <= self.time:
                spend.state = "expired"
        kind = event.WhichOneof("what")
        return getattr(self, f"_{kind}")(getattr(event, kind or ""))

    def _tick(self, _: pb.Tick) -> None:
        pass

    def _limits(self, limits: pb.Limits) -> None:
        if limits.revision > self.revision:
            self.revision = limits.revision
            self.budgets = {budget.budget_id: budget for budget in limits.budgets}
            self.seen |= self.budgets

    def _reserve(self, asked: pb.Reserve) -> tuple:
        key, amounts = f"r/{asked.request_id}", given(asked)
        if any(amount is not None and amount < 0 for amount in amounts.values()):
            return ("invalid",)
        content = asked.SerializeToString()
        if key in self.spends:
            known = self.spends[key]
            if known.asked is None:
                return ("already_charged",)
            return known.asked[1] if known.asked[0] == content else ("already_exists_with_different_content",)
        whose = owner(asked.owner)
        above = self.above(whose, self.time)
        if any(budget.hard and amounts[budget.unit] is None for budget in above):
            return ("amount_unknown",)
        full = []
        for budget in above:
            posted, pending = self.sums(budget.budget_id, period(budget, self.time))
            if posted + pending + (amounts[budget.unit] or 0) > budget.limit:
                full.append((budget.budget_id, budget.limit, posted, pending, amounts[budget.unit] or 0))
        refused = [said for said in full if self.budgets[said[0]].hard]
        spend = Held("refused" if refused else "held", self.time, whose, estimate=amounts)
        if refused:
            reply: tuple = ("refused", sorted(refused))
        else:
            spend.budgets = {budget.budget_id: (period(budget, self.time), True) for budget in above}
            spend.placed = True
            spend.expires = (-(-self.time // SECOND) + (asked.ttl_s or 600)) * SECOND
            reply = ("accepted", sorted(full), spend.expires)
        spend.asked = (content, reply)
        self.spends[key] = spend
        return reply

    def _settle(self, asked: pb.Settle) -> tuple:
        key, content = f"r/{asked.request_id}", asked.SerializeToString()
        known = self.spends.get(key)
        if known and known.told:
            return known.told[1] if known.told[0] == content else ("already_exists_with_different_content",)
        if known and known.state == "released":
            return ("already_released",)
        amounts = given(asked)
        if known is None or known.state not in ("held", "expired"):
            if not asked.charge_without_reservation:
                return ("not_found",)
            if all(amount is None for amount in amounts.values()):
                return ("amount_unknown",)
            known = self.spends.setdefault(key, Held("charged", self.time, owner(asked.owner)))
            known.state = "charged"
            self._place(known)
            known.actual = amounts
        else:
            known.late = known.state == "expired"
            known.state = "settled"
            known.actual = {u: known.estimate[u] if amounts[u] is None else amounts[u] for u in (COST, TOKENS)}
        waiting = self.traced_with.get(asked.response_id)
        if asked.response_id and asked.response_id not in self.settled_with:
            self.settled_with[asked.response_id] = key
            if waiting and self.holder(waiting) == f"u/{waiting}":
                self.spends[f"u/{waiting}"].calls.discard(waiting)
                known.calls.add(waiting)
        facts = []
        for unit in (COST, TOKENS):
            posted = self.posted(known, unit)
            covered = 0 if known.late else (known.estimate.get(unit) or 0)
            facts += [posted, 0 if known.state == "charged" else max(0, posted - covered)]
        known.told = (content, ("accepted", *facts, known.late))
        return known.told[1]

    def _release(self, asked: pb.Release) -> tuple:
        known = self.spends.get(f"r/{asked.request_id}")
        if known and known.state in ("held", "released"):
            known.state = "released"
            return ("accepted",)
        return self.not_held(known)

    def _extend(self, asked: pb.Extend) -> tuple:
        known = self.spends.get(f"r/{asked.request_id}")
        if known and known.state == "held":
            known.expires = max(known.expires, (-(-self.time // SECOND) + (asked.ttl_s or 600)) * SECOND)
            return ("accepted", known.expires)
        return self.not_held(known)

    def not_held(self, known: Held | None) -> tuple:
        words = {"settled": "already_settled", "released": "already_released", "expired": "expired"}
        words |= {"charged": "already_charged"}
        return (words.get(known.state, "not_found") if known else "not_found",)

    def _charges(self, asked: pb.Charges) -> None:
        for row in from_ipc(asked.rows).to_pylist():
            self._charge(row)

    def _charge(self, row: dict[str, Any]) -> None:
        call, known = row["call_id"], self.entries.setdefault(row["call_id"], {})
        if row["entry_id"] in known and known[row["entry_id"]][0] >= row["version"]:
            return
        tokens = [row[name] for name in ("input_tokens", "output_tokens") if row[name] is not None]
        held_by, response = self.holder(call), row["response_id"]
        if held_by.startswith("r/"):
            target = held_by
        elif row["request_id"]:
            target = f"r/{row['request_id']}"
        elif response in self.settled_with and self.traced_with.get(response, call) == call:
            target = self.settled_with[response]
        else:
            target = f"u/{call}"
        for spend in self.spends.values():
            spend.calls.discard(call)
        whose = (row["team"], row["key_id"], row["provider"], row["model"])
        spend = self.spends.setdefault(target, Held("charged", self.time, whose))
        if not self._place(spend):
            self._learn(spend, whose)
        spend.calls.add(call)
        known[row["entry_id"]] = (row["version"], row["cost_nano"], sum(tokens) if tokens else None)
        if response:
            self.traced_with.setdefault(response, call)

    def holder(self, call: str) -> str:
        return next((name for name, spend in self.spends.items() if call in spend.calls), "")

    def _place(self, spend: Held) -> bool:
        if spend.placed:
            return False
        spend.placed = True
        spend.budgets = {b.budget_id: (period(b, self.time), False) for b in self.above(spend.whose, self.time)}
        spend.opened = self.time
        return True

    def _learn(self, spend: Held, whose: tuple[str, str, str, str]) -> None:
        """What the reservation did not say, its call does."""
        filled = (*spend.whose[:2], spend.whose[2] or whose[2], spend.whose[3] or whose[3])
        if filled != spend.whose:
            spend.whose = filled
            for budget in self.above(filled, spend.opened):
                if budget.provider or budget.model:
                    spend.budgets.setdefault(budget.budget_id, (period(budget, spend.opened), False))


def given(asked: pb.Reserve | pb.Settle) -> dict[int, int | None]:
    cost = asked.cost_nano if asked.HasField("cost_nano") else None
    return {COST: cost, TOKENS: asked.tokens if asked.HasField("tokens") else None}


def owner(one: pb.Owner) -> tuple[str, str, str, str]:
    return (one.team, one.key_id, one.provider, one.model)
