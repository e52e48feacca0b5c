"""Which dialect a span is written in: by its scope, then by its attributes, the first clause by rank wins."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.dialects import Detect, Dialect
from transforms.normalise.documents import distinct
from transforms.otlp.attributes import Attributes


@dataclass(frozen=True)
class Scopes:
    """Distinct scope names, and the index of each span's."""

    names: list[str]
    codes: np.ndarray


def scopes_of(scope: pl.Series) -> Scopes:
    """The distinct values of a string series (NULL is '')."""
    codes, names = distinct(scope.fill_null("").to_arrow().cast(pa.large_string()))
    return Scopes(names, codes)


def detect(scope: pl.Series, attributes: Attributes, dialects: Sequence[Dialect]) -> np.ndarray:
    """int16[n spans]: the index in `dialects` of each span's dialect, -1 where no clause fits."""
    scopes = scopes_of(scope)
    found = np.full(len(scope), -1, np.int16)
    clauses = [(clause, index) for index, dialect in enumerate(dialects) for clause in dialect.detect]
    for clause, index in sorted(clauses, key=lambda c: c[0].rank):
        open_rows = found < 0
        if not open_rows.any():
            break
        found[open_rows & _fits(clause, scopes, attributes)] = index
    return found


def _fits(clause: Detect, scopes: Scopes, attributes: Attributes) -> np.ndarray:
    by_scope = [
        name in clause.scopes or bool(clause.scope_prefixes) and name.startswith(clause.scope_prefixes)
        for name in scopes.names
    ]
    fits = np.array(by_scope, bool)[scopes.codes]
    for code in _codes(clause, attributes):
        fits[attributes.owner[attributes.positions(attributes.keys[code])]] = True
    for key, value in clause.attributes:
        positions = attributes.positions(key)
        equal = (attributes.texts_at(positions) == value).to_numpy()
        fits[attributes.owner[positions[equal]]] = True
    if clause.not_scopes:
        fits &= ~np.array([name in clause.not_scopes for name in scopes.names], bool)[scopes.codes]
    return fits | clause.always


def _codes(clause: Detect, attributes: Attributes) -> list[int]:
    """Indexes of the keys of the batch that the clause names."""
    found = [attributes.codes[key] for key in clause.keys if key in attributes.codes]
    if clause.key_prefixes:
        found += [code for code, key in enumerate(attributes.keys) if key.startswith(clause.key_prefixes)]
    for pattern in clause.key_patterns:
        found += pl.Series(attributes.keys, dtype=pl.String).str.contains(pattern).arg_true().to_list()
    return found


def signs(dialect: Dialect, scope: str, attributes: Mapping[str, str]) -> list[str]:
    """What of a span of `dialect` gives it away, by the dialect's clauses: `scope <name>` and `attribute <key>`."""
    found: dict[str, None] = {}
    for clause in sorted(dialect.detect, key=lambda c: c.rank):
        if scope in clause.scopes or (clause.scope_prefixes and scope.startswith(clause.scope_prefixes)):
            found[f"scope {scope}"] = None
        for key, value in attributes.items():
            if (
                key in clause.keys
                or (clause.key_prefixes and key.startswith(clause.key_prefixes))
                or (key, value) in clause.attributes
                or any(re.search(pattern, key) for pattern in clause.key_patterns)
            ):
                found[f"attribute {key}"] = None
    return list(found)
