"""What a budget holds in one window, and what people are told of it."""

from typing import Any, NamedTuple

from transforms.budgets.limits import Budget

THRESHOLD = "threshold"


class Mark(NamedTuple):
    """That people were told. percent: 0 unless kind is threshold."""

    kind: str
    percent: int


EXCESS = Mark("exceeded", 0)
REFUSAL = Mark("refused", 0)


class Balance(NamedTuple):
    """posted: spent. pending: held. marks: what was told under `limit`. keep: UTC ns until when it is kept."""

    keep: int
    posted: int = 0
    pending: int = 0
    limit: int = 0
    marks: tuple[Mark, ...] = ()

    def available(self, budget: Budget) -> int:
        """What can still be reserved; below zero when it is overspent."""
        return budget.proto.limit - self.posted - self.pending

    def to_state(self) -> list[Any]:
        return [self.keep, self.posted, self.pending, self.limit, [[*mark] for mark in self.marks]]


def read_balance(state: list[Any]) -> Balance:
    keep, posted, pending, limit, marks = state
    return Balance(keep, posted, pending, limit, tuple(Mark(*mark) for mark in marks))


def marked(balance: Balance, budget: Budget, refused: bool) -> tuple[Balance, list[Mark]]:
    """`balance` with the marks of what is to be told now, and these, lowest threshold first.

    Each is told once in a window. Under another limit what is reached stays told, and the rest can be told again.
    refused: a reservation was just refused by it.
    """
    limit = budget.proto.limit
    if balance.limit == limit and balance.posted == 0 and not refused:
        return balance, []
    reached = [
        Mark(THRESHOLD, percent)
        for percent in sorted(budget.proto.thresholds)
        if balance.posted > 0 and balance.posted * 100 >= limit * percent
    ]
    reached += [EXCESS] * (balance.posted > limit) + [REFUSAL] * refused
    told = balance.marks
    if balance.limit != limit:
        told = tuple(mark for mark in told if mark in reached and mark != REFUSAL)
    news = [mark for mark in reached if mark not in told]
    if not news and balance.limit == limit:
        return balance, []
    return balance._replace(limit=limit, marks=(*told, *news)), news
