"""Which attributes and events hold prompts and completions, per dialect: data, read from the TOML files beside.

A file lists sets; a set is what one library writes for one direction, in the order in which the messages follow.
For a span the sets of its own dialect come first, then those of the other files by `rank`: one that has none of
its own dialect's keys may still carry another's.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Side = Literal["input", "output", "tools"]
SIDES: tuple[Side, ...] = ("input", "output", "tools")


@dataclass(frozen=True)
class Take:
    """Attributes that make messages together.

    key: an exact attribute name (`event name/attribute` for a span event's), or None.
    pattern: else a regular expression for the whole name, with the groups `index` (which message) and `path`
        (which field of it) where the message is spread over attributes.
    fields: else field by exact name: attributes that make one message together.
    beside: further fields of that message that are no content of their own (names, ids) and stay attributes.
    format: the reader, a name in transforms.messages.formats.
    keep: the attribute stays one, as it says more than what is read of it.
    """

    format: str
    key: str | None
    pattern: re.Pattern[str] | None
    fields: dict[str, str]
    beside: dict[str, str]
    keep: bool


@dataclass(frozen=True)
class ContentSet:
    """One side of one library's content: what went in, what came out, or the tools on offer.

    All takes that a span has are read, in order.

    own: only for spans of the table's dialects, as the names are too general to be trusted elsewhere.
    """

    side: Side
    takes: tuple[Take, ...]
    own: bool


@dataclass(frozen=True)
class ContentTable:
    """The sets of one file."""

    rank: int
    dialects: frozenset[str]
    sets: tuple[ContentSet, ...]


@cache
def content_tables() -> tuple[ContentTable, ...]:
    """The tables of all files, by rank. Raises KeyError, ValueError or re.error for a malformed file."""
    folder = files("schemas.content")
    texts = [item.read_text("utf-8") for item in folder.iterdir() if item.name.endswith(".toml")]
    return tuple(sorted((_table(tomllib.loads(text)) for text in texts), key=lambda table: table.rank))


def _table(data: dict[str, Any]) -> ContentTable:
    sets = tuple(
        ContentSet(item["side"], tuple(_take(take) for take in item["take"]), item.get("own", False))
        for item in data["content"]
    )
    if any(item.side not in SIDES for item in sets):
        raise ValueError(f"a side is none of {', '.join(SIDES)}: {data}")
    return ContentTable(data["rank"], frozenset(data["dialects"]), sets)


def _take(data: dict[str, Any]) -> Take:
    pattern = re.compile(data["keys"]) if "keys" in data else None
    keep = data.get("keep", False)
    take = Take(data["format"], data.get("key"), pattern, data.get("fields", {}), data.get("beside", {}), keep)
    if sum((take.key is not None, take.pattern is not None, bool(take.fields))) != 1:
        raise ValueError(f"a take needs exactly one of key, keys and fields: {data}")
    return take
