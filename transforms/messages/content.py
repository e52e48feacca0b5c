"""Content addressing: distinct messages, redacted, hashed per organisation, and bounded in size.

The hash is BLAKE2b-128 over the organisation and the canonical JSON of the whole message, so that one
organisation cannot tell what another one stored, and a message that was cut keeps the hash of what was said.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson
import polars as pl

from transforms.messages.json_text import dump
from transforms.messages.message import Message
from transforms.redact import redact_text


class Distinct:
    """The distinct messages of one batch: each gets a number, its canonical JSON is made once."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.roles: list[str] = []
        self.empty: set[int] = set()  # those without any part
        self._numbers: dict[bytes, int] = {}

    def add(self, message: Message) -> int:
        """The number of `message`. Raises NotJson when it cannot be written."""
        body = dump(message)
        number = self._numbers.setdefault(body, len(self.bodies))
        if number == len(self.bodies):
            self.bodies.append(body)
            self.roles.append(message["role"])
            if not message["parts"]:
                self.empty.add(number)
        return number


_ADDRESSED = {"hash": pl.String, "role": pl.String, "body": pl.String, "bytes": pl.Int64, "cut": pl.Boolean}


def address(wanted: pl.DataFrame, distinct: Distinct, message_bytes: int) -> pl.DataFrame:
    """Hashes and bodies of messages.

    wanted: distinct rows (org str, redact bool, number i64, as `distinct` counts).
    Result: `wanted` with hash, role, body (str) and bytes (i64, of the whole), cut (bool).
    """
    redacted = _redact(distinct.bodies, wanted.filter("redact")["number"].unique().to_list())
    seeds = {org: _seed(org) for org in wanted["org"].unique().to_list()}
    said = [
        redacted.get(number, (distinct.roles[number], distinct.bodies[number]))
        if redact
        else (distinct.roles[number], distinct.bodies[number])
        for redact, number in zip(wanted["redact"], wanted["number"], strict=True)
    ]
    rows = [_row(seeds[org], *item, message_bytes) for org, item in zip(wanted["org"], said, strict=True)]
    columns = zip(*rows, strict=True) if rows else ([] for _ in _ADDRESSED)
    added = [
        pl.Series(name, column, dtype=kind) for (name, kind), column in zip(_ADDRESSED.items(), columns, strict=True)
    ]
    return wanted.with_columns(added)


def _seed(org: str) -> Any:
    name = org.encode()
    return hashlib.blake2b(len(name).to_bytes(4, "big") + name, digest_size=16)


def _row(seed: Any, role: str, body: bytes, message_bytes: int) -> tuple[str, str, str, int, bool]:
    hasher = seed.copy()
    hasher.update(body)
    cut = len(body) > message_bytes
    kept = _cut(body, message_bytes) if cut else body
    return hasher.hexdigest(), role, kept.decode(), len(body), cut


def _redact(bodies: list[bytes], numbers: list[int]) -> dict[int, tuple[str, bytes]]:
    """Role and body of the messages that redaction changes, by number.

    Redaction sees each text as it was said, never its JSON escapes: `\\n4111...` would hide a card number.
    """
    messages = {number: orjson.loads(bodies[number]) for number in numbers}
    texts = list(dict.fromkeys(text for message in messages.values() for text in _texts(message)))
    before = pl.Series("text", texts, dtype=pl.String)
    after = redact_text(before, pl.repeat(True, len(texts), dtype=pl.Boolean, eager=True))
    changed = {old: new for old, new in zip(texts, after.to_list(), strict=True) if old != new}
    if not changed:
        return {}
    redacted = {number: _replace(message, changed) for number, message in messages.items()}
    return {number: (message["role"], dump(message)) for number, message in redacted.items()}


def _texts(value: Any) -> Iterable[str]:
    """Every text in `value`: strings, the names of fields, and numbers long enough to identify somebody."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif _is_long(value):
        yield str(value)


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
