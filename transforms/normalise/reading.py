"""One batch as the dialects see it: where the attributes of each dialect's spans are, key by key.

A field is read by taking its sources in order; each gives candidate (span, position) pairs for the spans of the
dialect that the field still lacks. Everything is an array over candidates; loops go over dialects, sources and
distinct values only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.dialects import Dialect, Source
from schemas.vocabulary import Vocabulary
from transforms.normalise.documents import Documents
from transforms.normalise.origins import Origins
from transforms.otlp.attributes import Attributes

NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class Events:
    """Span events: owner int32[n] (ascending), time int64[n] UTC ns, name, and their attributes (owners: events)."""

    span: np.ndarray
    time: np.ndarray
    name: pl.Series
    attributes: Attributes


@dataclass(frozen=True)
class Reading:
    """spans: as decoded. dialect: int16[n spans], index into `dialects`. documents: a cache of parsed values.
    origins: filled while fields are read."""

    spans: pl.DataFrame
    attributes: Attributes
    events: Events
    dialects: Sequence[Dialect]
    dialect: np.ndarray
    vocabulary: Vocabulary
    documents: Documents
    origins: Origins
    _of_key: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)
    _of_dialect: dict[tuple[int, str], np.ndarray] = field(default_factory=dict, repr=False)
    _of_pattern: dict[tuple[str, str], list[str]] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> int:
        return len(self.dialect)

    @cached_property
    def present(self) -> list[int]:
        """Indexes of the dialects that the batch holds."""
        return [int(index) for index in np.unique(self.dialect) if index >= 0]

    def sources(self, name: str) -> Iterator[tuple[int, Source]]:
        """(dialect index, source) of a field, in the order in which to read them; those left out hold nothing in
        this batch."""
        for index in self.present:
            for source in self.dialects[index].sources.get(name, ()):
                keys = self._matching(source) if source.pattern else [source.key]
                if not (source.key or source.pattern) or any(len(self.positions(index, key)) for key in keys):
                    yield index, source

    def positions(self, dialect: int, key: str) -> np.ndarray:
        """Ascending positions of the attributes `key` of the dialect's spans: not empty, one for a span."""
        if key not in self.attributes.codes:
            return NOTHING
        if (dialect, key) not in self._of_dialect:
            positions, dialects = self._key(key)
            self._of_dialect[dialect, key] = positions[dialects == dialect]
        return self._of_dialect[dialect, key]

    def candidates(self, dialect: int, source: Source, lacking: np.ndarray) -> np.ndarray:
        """Positions at which `source` may hold the value of spans that are `lacking` (bool[n spans])."""
        if source.pattern:
            groups = [self.positions(dialect, key) for key in self._matching(source)]
            found = np.concatenate([NOTHING, *groups])
            if len(groups) > 1:  # of several keys that fit, the first by name
                _, first = np.unique(self.attributes.owner[found], return_index=True)
                found = found[first]
        else:
            found = self.positions(dialect, source.key)
        return found[lacking[self.attributes.owner[found]]]

    def note(self, name: str, source: Source, spans: np.ndarray, positions: np.ndarray = NOTHING) -> None:
        """The field `name` of `spans` was read from `source`, from the attributes at `positions` (none for an event or
        a column of the span)."""
        keys = self.attributes.code[positions]
        codes = {int(key): self.origins.code(source.origin(self.attributes.keys[key])) for key in np.unique(keys)}
        if len(codes) > 1:
            self.origins.note(name, spans, np.array([codes[int(key)] for key in keys]))
        else:
            self.origins.note(name, spans, next(iter(codes.values()), self.origins.code(source.origin(""))))

    def texts(self, positions: np.ndarray) -> pa.Array:
        """large_string[n]: the values at `positions`."""
        return self.attributes.text.take(pa.array(positions))

    def has_key(self, key: str) -> np.ndarray:
        """bool[n spans]: the span has an attribute called `key`."""
        present = np.zeros(self.rows, bool)
        present[self.attributes.owner[self.attributes.positions(key)]] = True
        return present

    def of_dialect(self, index: int) -> np.ndarray:
        """bool[n spans]: the span is of this dialect."""
        return self.dialect == index

    def _matching(self, source: Source) -> list[str]:
        """The keys of the batch that the source's pattern finds, by name."""
        asked = source.pattern, source.unless
        if asked not in self._of_pattern:
            fits = self._keys.str.contains(source.pattern)
            if source.unless:
                fits &= ~self._keys.str.contains(source.unless)
            self._of_pattern[asked] = self._keys.filter(fits).to_list()
        return self._of_pattern[asked]

    @cached_property
    def _keys(self) -> pl.Series:
        return pl.Series(self.attributes.keys, dtype=pl.String).sort()

    def _key(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """(positions of `key` that are not empty, the first of each span; the dialect of that span)."""
        if key not in self._of_key:
            attributes = self.attributes
            positions = attributes.positions(key)
            positions = positions[(attributes.kind[positions] != 0) & (attributes.lengths[positions] > 0)]
            owners = attributes.owner[positions]
            first = np.ones(len(positions), bool)
            first[1:] = owners[1:] != owners[:-1]
            self._of_key[key] = positions[first], self.dialect[owners[first]]
        return self._of_key[key]
