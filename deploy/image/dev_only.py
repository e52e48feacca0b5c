"""`python dev_only.py pyproject.toml`: names the installed packages that only developing needs, one a line.

The lock holds everything; an image keeps what spanmill itself asks for, directly or through others.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement

_KEEP = {"spanmill", "pip", "setuptools"}


def needed(roots: Iterable[str]) -> set[str]:
    """The names of the installed packages that `roots`, requirements, come to, themselves among them."""
    asks = {_name(found.metadata["Name"]): found.requires or [] for found in distributions()}
    found: set[tuple[str, str]] = set()
    queue = [(Requirement(root), "") for root in roots]
    while queue:
        wish, extra = queue.pop()
        if wish.marker and not wish.marker.evaluate({"extra": extra}):
            continue
        name = _name(wish.name)
        for asked in ("", *wish.extras):
            if name in asks and (name, asked) not in found:
                found.add((name, asked))
                queue += [(Requirement(below), asked) for below in asks[name]]
    return {name for name, _ in found}


def dev_only(project: Path) -> list[str]:
    """The installed packages that `project`, a pyproject.toml, does not need to run, sorted."""
    roots = tomllib.loads(project.read_text())["project"]["dependencies"]
    installed = {_name(found.metadata["Name"]) for found in distributions()}
    return sorted(installed - needed(roots) - _KEEP)


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    print("\n".join(dev_only(Path(sys.argv[1]))))
