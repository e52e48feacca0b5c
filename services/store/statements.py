"""Just enough of ClickHouse's lexer to tell a statement from the data that follows it in one request body."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Comments, literals and quoted identifiers are one token each, so that a keyword inside them is not seen; `open`
# begins one that does not end in these bytes.
_TOKEN = re.compile(
    rb"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<quoted>'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*")
    |(?P<open>/\*|['`"])
    |(?P<word>[A-Za-z_][A-Za-z_0-9]*)
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_FORMAT_TAIL = re.compile(rb"[ \t\f]*;?[ \t\f]*\r?\n?")
_RUNS_AS_IT_IS = (b"SELECT", b"WITH", b"FROM", b"WATCH", b"EXPLAIN")

# Output formats whose parts can be sent as the engine yields them: no head, no foot, no separator.
STREAMED_FORMATS = {
    "Native",
    "RowBinary",
    "TabSeparated",
    "TSV",
    "TabSeparatedRaw",
    "TSVRaw",
    "CSV",
    "JSONEachRow",
    "JSONLines",
    "NDJSON",
    "JSONCompactEachRow",
}


@dataclass(frozen=True)
class Insert:
    """An INSERT whose rows follow it, taken apart: the table and its columns, SETTINGS, FORMAT, start of the rows."""

    into: str
    settings: str  # with the keyword; '' when there are none
    format: str  # '' when the statement names none
    data_start: int


class NotAnInsert(Exception):
    """The statement carries no rows: it runs as it is."""


class Unfinished(Exception):
    """The statement does not end in these bytes: more of the body is needed to tell."""


@dataclass(frozen=True)
class _Word:
    text: bytes
    start: int
    end: int
    depth: int


def _words(sql: bytes, complete: bool = True) -> Iterator[_Word]:
    """Words outside of literals and comments, and `;`, with the depth of parentheses around them.

    Raises Unfinished at a token that the bytes after `sql` may still change, unless `sql` is complete.
    """
    depth = 0
    for match in _TOKEN.finditer(sql):
        token = match[0]
        if not complete and (match.lastgroup == "open" or match.end() == len(sql)):
            raise Unfinished
        if match.lastgroup == "word" or token == b";":
            yield _Word(token, match.start(), match.end(), depth)
        elif token in (b"(", b"[", b"{"):
            depth += 1
        elif token in (b")", b"]", b"}"):
            depth -= 1


def first_word(sql: bytes) -> bytes:
    """The statement's first keyword in upper case, b'' when it has none."""
    return next((word.text.upper() for word in _words(sql)), b"")


def split_insert(body: bytes, complete: bool) -> Insert:
    """Where the rows of an INSERT begin in `body`; `complete` says that nothing follows `body`.

    Raises NotAnInsert for any other statement (INSERT ... SELECT too), Unfinished when more bytes may change
    the answer.
    """
    words = _words(body, complete)
    first = next(words, None)
    if first is None and not complete:
        raise Unfinished
    if first is None or first.text.upper() != b"INSERT":
        raise NotAnInsert
    settings = None
    for word in words:
        keyword = word.text.upper()
        if word.depth != 0:
            continue
        if keyword in _RUNS_AS_IT_IS:
            raise NotAnInsert
        if keyword == b"SETTINGS":
            settings = word.start
        elif keyword == b"VALUES":
            return _insert(body, settings, word.start, "Values", word.end)
        elif keyword == b"FORMAT":
            name, start = _format(body, next(words, None), complete)
            return _insert(body, settings, word.start, name, start)
        elif keyword == b";":
            return _insert(body, settings, word.start, "", word.end)
    if not complete:
        raise Unfinished
    return _insert(body, settings, len(body), "", len(body))


def _insert(body: bytes, settings: int | None, end: int, format_name: str, data_start: int) -> Insert:
    split = end if settings is None else settings
    return Insert(body[:split].decode(), body[split:end].decode(), format_name, data_start)


def _format(body: bytes, name: _Word | None, complete: bool) -> tuple[str, int]:
    """The format's name and where the rows begin after it."""
    if name is None:
        raise NotAnInsert if complete else Unfinished
    tail = _FORMAT_TAIL.match(body, name.end)
    start = tail.end() if tail else name.end
    if start == len(body) and not complete and not body.endswith(b"\n"):
        raise Unfinished
    return name.text.decode(), start


def output_format(sql: bytes) -> str:
    """The format that the statement's FORMAT clause names, '' when it has none."""
    words = [word for word in _words(sql) if word.depth == 0 and word.text != b";"]
    for at in range(len(words) - 2, -1, -1):
        if words[at].text.upper() == b"FORMAT":
            after = words[at + 2].text.upper() if at + 2 < len(words) else b""
            return words[at + 1].text.decode() if after in (b"", b"SETTINGS") else ""
    return ""


def streams(sql: bytes, format_name: str) -> bool:
    """Whether the answer may be sent while the query runs: a plain SELECT in a format without head and foot."""
    if format_name not in STREAMED_FORMATS or first_word(sql) not in (b"SELECT", b"WITH", b"FROM"):
        return False
    return b"TOTALS" not in {word.text.upper() for word in _words(sql)}


def several(sql: bytes) -> bool:
    """Whether another statement follows the first one's `;`."""
    words = iter(_words(sql))
    ended = any(word.text == b";" and word.depth == 0 for word in words)
    return ended and any(word.text != b";" for word in words)


def names_a_file(sql: bytes) -> bool:
    """Whether the statement reads FROM INFILE or writes INTO OUTFILE."""
    words = [word.text.upper() for word in _words(sql)]
    pairs = set(zip(words, words[1:], strict=False))
    return not pairs.isdisjoint({(b"FROM", b"INFILE"), (b"INTO", b"OUTFILE")})
