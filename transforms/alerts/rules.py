"""Alert rules as they are judged: what is measured, when it is too much, and whom it concerns."""

from dataclasses import dataclass
from enum import StrEnum

from schemas.arrow import MEASURES

# Per organisation, as in Mimir; and of one rule.
MAX_GROUPS, MAX_RULES = 70, 20
MAX_SERIES = 100
MAX_WINDOW, MAX_QUANTILE_WINDOW = 24 * 60, 60  # minutes
OTHER = "(other)"  # the series of all groups beyond MAX_SERIES

# Columns of METRICS that a rule may group and filter by, and columns of BUDGET_BALANCES.
DIMENSIONS = ("team", "key_id", "service", "provider", "model", "operation", "prompt_name", "prompt_version")
BUDGET_DIMENSIONS = ("budget", "team", "key_id", "provider", "model", "window")

# Metric of a rule -> column of METRICS.
COUNTERS = {
    "calls": "calls",
    "errors": "errors",
    "attempts": "attempts",
    "unpriced_calls": "unpriced_calls",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "cost": "cost_nano",
}
HISTOGRAMS = MEASURES
# Calls without a price, and those whose price made nothing of their tokens; not a column.
UNPRICED = "unpriced"
COST = "cost"


class Kind(StrEnum):
    THRESHOLD = "threshold"
    RATIO = "ratio"
    QUANTILE = "quantile"
    BUDGET = "budget"
    UNPRICED = "unpriced"
    ANOMALY = "anomaly"
    ABSENCE = "absence"


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"
    BOTH = "both"


@dataclass(frozen=True)
class Signal:
    """What is measured of a series in a window: the sum of `metric`, with `over` divided by the sum of that one, with
    `quantile` (0 to 1) that quantile of a histogram. Units: nano-dollars, tokens, calls, ns."""

    metric: str
    over: str = ""
    quantile: float | None = None


@dataclass(frozen=True)
class Rule:
    """Times are whole minutes. above, below: the value beyond which it is breached, exclusive; one of them is None, for
    anomaly and absence both. resolve: the value on whose safe side a firing rule is calm, inclusive."""

    name: str  # group/rule
    kind: Kind
    signal: Signal
    above: float | None = None
    below: float | None = None
    resolve: float | None = None
    window: int = 5
    hold: int = 0  # how long it must be breached before it fires
    calm: int = 5  # how long it must be calm before it is resolved
    by: tuple[str, ...] = ()
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()  # dimension -> the values that count
    at_least: int = 1  # calls in the window without which nothing is said
    direction: Direction = Direction.BOTH
    sensitivity: float = 6.0  # robust standard deviations
    severity: str = "warning"
    summary: str = ""
    runbook: str = ""
    receivers: tuple[str, ...] = ()

    @property
    def slot(self) -> int:
        """Minutes of one slot of the window: a long window is kept in 60 slots or fewer."""
        return -(-self.window // 60)

    @property
    def measures(self) -> tuple[object, ...]:
        """What its series are made of: a rule that changes in this begins anew."""
        return self.kind, self.signal, self.window, self.by, self.where
