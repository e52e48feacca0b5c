"""Values that hold a document: JSON, or a Python literal. Each distinct text is parsed once."""

import ast
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

_SIMPLE_LITERAL = re.compile(r"[\w\s{}\[\]':,.+-]*")
_WORDS = {"None": "null", "True": "true", "False": "false"}
_WORD = re.compile(r"\b(None|True|False)\b")


def distinct(texts: pa.Array) -> tuple[np.ndarray, list[str]]:
    """int32[n] index into the distinct texts of `texts` (large_string, no NULL), and those texts."""
    encoded = texts.dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


class Broken:
    """Stands for a text that could not be parsed."""


BROKEN = Broken()


def parse_json(text: str) -> Any:
    """The JSON document in `text`; BROKEN when there is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return BROKEN


def parse_python(text: str) -> Any:
    """The Python literal in `text`, as repr() writes it; BROKEN when there is none. Nothing is evaluated."""
    if _SIMPLE_LITERAL.fullmatch(text):
        document = parse_json(_WORD.sub(lambda word: _WORDS[word[0]], text).replace("'", '"'))
        if document is not BROKEN:
            return document
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return BROKEN


PARSERS = {"json": parse_json, "python": parse_python}


def look_up(document: Any, path: Sequence[str]) -> Any:
    """The value at `path` in `document`, None when there is none.

    A part is a key of an object or an index of an array; `*` is the first element that holds the rest.
    """
    for i, part in enumerate(path):
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list):
            if part == "*":
                found = (look_up(item, path[i + 1 :]) for item in document)
                return next((value for value in found if value is not None), None)
            document = document[int(part)] if part.isdigit() and int(part) < len(document) else None
        else:
            return None
    return document


class Documents:
    """The documents in the attributes of one batch, parsed when first asked for, each distinct text once.

    A cache: reading from it in another order gives the same documents.
    """

    def __init__(self, texts: pa.Array) -> None:
        self._texts = texts  # large_string, one per attribute
        self._parsed: dict[str, list[Any]] = {form: [] for form in PARSERS}
        self._index: dict[str, np.ndarray] = {}

    def read(self, positions: np.ndarray, form: str) -> tuple[np.ndarray, list[Any]]:
        """int[n] codes into the distinct documents at `positions` (int64[n]), and those documents; BROKEN where the
        text holds none that is written as `form` says."""
        if form not in self._index:
            self._index[form] = np.full(len(self._texts), -1, np.int32)
        index, parsed = self._index[form], self._parsed[form]
        fresh = positions[index[positions] < 0]
        if len(fresh):
            codes, texts = distinct(self._texts.take(pa.array(fresh)))
            index[fresh] = codes + len(parsed)
            parsed += map(PARSERS[form], texts)
        wanted = index[positions]
        used = np.zeros(len(parsed), bool)
        used[wanted] = True
        chosen = np.flatnonzero(used)
        return (np.cumsum(used) - 1)[wanted], [parsed[i] for i in chosen]
