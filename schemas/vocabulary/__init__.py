"""The words that all dialects are translated into: operations, kinds, providers, finish reasons, usage shapes.

Data is in the TOML files beside this one; here it is loaded and checked once, into frozen tables.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

KINDS = (
    "llm",
    "embedding",
    "rerank",
    "tool",
    "retrieval",
    "agent",
    "chain",
    "guardrail",
    "evaluator",
    "other",
)
COUNTS = (
    "input",
    "output",
    "total",
    "cache_read",
    "cache_write",
    "cache_write_5m",
    "cache_write_1h",
    "reasoning",
    "audio_input",
    "audio_output",
    "uncached",
)


class VocabularyError(ValueError):
    """A table of the vocabulary that does not hold: the message names the file and the key."""


@dataclass(frozen=True)
class UsageShape:
    """One way to write the usage of one call as a JSON object; `counts` maps a count to paths in it."""

    name: str
    requires: tuple[str, ...]
    any: tuple[str, ...]
    without: tuple[str, ...]
    input_inclusive: bool
    output_inclusive: bool
    counts: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]


@dataclass(frozen=True)
class Vocabulary:
    """operation_kinds: operation -> kind; operation_aliases: spelling -> operation; span_kinds: word -> kind;
    operations_of_kinds: kind -> operation; providers: spelling -> provider; frameworks: names that are no
    provider; model_prefixes: (start of a model's name, provider), longest first; finish_reasons: spelling ->
    reason. All spellings are in lower case."""

    operation_kinds: Mapping[str, str]
    operation_aliases: Mapping[str, str]
    span_kinds: Mapping[str, str]
    operations_of_kinds: Mapping[str, str]
    providers: Mapping[str, str]
    frameworks: frozenset[str]
    model_prefixes: tuple[tuple[str, str], ...]
    finish_reasons: Mapping[str, str]
    shapes: tuple[UsageShape, ...]


def _paths(spellings: list[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(path.split(".")) for path in spellings)


def _shape(file: str, table: dict) -> UsageShape:
    """Raises VocabularyError for an unknown count or a semantics that is neither inclusive nor exclusive."""
    name = table.get("name", "?")
    for side in ("input", "output"):
        if table.get(side) not in ("inclusive", "exclusive"):
            raise VocabularyError(f"{file}: shape {name}: {side} must be inclusive or exclusive")
    unknown = set(table["counts"]) - set(COUNTS)
    if unknown:
        raise VocabularyError(f"{file}: shape {name}: unknown count {min(unknown)}")
    return UsageShape(
        name=name,
        requires=tuple(table["requires"]),
        any=tuple(table.get("any", ())),
        without=tuple(table.get("without", ())),
        input_inclusive=table["input"] == "inclusive",
        output_inclusive=table["output"] == "inclusive",
        counts=tuple((count, _paths(paths)) for count, paths in table["counts"].items()),
    )


def _checked_kinds(file: str, table: str, kinds: Mapping[str, str]) -> Mapping[str, str]:
    for word, kind in kinds.items():
        if kind not in KINDS:
            raise VocabularyError(f"{file}: {table}.{word}: unknown kind {kind}")
    return kinds


def read_vocabulary(folder: Path) -> Vocabulary:
    """The vocabulary in `folder`. Raises VocabularyError (naming file and key) or tomllib.TOMLDecodeError."""
    operations = tomllib.loads((folder / "operations.toml").read_text())
    providers = tomllib.loads((folder / "providers.toml").read_text())
    reasons = tomllib.loads((folder / "finish_reasons.toml").read_text())
    shapes = tomllib.loads((folder / "usage_shapes.toml").read_text())
    kinds = _checked_kinds("operations.toml", "kinds", operations["kinds"])
    for alias, operation in operations["aliases"].items():
        if operation not in kinds:
            raise VocabularyError(f"operations.toml: aliases.{alias}: unknown operation {operation}")
    prefixes = sorted(((start, name) for start, name in providers["models"]["prefixes"]), key=lambda p: -len(p[0]))
    return Vocabulary(
        operation_kinds=kinds,
        operation_aliases={**{name: name for name in kinds}, **operations["aliases"]},
        span_kinds=_checked_kinds("operations.toml", "span_kinds", operations["span_kinds"]),
        operations_of_kinds=operations["operation_of_kind"],
        providers=providers["names"],
        frameworks=frozenset(providers["frameworks"]["names"]),
        model_prefixes=tuple(prefixes),
        finish_reasons={spelling: reason for reason, spellings in reasons.items() for spelling in spellings},
        shapes=tuple(_shape("usage_shapes.toml", table) for table in shapes["shape"]),
    )


@cache
def vocabulary() -> Vocabulary:
    """The project's vocabulary, read once."""
    return read_vocabulary(Path(__file__).parent)
