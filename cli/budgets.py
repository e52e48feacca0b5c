"""Amounts and balances of budgets, as the commands read and show them."""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from cli.client import connect, rows
from cli.control import utc
from cli.exits import Exit, Failure
from cli.local.profile import find_running
from cli.output import Form, dollars, say
from services.control.budget_definition import Budget
from transforms.budgets.amounts import MAX_LIMIT, NANO_DOLLARS
from transforms.budgets.windows import SECOND, Span, window_at, zone

# To people a budget is told in words, to programs in the numbers and names that the service knows it by.
_WORDS = ["org", "budget", "limit", "window", "counts", "hard", "thresholds", "from", "to", "revision"]
_NUMBERS = ["org", "budget", "budget_id", "limit", "unit", "window", "time_zone", "team", "key_id", "provider", "model"]
_NUMBERS += ["hard", "thresholds", "from", "to", "revision"]
_DOLLARS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_TOKENS = re.compile(r"[0-9]{1,18}")
_BAR = 40
_BALANCE = """
    SELECT spent, pending FROM budget_balances
    WHERE org = {org:String} AND budget_id = {id:String}
      AND window_start = fromUnixTimestamp64Nano({start:Int64}, 'UTC')
"""


def read_dollars(text: str) -> int:
    """Nano-dollars of an amount such as 25 or 0.50, exactly. Raises ValueError."""
    if not _DOLLARS.fullmatch(text):
        raise ValueError(f"{text!r} is no amount of dollars such as 25 or 0.50, with up to 9 decimals")
    return int(Decimal(text).scaleb(9))


def read_tokens(text: str) -> int:
    """A number of tokens. Raises ValueError."""
    if not _TOKENS.fullmatch(text):
        raise ValueError(f"{text!r} is no number of tokens, up to {MAX_LIMIT}")
    return int(text)


def amount(budget: Budget, value: int, form: Form) -> int | str:
    """`value` in the unit of `budget`: in words for people, as it is for programs."""
    if form is not Form.table:
        return value
    return dollars(value) if budget.unit == NANO_DOLLARS else f"{value:,} tokens"


def columns(form: Form) -> list[str]:
    """What `row` gives, in order."""
    return _WORDS if form is Form.table else _NUMBERS


def row(budget: Budget, form: Form) -> dict[str, Any]:
    """`budget` as a row of `columns`."""
    counted = {"team": budget.team, "key": budget.key_id, "provider": budget.provider, "model": budget.model}
    always = {
        "org": budget.org,
        "budget": budget.name,
        "hard": budget.hard,
        "from": utc(budget.effective_from or None),
        "to": utc(budget.effective_to or None),
        "revision": budget.revision,
    }
    if form is Form.table:
        return always | {
            "limit": amount(budget, budget.amount, form),
            "window": budget.period if budget.period == "total" else f"{budget.period}, {budget.time_zone}",
            "counts": ", ".join(f"{what} {name}" for what, name in counted.items() if name) or "all",
            "thresholds": ", ".join(f"{percent} %" for percent in budget.thresholds),
        }
    named = {name: getattr(budget, name) for name in ("budget_id", "unit", "time_zone", "team", "key_id")}
    named |= {"provider": budget.provider, "model": budget.model, "window": budget.period}
    return always | named | {"limit": budget.amount, "thresholds": list(budget.thresholds)}


def window_of(budget: Budget, now: int) -> Span:
    return window_at(budget.period, zone(budget.time_zone), now)


def balance(data: Path, budget: Budget, now: int) -> Mapping[str, int] | None:
    """What is spent and pending of `budget` in its window of `now` (UTC ns); None, and a remark, when nobody knows.

    Nothing is spent of a window that the store does not know.
    """
    wanted = {"org": budget.org, "id": budget.budget_id, "start": window_of(budget, now).start}
    try:
        found = rows(connect(find_running(data)), _BALANCE, wanted).rows
    except Failure as failure:
        if failure.code is not Exit.CANNOT_CONNECT:
            raise
        say(f"{failure.what}: this is the budget without what is spent of it")
        return None
    return found[0] if found else {"spent": 0, "pending": 0}


def bar(budget: Budget, spent: int, pending: int) -> str:
    """Spent, pending and left as one line of blocks; an overspent budget fills it."""
    scale = max(budget.amount, spent + pending, 1)
    full = min(max(spent, 0) * _BAR // scale, _BAR)
    held = min((max(spent, 0) + pending) * _BAR // scale, _BAR) - full
    return "█" * full + "▒" * held + "░" * (_BAR - full - held)


def resets_at(budget: Budget, now: int) -> str | None:
    """When the window of `now` ends, for people; None for that of all time."""
    end = window_of(budget, now).end
    return utc(end // SECOND * SECOND) if end else None
