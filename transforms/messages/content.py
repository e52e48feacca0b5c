"""Content addressing: distinct messages, redacted, hashed per organisation, and bounded in size.

The hash is BLAKE2b-128 over the organisation and the canonical JSON of the whole message, so that one
organisation cannot tell what another one stored, and a message that was cut keeps the hash of what was said.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from schemas.arrow import MESSAGES
from transforms.messages.json_text import dump
from transforms.messages.message import Message
from transforms.redact.texts import may_be_private, redact_text


class Distinct:
    """The distinct messages of one batch: each gets a number, its canonical JSON is made once."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.roles: list[str] = []
        self._empty: list[bool] = []
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.bodies)

    def add(self, message: Message) -> int:
        """The number of `message`. Raises NotJson when it cannot be written."""
        body = dump(message)
        number = self._numbers.setdefault(body, len(self.bodies))
        if number == len(self.bodies):
            self.bodies.append(body)
            self.roles.append(message["role"])
            self._empty.append(not message["parts"])
        return number

    def empty(self, numbers: np.ndarray) -> np.ndarray:
        """bool[n]: which of `numbers` have no part."""
        return np.array(self._empty, bool)[numbers]


@dataclass(frozen=True)
class Addressed:
    """n messages: hashes (str) and which were cut (bool[n]). bodies: schema MESSAGES, distinct by (org, hash)."""

    hashes: pl.Series
    cut: np.ndarray
    bodies: pa.Table


def address(
    orgs: list[str], redact: np.ndarray, numbers: np.ndarray, distinct: Distinct, message_bytes: int
) -> Addressed:
    """Hashes and bodies of n messages: the org of each, whether it is redacted, its number in `distinct`."""
    roles, bodies = ([column[n] for n in numbers.tolist()] for column in (distinct.roles, distinct.bodies))
    changed = _redact(distinct, np.unique(numbers[redact]).tolist())
    for row in np.flatnonzero(redact & np.isin(numbers, list(changed))).tolist():
        roles[row], bodies[row] = changed[int(numbers[row])]
    seeds = {org: _seed(org) for org in set(orgs)}
    hashes = pl.Series([_digest(seeds[org], body) for org, body in zip(orgs, bodies, strict=True)], dtype=pl.String)
    sizes = np.array([len(body) for body in bodies], np.int64)
    cut = sizes > message_bytes
    for row in np.flatnonzero(cut).tolist():
        bodies[row] = _cut(bodies[row], message_bytes)
    columns = (orgs, hashes.to_arrow(), roles, pa.array(bodies, pa.binary()), sizes)
    table = pa.table(dict(zip(MESSAGES.names, columns, strict=True))).cast(MESSAGES)
    first = hashes.is_first_distinct()  # a hash is of the organisation, too: no two share one
    return Addressed(hashes, cut, table if first.all() else table.filter(first.to_arrow()))


def _seed(org: str) -> Any:
    name = org.encode()
    return hashlib.blake2b(len(name).to_bytes(4, "big") + name, digest_size=16)


def _digest(seed: Any, body: bytes) -> str:
    hasher = seed.copy()
    hasher.update(body)
    return hasher.hexdigest()


def _redact(distinct: Distinct, numbers: list[int]) -> dict[int, tuple[str, bytes]]:
    """Those of the messages `numbers` that redaction changes.

    Redaction sees each text as it was said, never its JSON escapes: `\\n4111...` would hide a card number.
    """
    private = may_be_private(pl.Series([distinct.bodies[n] for n in numbers], dtype=pl.Binary).cast(pl.String))
    messages = {numbers[row]: orjson.loads(distinct.bodies[numbers[row]]) for row in private.arg_true()}
    texts = {number: _texts(message) for number, message in messages.items()}
    before = pl.Series("text", list(dict.fromkeys(chain.from_iterable(texts.values()))), dtype=pl.String)
    after = redact_text(before, pl.repeat(True, len(before), dtype=pl.Boolean, eager=True))
    rows = (before != after).arg_true()
    changed = dict(zip(before.gather(rows), after.gather(rows), strict=True))
    redacted = {
        number: _replace(message, changed)
        for number, message in messages.items()
        if not changed.keys().isdisjoint(texts[number])
    }
    return {number: (message["role"], dump(message)) for number, message in redacted.items()}


def _texts(value: Any) -> list[str]:
    """Every text in `value`: strings, the names of fields, and numbers long enough to identify somebody."""
    found: list[str] = []
    _collect([value], found)
    return found


def _collect(values: Iterable[Any], found: list[str]) -> None:
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            found += value
            _collect(value.values(), found)
        elif isinstance(value, list):
            _collect(value, found)
        elif _is_long(value):
            found.append(str(value))


def _is_long(value: Any) -> bool:
    return type(value) is int and abs(value) >= 10**6


def _replace(value: Any, changed: dict[str, str]) -> Any:
    if isinstance(value, str):
        return changed.get(value, value)
    if isinstance(value, list):
        return [_replace(item, changed) for item in value]
    if isinstance(value, dict):
        return _replace_object(value, changed)
    return changed.get(str(value), value) if _is_long(value) else value


def _replace_object(value: dict[str, Any], changed: dict[str, str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, item in value.items():
        name = changed.get(key, key)
        while name in kept:  # two names that redaction made equal
            name += "_"
        kept[name] = _replace(item, changed)
    return kept


def _cut(body: bytes, limit: int) -> bytes:
    """`body` with its texts shortened to an equal bound until it fits; else one text part with its beginning."""
    message = orjson.loads(body)
    bound = limit
    while bound >= 256:
        cut = dump(_shorten(message, bound))
        if len(cut) <= limit:
            return cut
        bound //= 2
    text = body[: limit // 8].decode(errors="ignore")
    return dump({"role": message["role"][:256], "parts": [{"type": "text", "content": text}]})


def _shorten(value: Any, bound: int) -> Any:
    if isinstance(value, str):
        return value if len(value) * 4 <= bound else value.encode()[:bound].decode(errors="ignore")
    if isinstance(value, list):
        return [_shorten(item, bound) for item in value]
    return {k: _shorten(v, bound) for k, v in value.items()} if isinstance(value, dict) else value
