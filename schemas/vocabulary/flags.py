"""The flags that a span may carry, what each says, and which of them are breaches of an invariant."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Flags:
    """tokens, span: what the flags in `token_flags` and in `flags` say, by name. invariants: from a rule to the flags
    that say that it does not hold."""

    tokens: Mapping[str, str]
    span: Mapping[str, str]
    invariants: Mapping[str, tuple[str, ...]]

    def says(self, flag: str) -> str:
        """What `flag` says; '' when it is not known."""
        return self.tokens.get(flag) or self.span.get(flag, "")


@cache
def flags() -> Flags:
    """The project's flags, read once."""
    table = tomllib.loads((Path(__file__).parent / "flags.toml").read_text())
    invariants = {rule: tuple(names) for rule, names in table["invariants"].items()}
    return Flags(table["tokens"], table["span"], invariants)
