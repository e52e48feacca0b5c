"""One budget as its owner defines it."""

import json
from dataclasses import dataclass
from hashlib import sha256

from schemas import budget_pb2 as pb
from services.control.database import checked_name
from transforms.budgets.amounts import MAX_LIMIT
from transforms.budgets.limits import UNITS, WINDOW_NAMES
from transforms.budgets.windows import zone

_UNITS = {name: number for number, name in UNITS.items()}
_PERIODS = {name: number for number, name in WINDOW_NAMES.items()}
_LONGEST = 255  # characters of a provider or a model


class InvalidBudget(ValueError):
    """A budget that can't be taken."""


@dataclass(frozen=True)
class Budget:
    """One budget. Of team, key_id, provider and model '' counts any; a model that ends in * is a prefix.

    period: day | week | month | total, in `time_zone`. unit: nano_dollars | tokens, of `amount`. thresholds: percent.
    effective_from, effective_to: UTC ns, 0 for none. revision: of the change that made it so, 0 before that.
    """

    org: str
    name: str
    amount: int
    unit: str = "nano_dollars"
    period: str = "month"
    time_zone: str = "UTC"
    team: str = ""
    key_id: str = ""
    provider: str = ""
    model: str = ""
    hard: bool = True
    thresholds: tuple[int, ...] = (50, 80, 100)
    effective_from: int = 0
    effective_to: int = 0
    revision: int = 0
    changed_at: int = 0  # UTC ns

    @property
    def budget_id(self) -> str:
        """Of its balance: another one where something else is counted under the same name."""
        counted = [self.org, self.name, self.team, self.key_id, self.provider, self.model]
        counted += [self.period, self.time_zone, self.unit]
        return sha256(json.dumps(counted).encode()).hexdigest()[:16]


def check_budget(budget: Budget) -> None:
    """Raises InvalidName or InvalidBudget."""
    checked_name("budget", budget.name)
    if budget.team:
        checked_name("team", budget.team)
    if budget.unit not in _UNITS or budget.period not in _PERIODS:
        raise InvalidBudget(f"unit {budget.unit!r} or window {budget.period!r} is none of {[*_UNITS]}, {[*_PERIODS]}")
    if not 0 <= budget.amount <= MAX_LIMIT:
        raise InvalidBudget(f"a limit is from 0 to {MAX_LIMIT} {budget.unit}, not {budget.amount}")
    if len(budget.thresholds) > 10 or any(not 1 <= percent <= 100 for percent in budget.thresholds):
        raise InvalidBudget(f"thresholds are up to 10 numbers from 1 to 100 percent, not {list(budget.thresholds)}")
    if budget.effective_to and budget.effective_to <= budget.effective_from:
        raise InvalidBudget("a budget ends after it begins")
    if max(len(budget.provider), len(budget.model)) > _LONGEST:
        raise InvalidBudget(f"provider and model have up to {_LONGEST} characters")
    try:
        zone(budget.time_zone)
    except ValueError as error:
        raise InvalidBudget(str(error)) from error


def as_proto(budget: Budget) -> pb.Budget:
    return pb.Budget(
        budget_id=budget.budget_id,
        name=budget.name,
        team=budget.team,
        key_id=budget.key_id,
        provider=budget.provider,
        model=budget.model,
        window=_PERIODS[budget.period],
        time_zone=budget.time_zone,
        unit=_UNITS[budget.unit],
        limit=budget.amount,
        hard=budget.hard,
        thresholds=budget.thresholds,
        effective_from=budget.effective_from,
        effective_to=budget.effective_to,
    )
