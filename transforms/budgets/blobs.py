"""How a segment of state lies in bytes: one byte of version, then JSON, whose integers have 64 bits."""

from typing import Any

import orjson

from transforms.folds.segments import UnknownSchemaVersion

SCHEMA_VERSION = 1
_MARK = bytes([SCHEMA_VERSION])


def pack(value: Any) -> bytes:
    return _MARK + orjson.dumps(value)


def unpack(data: bytes) -> Any:
    """What `pack` was given. Raises UnknownSchemaVersion."""
    return orjson.loads(unmark(data))


def mark(body: bytes) -> bytes:
    """`body`, which is no JSON, behind the version."""
    return _MARK + body


def unmark(data: bytes) -> bytes:
    """What follows the version. Raises UnknownSchemaVersion."""
    if data[:1] != _MARK:
        raise UnknownSchemaVersion(f"state has schema version {data[0]}, this code reads {SCHEMA_VERSION}")
    return data[1:]
