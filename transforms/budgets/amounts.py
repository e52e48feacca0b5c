"""Amounts and their bounds: nano-dollars and tokens, never a float, never wrapped.

Bounds are chosen so that every sum fits into 64 bits: what would pass MAX_BALANCE is refused, and with it
limit - spent - pending is above -2^63.
"""

from typing import NamedTuple

NANO_DOLLARS = "nano_dollars"
TOKENS = "tokens"

MAX_COST = 10**15  # nano-dollars of one call: a million dollars
MAX_TOKENS = 10**12  # of one call
MAX_LIMIT = 10**18
MAX_BALANCE = 2**62


class OutOfBounds(ValueError):
    """A balance would pass MAX_BALANCE."""


class Amounts(NamedTuple):
    """What a call costs; None for what is not known."""

    cost: int | None = None
    tokens: int | None = None

    def of(self, unit: str) -> int | None:
        return self.cost if unit == NANO_DOLLARS else self.tokens

    def else_of(self, other: "Amounts") -> "Amounts":
        """These amounts, those of `other` where not known."""
        return Amounts(
            other.cost if self.cost is None else self.cost, other.tokens if self.tokens is None else self.tokens
        )

    def fault(self, signed: bool = False) -> str:
        """Why they can't be taken; '' when they can. signed: reversals are below zero."""
        for value, most, what in ((self.cost, MAX_COST, "cost_nano"), (self.tokens, MAX_TOKENS, "tokens")):
            if value is None:
                continue
            if value < 0 and not signed:
                return f"{what} is negative: {value}"
            if abs(value) > most:
                return f"{what} is {value}; one call has at most {most}"
        return ""


UNKNOWN = Amounts()
