"""The provider's own usage object, where a span carries one: its shape says how the numbers are to be read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.vocabulary import COUNTS, UsageShape
from transforms.normalise.conditions import Known
from transforms.normalise.counts import Count, as_counts
from transforms.normalise.documents import BROKEN, look_up
from transforms.normalise.fields import lacking_rows
from transforms.normalise.reading import Reading

# from a document to raw counts with `input` and `output` inclusive, or None when it is another shape
Reader = Callable[[Mapping[str, Any]], Mapping[str, int] | None]


@dataclass(frozen=True)
class Usage:
    """counts: input and output inclusive, as the usage object says. broken: bool[n], it could not be parsed."""

    counts: Mapping[str, Count]
    broken: np.ndarray


def read_usage(reading: Reading, known: Known, needed: np.ndarray, readers: Mapping[str, Reader]) -> Usage:
    """The usage objects of the spans that are `needed` (bool[n spans]); `readers` by dialect are tried before the
    shapes of the vocabulary."""
    counts = {name: Count.nothing(reading.rows) for name in COUNTS}
    found, broken = np.zeros(reading.rows, bool), np.zeros(reading.rows, bool)
    for dialect, source in reading.sources("usage"):
        rows = lacking_rows(reading, source, needed & ~found, known)
        positions = reading.candidates(dialect, source, rows)
        if len(positions) == 0:
            continue
        owners = reading.attributes.owner[positions]
        codes, documents = reading.documents.read(positions, source.format or "json")
        own = readers.get(reading.dialects[dialect].name)
        read = [_read(look_up(document, source.path), own, reading.vocabulary.shapes) for document in documents]
        found[owners[np.array([item is not None for item in read], bool)[codes]]] = True
        cut = np.flatnonzero(np.array([document is BROKEN for document in documents], bool)[codes])
        opens = reading.attributes.texts_at(positions[cut]).str.starts_with("{").to_numpy()
        broken[owners[cut[opens]]] = True
        for name in COUNTS:
            value, good, sent = as_counts([None if item is None else item.get(name) for item in read])
            if sent.any():
                counts[name].put(owners, value[codes], good[codes], sent[codes])
                reading.note(f"usage.{name}", source, owners[good[codes]], positions[good[codes]])
    return Usage(counts, broken & ~found)


def _read(document: Any, own: Reader | None, shapes: Sequence[UsageShape]) -> Mapping[str, int] | None:
    if not isinstance(document, dict):
        return None
    read = own(document) if own else None
    if read is not None:
        return read
    shape = next((shape for shape in shapes if _fits(shape, document)), None)
    return shape and inclusive(shape, document)


def _fits(shape: UsageShape, document: Mapping[str, Any]) -> bool:
    for key in shape.requires:
        if document.get(key) is None:
            return False
    for key in shape.without:
        if key in document:
            return False
    return not shape.any or any(document.get(key) is not None for key in shape.any)


def inclusive(shape: UsageShape, document: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of `document`, with `input` holding both caches and `output` the reasoning; `uncached` is the input
    less both caches. A count that is no number is passed on as it came."""
    counts: dict[str, Any] = {}
    plain: dict[str, int] = {}
    for name, paths in shape.counts:
        for path in paths:
            value = document.get(path[0]) if len(path) == 1 else look_up(document, path)
            if value is not None:
                counts[name] = value
                if type(value) is int and value >= 0:
                    plain[name] = value
                break
    written = plain.get("cache_write", plain.get("cache_write_5m", 0) + plain.get("cache_write_1h", 0))
    cached = plain.get("cache_read", 0) + written
    if "input" in plain:
        whole = shape.input_inclusive and cached <= plain["input"]
        counts["uncached"] = plain["input"] - cached if whole else plain["input"]
        counts["input"] = plain["input"] if whole else plain["input"] + cached
    if not shape.output_inclusive and "reasoning" in plain:
        output = plain.get("output", 0)
        apart = plain.get("total") != counts.get("input", 0) + output
        counts["output"] = output + plain["reasoning"] if apart else output
    return counts
