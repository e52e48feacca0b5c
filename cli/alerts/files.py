"""Rules files: YAML or JSON, with `${NAME}` of the environment in their receivers."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cli.exits import Exit, Failure
from transforms.alerts.parse import RuleError, RuleFile, parse_file
from transforms.alerts.receivers import Receiver, as_given

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def read_file(path: Path) -> dict[str, Any]:
    """The file as it stands. Raises Failure when it is neither YAML nor JSON."""
    try:
        found = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise Failure(f"{path} is neither YAML nor JSON: {' '.join(str(error).split())}", code=Exit.REFUSED) from error
    if not isinstance(found, dict):
        raise Failure(f"{path}: must be a mapping with org, receivers, groups", code=Exit.REFUSED)
    return found


def checked(given: Mapping[str, Any], path: Path, kept: Mapping[str, Receiver]) -> RuleFile:
    """The rules and receivers of a file. kept: the receivers as they are, whose secrets stay where a variable is not
    set. Raises Failure that names every fault, and variables without a value."""
    missing: list[str] = []
    receivers = given.get("receivers")
    if isinstance(receivers, list):
        receivers = [_filled(one, kept, missing) for one in receivers]
    if missing:
        raise Failure(
            f"{path}: nothing was changed\n" + "\n".join(missing), "set the variables, or export them", Exit.REFUSED
        )
    try:
        return parse_file({**given, "receivers": receivers})
    except RuleError as error:
        raise Failure(f"{path}: nothing was changed\n{error}", code=Exit.REFUSED) from error


def _filled(one: Any, kept: Mapping[str, Receiver], missing: list[str]) -> Any:
    """A receiver with the values of its variables; as it was, where nothing but a secret that is not set is in it."""
    lacking: list[str] = []
    filled = _values(one, lacking)
    if not lacking:
        return filled
    known = kept.get(str(one.get("name"))) if isinstance(one, dict) else None
    # A changed address needs the secret again: it must not go where it was not given for.
    if known is not None and _without_secret(as_given(known)) == _without_secret(one):
        return as_given(known)
    missing += [f"receivers: {name} is not set, which {_named(one)} takes its secret from" for name in lacking]
    return filled


def _values(part: Any, lacking: list[str]) -> Any:
    if isinstance(part, dict):
        return {key: _values(value, lacking) for key, value in part.items()}
    if not isinstance(part, str):
        return part

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            lacking.append(match[1])
        return os.environ.get(match[1], "")

    return _VARIABLE.sub(value, part)


def _without_secret(one: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in one.items() if key != "chat"}
    if isinstance(one.get("webhook"), dict):
        shown["webhook"] = {key: value for key, value in one["webhook"].items() if key != "secret"}
    return shown | {"chat": "chat" in one}


def _named(one: Any) -> str:
    return str(one.get("name")) if isinstance(one, dict) else "a receiver"
