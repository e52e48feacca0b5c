"""How many tokens the text of messages has in an encoding.

A piece of text that the encoding's pattern cannot split makes the merge slow, and a run of a million blanks overflows
the matcher's stack. So a text is first cut into segments in which no run of blanks, of non-blanks, or of line ends and
slashes is longer than LONGEST_RUN characters: no piece is then longer than LONGEST_PIECE, as every alternative of the
patterns is a character and at most two such runs. A run is cut between a letter or digit and a mark of punctuation
where it has that, since no piece reaches over such a place: the count stays exact. Else it is cut anyway.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl
import tiktoken

from schemas.encodings import Framing, encoding, encodings

LONGEST_RUN = 4_096
LONGEST_PIECE = 2 * LONGEST_RUN + 1

_BLANKS = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's White_Space
_RUNS = (f"[^{_BLANKS}]", f"[{_BLANKS}]", r"[\r\n/]")
_LONG_RUN = re.compile("|".join(f"(?<!{inside}){inside}{{{LONGEST_RUN + 1}}}" for inside in _RUNS))
_LAST_EXACT_CUT = re.compile(r"(?s:.*)[^\W_](?=[!-&(-/:-@\[-`{-~])")
_COUNTS = {"hash": pl.String, "content": pl.Int64, "framing": pl.Int64, "exact": pl.Boolean, "whole": pl.Boolean}


@dataclass(frozen=True, slots=True)
class MessageTokens:
    """content: tokens of what a message says. framing: what it adds to a chat request besides.
    exact: nothing of it is an approximation. whole: nothing of it was left out."""

    content: int
    framing: int
    exact: bool
    whole: bool


class TokenCache:
    """Counts of messages by hash and encoding: at most `entries`, of which the one unused for longest goes first.

    It changes no result. For one thread, and for one setting of the limit that cuts messages.
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._counts: OrderedDict[tuple[str, str], MessageTokens] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def get(self, message: str, encoding_name: str) -> MessageTokens | None:
        key = message, encoding_name
        found = self._counts.get(key)
        if found is not None:
            self._counts.move_to_end(key)
        return found

    def put(self, message: str, encoding_name: str, tokens: MessageTokens) -> None:
        self._counts[message, encoding_name] = tokens
        if len(self._counts) > self._entries:
            self._counts.popitem(last=False)


def count_tokens(bodies: pl.DataFrame, encoding_name: str, cache: TokenCache) -> pl.DataFrame:
    """Tokens of messages: hash, content, framing (Int64), exact, whole (Boolean); see MessageTokens.

    bodies: distinct rows with hash and body (JSON, as in MESSAGES). Tool calls and results are counted as their JSON,
    which is not exact; media and parts of unknown kinds are left out.
    """
    rows = []
    for message, body in bodies.select("hash", "body").iter_rows():
        counts = cache.get(message, encoding_name)
        if counts is None:
            counts = _message_tokens(orjson.loads(body), encoding(encoding_name), encodings().framing)
            cache.put(message, encoding_name, counts)
        rows.append((message, counts.content, counts.framing, counts.exact, counts.whole))
    return pl.DataFrame(rows, schema=_COUNTS, orient="row")


def text_tokens(text: str, encoder: tiktoken.Encoding) -> tuple[int, bool]:
    """Tokens of `text`, special tokens read as plain text; and whether that is what the model's tokeniser says."""
    parts, exact = segments(text)
    # one after the other: on one core faster than the threads of encode_ordinary_batch
    return sum(len(encoder.encode_ordinary(part)) for part in parts), exact


def segments(text: str) -> tuple[list[str], bool]:
    """`text` in parts without a run above LONGEST_RUN; and whether the parts have as many tokens as the whole."""
    parts: list[str] = []
    exact, rest = True, text
    while len(rest) > LONGEST_RUN and (run := _LONG_RUN.search(rest)) is not None:
        found = _LAST_EXACT_CUT.match(rest, run.start(), run.end())
        exact = exact and found is not None
        end = found.end() if found else run.end() - 1
        parts.append(rest[:end])
        rest = rest[end:]
    return [*parts, rest], exact


def _message_tokens(message: Mapping[str, Any], encoder: tiktoken.Encoding, framing: Framing) -> MessageTokens:
    texts, exact, whole = _spoken(message["parts"])
    counts = [text_tokens(text, encoder) for text in texts]
    frame = framing.message + text_tokens(message["role"], encoder)[0]
    if "name" in message:
        frame += framing.name + text_tokens(message["name"], encoder)[0]
    exact = exact and whole and len(texts) < 2 and all(one for _, one in counts)
    return MessageTokens(sum(count for count, _ in counts), frame, exact, whole)


def _spoken(parts: list[Mapping[str, Any]]) -> tuple[list[str], bool, bool]:
    """The texts of the parts of a message, whether they are plain text, and whether they are all that it says."""
    texts: list[str] = []
    plain, whole = True, True
    for part in parts:
        kind, content = part.get("type"), part.get("content")
        if kind in ("text", "reasoning") and isinstance(content, str):
            texts.append(content)
            plain = plain and kind == "text"
        elif kind == "tool_call":
            texts += [_text(part.get("name")), _text(part.get("arguments"))]
            plain = False
        elif kind == "tool_call_response":
            texts.append(_text(part.get("response")))
            plain = False
        else:
            whole = False
    return texts, plain, whole


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
