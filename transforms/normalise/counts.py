"""Token counts as sent. What is negative, no whole number, or above 2^53 is no count: left out, and marked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LARGEST = 2**53
ABSENT, BAD = -1, -2
_ABSENT_WORDS = ("", "none", "null", "undefined")


@dataclass
class Count:
    """value: int64[n], 0 where not known. known: bool[n]. bad: bool[n], something was sent that is no count."""

    value: np.ndarray
    known: np.ndarray
    bad: np.ndarray

    @classmethod
    def nothing(cls, rows: int) -> "Count":
        return cls(np.zeros(rows, np.int64), np.zeros(rows, bool), np.zeros(rows, bool))

    def put(self, rows: np.ndarray, value: np.ndarray, good: np.ndarray, sent: np.ndarray) -> None:
        """Take the `good` values for `rows`; what was `sent` and is not good is bad."""
        self.value[rows[good]] = value[good]
        self.known[rows[good]] = True
        self.bad[rows[sent & ~good]] = True


def in_range(value: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """bool[n]: a whole number that can be a count."""
    return whole & (value >= 0) & (value <= LARGEST)


def as_counts(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(int64, good, sent) of values from a document: numbers, numbers as text; None counts as not sent."""
    value = np.array([as_count(value) for value in values], np.int64)
    return value, value >= 0, value != ABSENT


def as_count(value: Any) -> int:
    """The count that `value` is; ABSENT when nothing was sent, BAD when it is no count."""
    if type(value) is int:
        return value if 0 <= value <= LARGEST else BAD
    if value is None:
        return ABSENT
    if isinstance(value, str):
        if value.strip().lower() in _ABSENT_WORDS:
            return ABSENT
        try:
            return as_count(int(value) if value.strip().isdigit() else float(value))
        except ValueError:
            return BAD
    if not isinstance(value, float) or not math.isfinite(value) or value != int(value):
        return BAD
    return as_count(int(value))
