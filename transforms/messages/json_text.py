"""Reading JSON that a client wrote: exact where a fast parser would lose digits, bounded in depth."""

import json
import math
import re
from collections.abc import Callable
from typing import Any

import orjson

# Reads JSON text; raises NotJson.
Load = Callable[[str], Any]

INT64 = 2**63


class NotJson(ValueError):
    """Text that is cut, malformed or nested too deeply to be read as JSON."""


def make_load(nesting: int, *, exact: bool, deep: bool) -> Load:
    """A reader of JSON text.

    exact: the text may hold numbers that do not fit 64 bits: those come out as the text of their digits.
    deep: the text has more than `nesting` brackets, so that its depth has to be measured.
    """

    def load(text: str) -> Any:
        value, clean = (_load_slow(text), False) if exact else _load_fast(text)
        if deep and not _within(value, nesting):
            raise NotJson(f"nested deeper than {nesting}")
        return value if clean or not _SURROGATE_ESCAPE.search(text) else _without_surrogates(value)

    return load


def _load_fast(text: str) -> tuple[Any, bool]:
    """The value, and whether it is known to hold no lone surrogates."""
    try:
        return orjson.loads(text), True
    except orjson.JSONDecodeError:
        return _load_slow(text), False


def _load_slow(text: str) -> Any:
    """As Python reads it: accepts control characters, NaN, lone surrogates and numbers of any size."""
    try:
        return json.loads(text, strict=False, parse_int=_whole, parse_float=_real, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error


_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def _whole(digits: str) -> int | str:
    if len(digits) > 20:
        return digits
    value = int(digits)
    return value if -INT64 <= value < INT64 else digits


def _real(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else digits


def _without_surrogates(value: Any) -> Any:
    """`value` with U+FFFD for each half of a pair that is alone."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _within(value: Any, nesting: int) -> bool:
    """Whether lists and objects in `value` nest at most `nesting` levels deep."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(nesting):
        if not level:
            return True
        level = [
            item
            for holder in level
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, dict | list)
        ]
    return not level


def load_container(text: str, load: Load) -> Any:
    """The object or list that `text` holds, else None: a scalar or any other text is text, not JSON."""
    if text[:64].lstrip()[:1] not in ("{", "["):
        return None
    try:
        value = load(text)
    except NotJson:
        return None
    return value if isinstance(value, dict | list) else None


def dump(value: Any) -> bytes:
    """Canonical JSON: keys sorted, UTF-8, no blanks. Raises NotJson when it nests beyond the writer's bound."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise NotJson(str(error)) from error
