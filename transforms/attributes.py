"""The attributes of many spans in long form: one row per attribute, so that reading a key is one gather.

Reading a field means taking, for every span, the position of the first attribute with a wanted key, and then
gathering the values of those positions in the wanted type: no loop over spans.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
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
        raise NotImplementedError
