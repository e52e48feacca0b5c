"""Where each fact of a span was read from.

An origin is the name of an attribute, with `:` and the path where the value is inside its document
(`output.value:usage`), or `event:<name>` for the time of a span event (`event:<start>*` for the first whose name begins
so), or `span:<column>` for the span's own name or scope.
"""

from collections.abc import Mapping

import numpy as np
import orjson
import polars as pl

from transforms.columns import intern
from transforms.redact.texts import redact_text


class Origins:
    """The origins of the fields of `rows` spans, noted while they are read."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._codes: dict[str, int] = {"": 0}
        self._of_field: dict[str, np.ndarray] = {}

    def code(self, origin: str) -> int:
        """The number that stands for `origin`."""
        return self._codes.setdefault(origin, len(self._codes))

    def note(self, field: str, spans: np.ndarray, codes: np.ndarray | int) -> None:
        """`field` of `spans` (row numbers) was read from what `codes` stand for."""
        if field not in self._of_field:
            self._of_field[field] = np.zeros(self._rows, np.int32)
        self._of_field[field][spans] = codes

    def drop(self, field: str, spans: np.ndarray) -> None:
        """Nothing was read after all for `field` of `spans` (bool[rows])."""
        if field in self._of_field:
            self._of_field[field][spans] = 0

    def of(self, *fields: str) -> np.ndarray:
        """int32[rows]: the code of the first of `fields` that was read; 0 where none was."""
        found = np.zeros(self._rows, np.int32)
        for field in reversed(fields):
            if field in self._of_field:
                codes = self._of_field[field]
                found = np.where(codes > 0, codes, found)
        return found

    def texts(self, columns: Mapping[str, np.ndarray]) -> pl.Series:
        """String[rows]: a JSON object from column to origin, of those of `columns` (codes of each row) that have one.

        A client chooses the names of attributes, so they are redacted whether or not its organisation wants that.
        """
        names = list(columns)
        code, distinct = intern(pl.DataFrame(columns), tuple(names))
        origins = redact_text(pl.Series(list(self._codes)), pl.repeat(True, len(self._codes), eager=True)).to_list()
        objects = [
            orjson.dumps({name: origins[code] for name, code in zip(names, codes, strict=True) if code}).decode()
            for codes in distinct.iter_rows()
        ]
        return pl.Series(objects, dtype=pl.String).gather(code)
