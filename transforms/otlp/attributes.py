"""The attributes of many spans in long form: one row per attribute, so that reading a key is one gather.

Reading a field means taking, for every span, the position of the first attribute with a wanted key, and then
gathering the values of those positions in the wanted type: no loop over spans.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa


class ValueKind(IntEnum):
    """The variant of an OTLP AnyValue."""

    EMPTY = 0
    STRING = 1
    BOOL = 2
    INT = 3
    DOUBLE = 4
    ARRAY = 5
    KVLIST = 6
    BYTES = 7


@dataclass(frozen=True)
class Attributes:
    """n attributes of `owners` spans.

    owner: int32[n], the row of the span that each belongs to, ascending.
    code: int32[n], index into `keys`.
    keys: the distinct keys of the batch.
    kind: uint8[n], ValueKind.
    text: large_string[n], the value as text, never NULL: strings as they are, numbers in plain decimal form,
        booleans true/false, arrays and key-value lists as JSON, bytes as base64.
    number: double[n], NULL where the value is not a number (a numeric string counts as one, NaN and inf do not).
    integer: int64[n], NULL where the value is not a whole number within int64 (as int, double or string).
    """

    owners: int
    owner: np.ndarray
    code: np.ndarray
    keys: list[str]
    kind: np.ndarray
    text: pa.LargeStringArray
    number: pa.DoubleArray
    integer: pa.Int64Array

    def positions(self, key: str) -> np.ndarray:
        """int64 positions of the attributes called `key`, ascending; empty when the batch has none."""
        code = self.codes.get(key)
        if code is None:
            return np.empty(0, np.int64)
        return self._order[self._starts[code] : self._starts[code + 1]]

    def first(self, keys: Sequence[str]) -> np.ndarray:
        """int64[owners]: position of the owner's attribute with the earliest of `keys`, -1 where it has none."""
        found = np.full(self.owners, -1, np.int64)
        for key in reversed(keys):
            positions = self.positions(key)[::-1]  # of a key that is given twice the first value holds
            found[self.owner[positions]] = positions
        return found

    def texts_at(self, positions: np.ndarray) -> pl.Series:
        """String series of the values at `positions`, NULL where the position is -1. Copies no text."""
        return self.texts.gather(_or_null(positions))

    def numbers_at(self, positions: np.ndarray) -> pl.Series:
        """Float64 series of the values at `positions`, NULL where -1 or not a number."""
        return self._number.gather(_or_null(positions))

    def integers_at(self, positions: np.ndarray) -> pl.Series:
        """Int64 series of the values at `positions`, NULL where -1 or not a whole number."""
        return self._integer.gather(_or_null(positions))

    @cached_property
    def codes(self) -> dict[str, int]:
        """The index of each key in `keys`."""
        return {key: code for code, key in enumerate(self.keys)}

    @cached_property
    def texts(self) -> pl.Series:
        """`text` as a series of views: gathering from it copies 16 bytes a value, however long the text."""
        return pl.Series("text", self.text, dtype=pl.String)

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64[n]: bytes of each text."""
        if len(self.text) == 0:
            return np.empty(0, np.int64)
        offsets = np.frombuffer(self.text.buffers()[1], np.int64)
        return np.diff(offsets[self.text.offset : self.text.offset + len(self.text) + 1])

    @cached_property
    def integers(self) -> tuple[np.ndarray, np.ndarray]:
        """(int64[n], bool[n]): the whole numbers, anything where there is none, and where there is one."""
        return _values(self.integer, np.int64), _valid(self.integer)

    @cached_property
    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """(float64[n], bool[n]): the numbers, anything where there is none, and where there is one."""
        return _values(self.number, np.float64), _valid(self.number)

    @cached_property
    def _number(self) -> pl.Series:
        return pl.Series("number", self.number, dtype=pl.Float64)

    @cached_property
    def _integer(self) -> pl.Series:
        return pl.Series("integer", self.integer, dtype=pl.Int64)

    @cached_property
    def _order(self) -> np.ndarray:
        # 16-bit codes are sorted by radix, many times faster than a comparison sort
        narrow = self.code.astype(np.uint16) if len(self.keys) <= 2**16 else self.code
        return np.argsort(narrow, kind="stable")

    @cached_property
    def _starts(self) -> np.ndarray:
        counts = np.bincount(self.code, minlength=len(self.keys))
        return np.concatenate(([0], np.cumsum(counts)))


def _or_null(positions: np.ndarray) -> pl.Series:
    return pl.Series(pa.array(positions, pa.int64(), mask=positions < 0))


def _values(values: pa.Array, kind: type) -> np.ndarray:
    """The values without a copy; where the array is NULL, whatever its buffer holds."""
    if len(values) == 0:
        return np.empty(0, kind)
    return np.frombuffer(values.buffers()[1], kind)[values.offset : values.offset + len(values)]


def _valid(values: pa.Array) -> np.ndarray:
    return values.is_valid().to_numpy(zero_copy_only=False)
