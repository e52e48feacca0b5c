"""Named clusters: a context says where a cluster's parts are, in one file of the user's.

Which one holds: --context NAME, else SPANMILL_CONTEXT, else what runs on the data folder, else the current one.
"""

import os
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cli.exits import Exit, Failure

# What --context or SPANMILL_CONTEXT said, '' for nothing.
chosen: ContextVar[str] = ContextVar("context", default="")


@dataclass(frozen=True)
class Contexts:
    """What the file holds. current: name, '' for none. places: name -> fields of Running that were given."""

    current: str = ""
    places: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def config_file() -> Path:
    """SPANMILL_CONFIG, else the user's configuration folder."""
    if named := os.environ.get("SPANMILL_CONFIG"):
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "spanmill" / "config.yaml"


def read_contexts() -> Contexts:
    """The contexts of the user's file, none when it is not there. Raises Failure when it cannot be read."""
    file = config_file()
    try:
        read = YAML(typ="safe").load(file) if file.exists() else {}
        return Contexts(read.get("current", ""), read.get("contexts", {}))
    except (OSError, YAMLError, AttributeError) as error:
        raise Failure(f"{file} cannot be read: {error}", "mend it, or move it away", Exit.USAGE) from error


def write_contexts(contexts: Contexts) -> None:
    """Replaces the user's file, which only its owner may read: it can hold passwords."""
    file = config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.touch(0o600)
    with part.open("w") as out:
        YAML().dump({"current": contexts.current, "contexts": {k: dict(v) for k, v in contexts.places.items()}}, out)
    part.replace(file)


def place(name: str) -> Mapping[str, Any]:
    """What the context `name` says. Raises Failure when there is none."""
    places = read_contexts().places
    if name not in places:
        known = ", ".join(sorted(places)) or "none yet"
        raise Failure(f"there is no context {name!r}; there are: {known}", "spanmill context set NAME", Exit.USAGE)
    return places[name]
