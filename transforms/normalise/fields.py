"""Reading one field of all spans: texts, lists of texts, booleans and counts, from the sources of their dialects."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from schemas.dialects import Source
from transforms.normalise.conditions import Known, holds
from transforms.normalise.counts import Count, as_counts, in_range
from transforms.normalise.documents import BROKEN, distinct, look_up
from transforms.normalise.reading import NOTHING, Reading
from transforms.otlp.attributes import Attributes

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_ITEMS, _ITEM = 100, 256  # of a list: so many items, of so many characters; the attribute keeps the rest
_NO_COUNT = ("none", "null", "undefined")

Words = Callable[[str], str | None]


class Texts:
    """A column of texts under construction: for each span the position of an attribute, or a text of its own."""

    def __init__(self, rows: int, attributes: Attributes) -> None:
        self._attributes = attributes
        self._at = np.full(rows, -1, np.int64)
        self._own: list[str] = []

    @property
    def lacking(self) -> np.ndarray:
        return self._at < 0

    def put_positions(self, rows: np.ndarray, positions: np.ndarray) -> None:
        self._at[rows] = positions

    def put_values(self, rows: np.ndarray, codes: np.ndarray, values: Sequence[str | None]) -> None:
        """values[codes[i]] is the text of rows[i]; None and '' leave it lacking."""
        first = len(self._attributes.text) + len(self._own)
        index = np.full(len(values), -1, np.int64)
        kept = [i for i, value in enumerate(values) if value]
        index[kept] = first + np.arange(len(kept))
        self._own += [values[i] or "" for i in kept]
        self._at[rows] = index[codes]

    def series(self) -> pl.Series:
        """The column: String, NULL where lacking."""
        count = len(self._attributes.text)
        read, own = (self._at >= 0) & (self._at < count), self._at >= count
        texts = self._attributes.texts.gather(self._at[read])
        index = np.full(len(self._at), -1, np.int64)
        index[read] = np.arange(len(texts))
        index[own] = self._at[own] - count + len(texts)
        # one series of views to gather from is many times faster than choosing between two
        texts = pl.concat([texts, pl.Series(self._own, dtype=pl.String)], rechunk=True)
        return texts.gather(pl.Series(pa.array(index, pa.int64(), mask=index < 0)))


def read_text(reading: Reading, name: str, known: Known, words: Words | None = None) -> pl.Series:
    """The text field `name` of every span: String, NULL where not found.

    `words` translates a value, or refuses it with None so that the next source is tried.
    """
    texts = Texts(reading.rows, reading.attributes)
    for dialect, source in reading.sources(name):
        rows = lacking_rows(reading, source, texts.lacking, known)
        if source.span:
            spans = np.flatnonzero(rows & reading.of_dialect(dialect))
            codes, values = distinct(
                reading.spans[source.span].fill_null("").gather(spans).to_arrow().cast(pa.large_string())
            )
            texts.put_values(spans, codes, _words(reading, dialect, source, values, words))
            reading.note(name, source, spans)
            continue
        positions = reading.candidates(dialect, source, rows)
        if len(positions) == 0:
            continue
        owners = reading.attributes.owner[positions]
        reading.note(name, source, owners, positions)
        if not (source.path or source.format or source.map or source.match or source.extract or words):
            texts.put_positions(owners, positions)
            continue
        positions, owners = _put_leading_key(reading, source, texts, positions, owners, words)
        if len(positions) == 0:
            continue
        codes, values = scalars(reading, source, positions)
        texts.put_values(owners, codes, _words(reading, dialect, source, values, words))
    reading.origins.drop(name, texts.lacking)
    return texts.series()


def _put_leading_key(
    reading: Reading, source: Source, texts: Texts, positions: np.ndarray, owners: np.ndarray, words: Words | None
) -> tuple[np.ndarray, np.ndarray]:
    """A text that is the first key of its JSON object is taken without parsing; what is left over is returned.

    Bodies of answers are long and all different, and nearly all begin with their id.
    """
    if len(source.path) != 1 or source.format or source.map or source.match or words:
        return positions, owners
    pattern = rf'^\s*\{{\s*"{re.escape(source.path[0])}"\s*:\s*"([^"\\]+)"'
    found = reading.attributes.texts_at(positions).str.extract(pattern, 1)
    hit = found.is_not_null().to_numpy()
    own = found.drop_nulls()
    texts.put_values(owners[hit], np.arange(len(own)), own.to_list())
    return positions[~hit], owners[~hit]


def lacking_rows(reading: Reading, source: Source, lacking: np.ndarray, known: Known) -> np.ndarray:
    """bool[n spans]: the spans that lack the field and to which the source applies."""
    applies = holds(reading, source, known)
    return lacking if applies is None else lacking & applies


def scalars(reading: Reading, source: Source, positions: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """int[n] codes into the distinct values at `positions`, and the values: what the source's path leads to, or the
    text itself; None where there is nothing."""
    if source.extract:
        found = reading.attributes.texts_at(positions).str.extract(source.extract, 1).fill_null("")
        codes, values = distinct(found.to_arrow().cast(pa.large_string()))
        return codes, [value or None for value in values]
    if not (source.path or source.format):
        return distinct(reading.texts(positions))
    codes, documents = reading.documents.read(positions, source.format or "json")
    return codes, [None if document is BROKEN else look_up(document, source.path) for document in documents]


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else None


def _words(
    reading: Reading, dialect: int, source: Source, values: Sequence[Any], words: Words | None
) -> list[str | None]:
    """The values as texts, through the source's map or expressions, then through `words`."""
    texts = [_as_text(value) for value in values]
    if source.map:
        table = _table(reading, dialect, source.map)
        texts = [None if text is None else table.get(text.strip().lower()) for text in texts]
    if source.match:
        table = [(re.compile(p), word) for p, word in reading.dialects[dialect].maps[source.match].items()]
        texts = [
            None if text is None else next((word for expression, word in table if expression.search(text)), None)
            for text in texts
        ]
    return [None if text is None or words is None else words(text) for text in texts] if words else texts


