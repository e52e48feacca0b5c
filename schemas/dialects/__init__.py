"""The dialects: how each library spells the facts of a call, one TOML file per dialect beside this one.

A file says how a span of the dialect is recognised (`detect`), where each normalised field is found (`fields`: an
ordered list of sources, the first that holds a value wins), which words it uses (`maps`) and how its counts are
to be read (`usage`). `extends` names dialects whose sources are tried after its own, `prefers` those whose sources
are tried before; a field in `replaces` takes nothing from them. Adding a dialect is adding a file.

A source is the name of an attribute, or a table:
  key | pattern | event | event_prefix | span   where: attribute, attribute by regular expression, span event (its
                          time), span event by prefix, or column of the span (name, scope, scope_version)
  unless                  with a pattern: attributes that fit this expression are not meant
  path, format            inside a JSON value (format json) or a Python literal (python); `*` in a path is the first
                          element that has the rest
  extract                 regular expression whose first group is the value
  map                     words to words: a table of `maps`, or span_kinds, operation_kinds of the vocabulary
  match                   regular expressions to words: a table of `maps`, the first that is found in the value
  unit                    of a time: s, ms, ns, or iso (an absolute time)
  kind                    of a first-token time: first_chunk, first_content, server
  if_key, if_scope (prefix), if_name (expression), if_provider, if_kind
                          the source is read only for spans for which this holds
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from schemas.vocabulary import COUNTS

TEXT_FIELDS = (
    "operation",
    "kind",
    "provider",
    "request_model",
    "response_model",
    "response_id",
    "session_id",
    "user_id",
    "prompt_name",
    "prompt_version",
    "service_tier",
    "error_type",
    "error_message",
    "cost",
)
LIST_FIELDS = ("tags", "finish_reasons")
BOOL_FIELDS = ("streaming", "batch")
OTHER_FIELDS = ("usage", "ttft")
FIELDS = (*TEXT_FIELDS, *LIST_FIELDS, *BOOL_FIELDS, *OTHER_FIELDS, *COUNTS)

_TABLES = ("name", "title", "sources", "extends", "prefers", "replaces", "detect", "fields", "maps", "usage")
_WHERE = ("key", "pattern", "event", "event_prefix", "span")
_FORMATS = ("json", "python")
_UNITS = ("s", "ms", "ns", "iso")
_TTFT_KINDS = ("first_chunk", "first_content", "server")
_COLUMNS = ("name", "scope", "scope_version")
_SHARED_MAPS = ("span_kinds", "operation_kinds")


class DialectError(ValueError):
    """A dialect's file that does not hold: the message names the file and the key."""


@dataclass(frozen=True)
class Source:
    """Where one field may be found; see the module for the meaning of each part."""

    key: str = ""
    pattern: str = ""
    unless: str = ""
    event: str = ""
    event_prefix: str = ""
    span: str = ""
    path: tuple[str, ...] = ()
    format: str = ""
    extract: str = ""
    map: str = ""
    match: str = ""
    unit: str = ""
    kind: str = ""
    if_key: str = ""
    if_scope: str = ""
    if_name: str = ""
    if_provider: tuple[str, ...] = ()
    if_kind: tuple[str, ...] = ()

    def origin(self, key: str) -> str:
        """What a value is said to be read from (transforms.normalise.origins); `key` is the attribute found."""
        if self.event or self.event_prefix:
            return f"event:{self.event or self.event_prefix + '*'}"
        if self.span:
            return f"span:{self.span}"
        return ":".join(part for part in (key, ".".join(self.path)) if part)


@dataclass(frozen=True)
class Detect:
    """One way to recognise a span; any entry suffices. Clauses of all dialects are tried by rank, lowest first."""

    rank: int
    scopes: tuple[str, ...] = ()
    scope_prefixes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    key_prefixes: tuple[str, ...] = ()
    key_patterns: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    not_scopes: tuple[str, ...] = ()
    always: bool = False


@dataclass(frozen=True)
class UsageRules:
    """How the counts are to be read where nothing on the span says it.

    exclusive: input holds neither cache reads nor writes, for every call.
    exclusive_providers, exclusive_models: the same, for calls to these providers or models (part of the name).
    inclusive_if_key: not for spans with one of these attributes.
    reasoning_twice: output holds reasoning twice; not for calls to reasoning_once_providers.
    authoritative: written by the provider's own SDK: believed where other layers' counts of the same call differ.
    """

    exclusive: bool = False
    exclusive_providers: tuple[str, ...] = ()
    exclusive_models: tuple[str, ...] = ()
    inclusive_if_key: tuple[str, ...] = ()
    reasoning_twice: bool = False
    reasoning_once_providers: tuple[str, ...] = ()
    authoritative: bool = False


@dataclass(frozen=True)
class Dialect:
    """One dialect, with the sources of the dialects that it extends already appended."""

    name: str
    title: str
    detect: tuple[Detect, ...]
    sources: Mapping[str, tuple[Source, ...]]
    maps: Mapping[str, Mapping[str, str]]
    usage: UsageRules = field(default_factory=UsageRules)


def _fail(file: str, where: str, why: str) -> DialectError:
    return DialectError(f"{file}: {where}: {why}")


def _build(kind: type, file: str, where: str, table: Any) -> Any:
    """A frozen dataclass of `kind` from a TOML table. Raises DialectError for an unknown key or a wrong type."""
    if not isinstance(table, dict):
        raise _fail(file, where, "must be a table")
    known = {f.name: f for f in fields(kind)}
    built = {}
    for name, value in table.items():
        if name not in known:
            raise _fail(file, f"{where}.{name}", "unknown key")
        built[name] = _value(file, f"{where}.{name}", known[name].type, value)
    missing = [name for name, f in known.items() if f.default is MISSING and name not in built]
    if missing:
        raise _fail(file, f"{where}.{missing[0]}", "is missing")
    return kind(**built)


