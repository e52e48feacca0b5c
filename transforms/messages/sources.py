"""Which rows of a batch hold content: the batch's distinct attribute names against the content tables."""

from collections.abc import Iterable
from functools import lru_cache

import polars as pl

from schemas.content import ContentSet, Take, content_tables

FOREIGN = 1_000  # added to the rank of a set that is not of the span's own dialect
LAST = 1_000_000  # added to the preference of rows that alone do not make their set worth reading

MATCHES = {
    "code": pl.Int64,
    "set": pl.Int32,
    "side": pl.String,
    "take": pl.Int32,
    "format": pl.String,
    "index": pl.Int64,
    "path": pl.String,  # NULL when the text is the whole unit
    "main": pl.Boolean,  # whether it alone makes its set worth reading
    "beside": pl.Boolean,  # never taken out of the attributes: names and ids, and what says more than is read of it
}

Match = tuple[int, str, int, str, int, str | None, bool, bool]


def matches(names: Iterable[tuple[int, str]]) -> pl.DataFrame:
    """What each distinct name means, in the columns MATCHES: a row per take that it belongs to.

    Without those of sets of which there are but names and ids, which say nothing.
    """
    rows = [(code, *match) for code, name in names for match in takes_of(name)]
    telling = {number for _, number, *_, main, beside in rows if main or not beside}
    return pl.DataFrame([row for row in rows if row[1] in telling], schema=MATCHES, orient="row")


def ranks(dialects: Iterable[str]) -> pl.DataFrame:
    """dialect str, set i32, rank i64: the sets of the dialect's own table first, then by table and order."""
    sets = [(table, content) for table in content_tables() for content in table.sets]
    rows = [
        (dialect, number, number + (0 if dialect in table.dialects else FOREIGN))
        for dialect in dialects
        for number, (table, content) in enumerate(sets)
        if dialect in table.dialects or not content.own
    ]
    return pl.DataFrame(rows, schema={"dialect": pl.String, "set": pl.Int32, "rank": pl.Int64}, orient="row")


@lru_cache(maxsize=65_536)
def takes_of(name: str) -> tuple[Match, ...]:
    """What `name` means: MATCHES without the code."""
    sets = [content for table in content_tables() for content in table.sets]
    found = [
        _match(number, content, order, name)
        for number, content in enumerate(sets)
        for order in range(len(content.takes))
    ]
    return tuple(match for match in found if match is not None)


def _match(number: int, content: ContentSet, order: int, name: str) -> Match | None:
    take = content.takes[order]
    found = _place(take, name)
    if found is None:
        return None
    index, path = found
    beside = path is not None and name in take.beside
    main = not beside and take.format != "instructions"
    return number, content.side, order, take.format, index, path, main, beside or take.keep


def _place(take: Take, name: str) -> tuple[int, str | None] | None:
    """The message that `name` belongs to and the field of it."""
    if take.key is not None:
        return (0, None) if name == take.key else None
    if take.pattern is None:
        field = take.fields.get(name) or take.beside.get(name)
        return None if field is None else (0, field)
    match = take.pattern.fullmatch(name)
    if match is None:
        return None
    groups = match.groupdict()
    return int(groups.get("index") or 0), groups["path"]