def _table(reading: Reading, dialect: int, name: str) -> Mapping[str, str]:
    if name == "span_kinds":
        return reading.vocabulary.span_kinds
    if name == "operation_kinds":
        kinds = reading.vocabulary.operation_kinds
        return {alias: kinds[operation] for alias, operation in reading.vocabulary.operation_aliases.items()}
    return {word.lower(): value for word, value in reading.dialects[dialect].maps[name].items()}


def read_bool(reading: Reading, name: str, known: Known) -> np.ndarray:
    """int8[n spans]: 1 true, 0 false, -1 not said."""
    said = np.full(reading.rows, -1, np.int8)
    for dialect, source in reading.sources(name):
        rows = lacking_rows(reading, source, said < 0, known)
        if source.span:
            positions, owners = NOTHING, np.flatnonzero(rows & reading.of_dialect(dialect))
            column = reading.spans[source.span].fill_null("").gather(owners)
            codes, values = distinct(column.to_arrow().cast(pa.large_string()))
        else:
            positions = reading.candidates(dialect, source, rows)
            if len(positions) == 0:
                continue
            owners = reading.attributes.owner[positions]
            codes, values = scalars(reading, source, positions)
        reading.note(name, source, owners, positions)
        texts = [(text or "").lower() for text in _words(reading, dialect, source, values, None)]
        said[owners] = np.array([1 if t in _TRUE else 0 if t in _FALSE else -1 for t in texts], np.int8)[codes]
    reading.origins.drop(name, said < 0)
    return said


def read_list(reading: Reading, name: str, known: Known, words: Words | None = None) -> pl.Series:
    """The list field `name` of every span: List(String), empty where not found, the first items of a long one.

    A text is a JSON array, or a list separated by commas (tags), or one item.
    """
    at = np.zeros(reading.rows, np.int64)
    lists: list[list[str]] = [[]]
    for dialect, source in reading.sources(name):
        rows = lacking_rows(reading, source, at == 0, known)
        positions = reading.candidates(dialect, source, rows)
        if len(positions) == 0:
            continue
        codes, values = scalars(reading, source, positions)
        read = [[item[:_ITEM] for item in _as_list(value, name == "tags")[:_ITEMS]] for value in values]
        if words:
            read = [[words(item) or item for item in items] for items in read]
        index = np.where([bool(items) for items in read], len(lists) + np.arange(len(read)), 0)
        lists += read
        at[reading.attributes.owner[positions]] = index[codes]
    return pl.Series(lists, dtype=pl.List(pl.String)).gather(at)


def _as_list(value: Any, commas: bool) -> list[str]:
    if isinstance(value, str) and value[:1] == "[":
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return [value]
    if isinstance(value, list):
        return [text for text in map(_as_text, value) if text]
    text = _as_text(value)
    if not text:
        return []
    return [part.strip() for part in text.split(",") if part.strip()] if commas else [text]


def read_count(reading: Reading, name: str, known: Known) -> Count:
    """The count `name` of every span."""
    count = Count.nothing(reading.rows)
    values, whole = reading.attributes.integers
    for dialect, source in reading.sources(name):
        rows = lacking_rows(reading, source, ~count.known, known)
        positions = reading.candidates(dialect, source, rows)
        if len(positions) == 0:
            continue
        owners = reading.attributes.owner[positions]
        if source.path or source.format or source.extract:
            codes, found = scalars(reading, source, positions)
            value, good, sent = (part[codes] for part in as_counts(found))
        else:
            value = values[positions]
            good = in_range(value, whole[positions])
            sent = good | ~_said_nothing(reading, positions, good)
        count.put(owners, value, good, sent)
        reading.note(name, source, owners[good], positions[good])
    return count


def _said_nothing(reading: Reading, positions: np.ndarray, good: np.ndarray) -> np.ndarray:
    nothing = np.zeros(len(positions), bool)
    odd = np.flatnonzero(~good)
    if len(odd):
        texts = reading.attributes.texts_at(positions[odd]).str.to_lowercase()
        nothing[odd] = texts.is_in(list(_NO_COUNT)).to_numpy()
    return nothing