def _value(file: str, where: str, wanted: Any, value: Any) -> Any:
    """`value` as the type of the dataclass field; a lone text stands for a tuple of one. Raises DialectError."""
    if wanted in (str, bool, int):
        if type(value) is not wanted:
            raise _fail(file, where, f"must be {wanted.__name__}, not {value!r}")
        return value
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return tuple(sorted(value.items()))
    if isinstance(value, str):
        return tuple(value.split(".")) if where.endswith(".path") else (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _fail(file, where, f"must be text or a list of texts, not {value!r}")
    return tuple(value)


def _source(file: str, where: str, value: Any, maps: Mapping[str, Any]) -> Source:
    source = Source(key=value) if isinstance(value, str) else _build(Source, file, where, value)
    if sum(bool(getattr(source, place)) for place in _WHERE) != 1:
        raise _fail(file, where, f"needs exactly one of {', '.join(_WHERE)}")
    choices = (("format", _FORMATS), ("unit", _UNITS), ("kind", _TTFT_KINDS), ("span", _COLUMNS))
    for name, allowed in choices:
        if getattr(source, name) and getattr(source, name) not in allowed:
            raise _fail(file, f"{where}.{name}", f"must be one of {', '.join(allowed)}")
    for name in ("map", "match"):
        if getattr(source, name) and getattr(source, name) not in (*maps, *_SHARED_MAPS):
            raise _fail(file, f"{where}.{name}", f"no table maps.{getattr(source, name)}")
    for expression in maps.get(source.match, ()):
        _check_pattern(file, f"maps.{source.match}", expression)
    for name in ("pattern", "unless", "extract", "if_name"):
        _check_pattern(file, f"{where}.{name}", getattr(source, name))
    return source


def _check_pattern(file: str, where: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise _fail(file, where, f"bad expression: {error}") from error


def read_dialect(path: Path, others: Mapping[str, Path]) -> Dialect:
    """The dialect in the file `path`; `others` are the files of the dialects that it may extend, by name.

    Raises DialectError, naming the file and the key, for a table that does not hold.
    """
    file = path.name
    try:
        table = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise _fail(file, "file", str(error)) from error
    unknown = set(table) - set(_TABLES)
    if unknown:
        raise _fail(file, min(unknown), "unknown key")
    if table.get("name") != path.stem:
        raise _fail(file, "name", f"must be {path.stem}")
    others = {name: other for name, other in others.items() if name != path.stem}  # no dialect extends itself
    before, after = (_bases(file, table, key, others) for key in ("prefers", "extends"))
    maps = _maps(file, table.get("maps", {}), (*before, *after))
    return Dialect(
        name=table["name"],
        title=table.get("title", table["name"]),
        detect=tuple(_build(Detect, file, f"detect[{i}]", clause) for i, clause in enumerate(table.get("detect", ()))),
        sources=_merged(file, table, before, after, maps),
        maps=maps,
        usage=_build(UsageRules, file, "usage", table.get("usage", {})),
    )


def _bases(file: str, table: dict, key: str, others: Mapping[str, Path]) -> list[Dialect]:
    unknown = [base for base in table.get(key, ()) if base not in others]
    if unknown:
        raise _fail(file, key, f"no dialect {unknown[0]}")
    return [read_dialect(others[base], others) for base in table.get(key, ())]


def _maps(file: str, own: Mapping[str, Any], bases: Sequence[Dialect]) -> dict[str, Mapping[str, str]]:
    """Its own tables and those of the bases, whose sources mean their own: a name stands for one table only."""
    maps = {name: words for base in bases for name, words in base.maps.items()}
    for name, words in own.items():
        if name in maps:
            raise _fail(file, f"maps.{name}", "is a table of a dialect that it extends")
        if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
            raise _fail(file, f"maps.{name}", "must map words to words")
        maps[name] = words
    return maps


def _merged(
    file: str, table: dict, before: list[Dialect], after: list[Dialect], maps: Mapping[str, Any]
) -> dict[str, tuple[Source, ...]]:
    """The sources of the preferred dialects, its own, those of the extended ones; each once."""
    own = table.get("fields", {})
    for name in (*own, *table.get("replaces", ())):
        if name not in FIELDS:
            raise _fail(file, f"fields.{name}", "unknown field")
    merged = {}
    for name in FIELDS:
        sources = [_source(file, f"fields.{name}[{i}]", value, maps) for i, value in enumerate(own.get(name, ()))]
        if name not in table.get("replaces", ()):
            first, last = ([s for base in bases for s in base.sources.get(name, ())] for bases in (before, after))
            sources = first + sources + last
        if sources:
            merged[name] = tuple(dict.fromkeys(sources))
    return merged


def read_dialects(folder: Path) -> tuple[Dialect, ...]:
    """Every dialect in `folder`, ordered by name. Raises DialectError when two clauses share a rank."""
    files = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    dialects = tuple(read_dialect(path, files) for path in files.values())
    ranks: dict[int, str] = {}
    for dialect in dialects:
        for clause in dialect.detect:
            if clause.rank in ranks:
                raise _fail(f"{dialect.name}.toml", "detect.rank", f"{clause.rank} is taken by {ranks[clause.rank]}")
            ranks[clause.rank] = dialect.name
    return dialects


@cache
def dialects() -> tuple[Dialect, ...]:
    """The project's dialects, read once."""
    return read_dialects(Path(__file__).parent)
