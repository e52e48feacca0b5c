"""The books of one organisation during one call of the fold: what every event does goes through `book`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from transforms.budgets.amounts import MAX_BALANCE, OutOfBounds
from transforms.budgets.balances import REFUSAL, Balance, marked
from transforms.budgets.journal import Journal, Place
from transforms.budgets.limits import Book, Budget
from transforms.budgets.spends import NOTHING, Effect, Line, Spend
from transforms.budgets.state import FOREVER, Segments
from transforms.budgets.windows import ALL_TIME, TOTAL, Span


@dataclass(frozen=True)
class Memory:
    """How long a request is remembered, in ns: at least `least` after its last event, and while its windows are open;
    the window of all time counts as open for `total`."""

    least: int = 7 * 86_400 * 10**9
    total: int = 31 * 86_400 * 10**9


class _Change(NamedTuple):
    """By how much a line changes its balance."""

    line: Line
    budget: Budget
    balance: Balance
    by: Effect


@dataclass
class Ledger:
    segments: Segments
    journal: Journal
    book: Book
    memory: Memory

    @property
    def place(self) -> Place:
        return self.journal.place

    @property
    def time(self) -> int:
        return self.place.time

    def lines(self, budgets: Iterable[Budget], time: int, held: bool) -> tuple[Line, ...]:
        """The lines on `budgets` of a spend that is opened at `time`."""
        return tuple(Line(budget.id, self.book.span(budget, time).start, budget.unit, held) for budget in budgets)

    def keep(self, spend: Spend) -> int:
        """UTC ns until when `spend` is remembered, if nothing more happens to it."""
        ends = [spend.keep, self.time + self.memory.least]
        for line in spend.lines:
            span = self.span(self.book.by_id[line.budget_id], line.window_start)
            ends.append(span.end or spend.time + self.memory.total)
        return max(ends)

    def span(self, budget: Budget, window_start: int) -> Span:
        """The window of `budget` that begins at `window_start`."""
        return ALL_TIME if budget.window == TOTAL else self.book.span(budget, window_start)

    def balance(self, budget: Budget, window_start: int) -> Balance:
        found = self.segments.balance(balance_name(budget.id, window_start))
        keep = FOREVER if budget.window == TOTAL else 0
        return found or Balance(keep, limit=budget.proto.limit)

    def enter(self, kind: str, name: str, before: Spend | None, after: Spend, call_id: str = "") -> Spend:
        """Puts `after` in the place of `before` (None: there was none) and books the difference of their effects.

        kind: of the entries; what no hold covers is entered as `overrun`. Returns `after` as it is remembered.
        Raises OutOfBounds, and then nothing is changed.
        """
        after = after._replace(keep=self.keep(after))
        ids = (name[2:] if name[0] == "r" else "", call_id)
        for line, budget, balance, (posted, pending, over) in self._changes(before, after):
            if posted - over or pending:
                self.journal.entry(kind, line, posted - over, pending, after.owner, ids)
            if over:
                self.journal.entry("overrun", line, over, 0, after.owner, ids)
            keep, had, held, limit, marks = balance
            moved = Balance(max(keep, after.keep), had + posted, held + pending, limit, marks)
            self.put(budget, line.window_start, moved, ids[0])
        self.segments.put(name, after)
        return after

    def check(self, before: Spend | None, after: Spend) -> None:
        """Raises OutOfBounds when `enter` would."""
        self._changes(before, after)

    def put(self, budget: Budget, window_start: int, balance: Balance, request_id: str, refused: bool = False) -> None:
        """Keeps `balance`, and tells what has to be told of it; of a budget that was deleted nothing."""
        span = self.span(budget, window_start)
        if budget.id in self.book.active_ids:
            balance, news = marked(balance, budget, refused)
            for mark in news:
                self.journal.event(mark.kind, mark.percent, budget, span, balance, request_id)
        name = balance_name(budget.id, window_start)
        self.segments.put(name, balance)
        self.journal.balance(name, budget, span, balance)

    def look_again(self, budget: Budget) -> None:
        """Shows the balance of `budget`, whose definition has changed, and tells what its limit now means."""
        start, balance = self._current(budget)
        self.put(budget, start, balance, "")

    def tell_refusal(self, budget: Budget, request_id: str) -> None:
        """Tells that `budget` has just refused a request, if it is the first one of its window."""
        start, balance = self._current(budget)
        if REFUSAL not in balance.marks or balance.limit != budget.proto.limit:
            self.put(budget, start, balance, request_id, refused=True)

    def _current(self, budget: Budget) -> tuple[int, Balance]:
        """The start of the window of this moment, and its balance, kept for some time after its end."""
        span = self.book.span(budget, self.time)
        balance = self.balance(budget, span.start)
        return span.start, balance._replace(keep=max(balance.keep, span.end + self.memory.least))

    def _changes(self, before: Spend | None, after: Spend) -> list[_Change]:
        """What `after` in the place of `before` changes, line by line. Raises OutOfBounds."""
        found, differences = [], {}
        known = 0 if before is None else len(before.lines)
        for number, line in enumerate(after.lines):
            kind = (line.unit, line.held, number < known)
            by = differences.get(kind)
            if by is None:
                old = before.effect(line.unit, line.held) if before is not None and number < known else NOTHING
                by = differences[kind] = after.effect(line.unit, line.held).less(old)
            if by == NOTHING:
                continue
            budget = self.book.by_id[line.budget_id]
            balance = self.balance(budget, line.window_start)
            if max(balance.posted + by.posted, balance.pending + by.pending) > MAX_BALANCE:
                raise OutOfBounds(f"budget {line.budget_id} would pass {MAX_BALANCE}")
            found.append(_Change(line, budget, balance, by))
        return found


def balance_name(budget_id: str, window_start: int) -> str:
    return f"b/{budget_id}/{window_start}"
