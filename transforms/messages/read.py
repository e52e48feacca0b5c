"""From distinct texts to the numbers of their messages: each text is read once, a message in many arrays once, too."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import orjson
import polars as pl

from schemas.limits import Limits
from transforms.messages.content import Distinct
from transforms.messages.formats import FORMATS
from transforms.messages.json_text import Load, NotJson, make_load
from transforms.messages.message import build, message_of
from transforms.messages.parts import text_part
from transforms.messages.tool_definitions import ROLE

Told = tuple[str, str, str]  # format, side, text

_ROLES = {"input": "user", "output": "assistant", "tools": ROLE}
_OPENING = '[{"role":'
_CLOSING = "}]"


@dataclass(frozen=True)
class Read:
    """What n texts say: those of text i are `numbers` from start[i] on, length[i] of them (int64).

    not_json: bool[n], it is one message with the text as it is.
    """

    numbers: np.ndarray
    start: np.ndarray
    length: np.ndarray
    not_json: np.ndarray


def read_texts(texts: list[Told], distinct: Distinct, limits: Limits) -> Read:
    """The messages of each of `texts`, which are distinct. The one loop over content."""
    places: dict[str, int] = {}
    found = [
        [places.setdefault(piece, len(places)) for piece in _pieces(text)] if name == "messages" else []
        for name, _, text in texts
    ]
    known = _read_pieces(list(places), distinct, limits)
    numbers, length = known[_flat(found)], _lengths(found)
    start = np.cumsum(length) - length
    whole = length == 0
    whole[np.repeat(np.arange(length.size), length)[numbers < 0]] = True
    rows = np.flatnonzero(whole)
    others, bad = _read_whole([texts[row] for row in rows], distinct, limits)
    length[rows] = _lengths(others)
    start[rows] = numbers.size + np.cumsum(length[rows]) - length[rows]
    not_json = np.zeros(length.size, bool)
    not_json[rows] = bad
    return Read(np.append(numbers, _flat(others)), start, np.minimum(length, limits.messages_per_span + 1), not_json)


def _flat(lists: list[list[int]]) -> np.ndarray:
    return np.fromiter(chain.from_iterable(lists), np.int64)


def _lengths(lists: list[list[int]]) -> np.ndarray:
    return np.fromiter(map(len, lists), np.int64, len(lists))


def _pieces(text: str) -> list[str]:
    """The messages in the JSON array `text`, each without its `{"role":` and `}`; none when it is written otherwise.

    This is a guess, proved by reading: where every message in it is JSON by itself, the array is the array of them.
    """
    if not (text.startswith(_OPENING) and text.endswith(_CLOSING)):
        return []
    between = '}, {"role":' if text[len(_OPENING)] == " " else '},{"role":'
    return text[len(_OPENING) : -len(_CLOSING)].split(between)


def _read_pieces(pieces: list[str], distinct: Distinct, limits: Limits) -> np.ndarray:
    """The number of each message (int64), -1 where it cannot be read without its array."""
    # the brackets of the array and of the message count, too
    marks = _marks(pl.Series(pieces, dtype=pl.String), limits.nesting - 2)
    hard = marks.select(pl.any_horizontal("exact", "deep")).to_series().to_list()
    load = make_load(limits.nesting, exact=False, deep=False)
    numbers = [
        -1 if aside else _number(f'{{"role":{piece}}}', load, distinct)
        for piece, aside in zip(pieces, hard, strict=True)
    ]
    return np.array(numbers, np.int64)


def _number(text: str, load: Load, distinct: Distinct) -> int:
    try:
        value = orjson.loads(text)
        if value["role"] and isinstance(value.get("parts"), list):
            return distinct.add(message_of(value, "", load))
    except (orjson.JSONDecodeError, NotJson):
        pass
    return -1


def _read_whole(texts: list[Told], distinct: Distinct, limits: Limits) -> tuple[list[list[int]], list[bool]]:
    """For each text: the numbers of its messages, and whether it is no JSON."""
    loads = {
        (exact, deep): make_load(limits.nesting, exact=exact, deep=deep)
        for exact in (False, True)
        for deep in (False, True)
    }
    marks = _marks(pl.Series([text for _, _, text in texts], dtype=pl.String), limits.nesting)
    read = [
        _numbers(name, side, text, loads[mark], distinct, limits)
        for (name, side, text), mark in zip(texts, marks.iter_rows(), strict=True)
    ]
    return [numbers for numbers, _ in read], [bad for _, bad in read]


def _marks(texts: pl.Series, nesting: int) -> pl.DataFrame:
    """What `make_load` has to know of each of `texts`: exact and deep."""
    return pl.DataFrame({"exact": texts.str.contains("[0-9]{19}"), "deep": texts.str.count_matches(r"[\[{]") > nesting})


def _numbers(name: str, side: str, text: str, load: Load, distinct: Distinct, limits: Limits) -> tuple[list[int], bool]:
    """The numbers of the messages in `text`, and whether it is kept as a plain text because it is no JSON."""
    role = "system" if name == "instructions" else _ROLES[side]
    try:
        messages = FORMATS[name](text, load, _ROLES[side])
        return [distinct.add(message) for message in messages[: limits.messages_per_span + 1]], False
    except NotJson:
        return [distinct.add(build(role, text_part(text)))], True
