"""The checkpoints that a local job left in its folder, and what its state depends on."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

# The first four bytes of a checkpoint's `_metadata`; a file torn by a power cut does not begin with them.
_MAGIC = 0x4960672D.to_bytes(4, "big")


class StateMismatch(Exception):
    """The state in the folder was written under settings that it cannot be read with."""


def newest(folder: Path) -> Path | None:
    """The `<job>/chk-<n>` below `folder` that was completed last; None when there is none."""
    return next(iter(_by_age(folder)), None)


def prune(folder: Path, keep: int) -> None:
    """Removes all but the `keep` newest checkpoints: a run that was killed leaves its own behind."""
    kept = _by_age(folder)[:keep]
    for job in folder.glob("*/"):
        for checkpoint in job.glob("chk-*"):
            if checkpoint not in kept:
                shutil.rmtree(checkpoint)
        if not any(job.glob("chk-*")):
            shutil.rmtree(job)


def _by_age(folder: Path) -> list[Path]:
    """The completed checkpoints below `folder`, the newest first."""
    complete = [found for found in folder.glob("*/chk-*/_metadata") if _is_metadata(found)]
    age = {found.parent: (found.stat().st_mtime_ns, _number(found.parent)) for found in complete}
    return sorted(age, key=lambda checkpoint: age[checkpoint], reverse=True)


def _is_metadata(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _MAGIC


def _number(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("chk-"))


def pin(folder: Path, settings: Mapping[str, int]) -> None:
    """Writes down, at the first start, the settings that the state in `folder` is bound to.

    Raises StateMismatch when the folder's state was begun with others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "state.json"
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_text(json.dumps(settings))
        part.replace(path)
    begun = json.loads(path.read_text())
    if begun != dict(settings):
        raise StateMismatch(f"the state in {folder} was begun with {begun}, the settings now say {dict(settings)}")
