"""The code of a job: its digest, and a copy of it below its digest, so that a revision can be started again later."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cli.exits import Exit, Failure

ROOT = Path(__file__).parents[2]
_PARTS = ("schemas", "transforms", "pipelines", "jobs", "flink-conf")


def digest(root: Path = ROOT) -> str:
    """SHA-256, 64 hex digits, over path and content of each file that a job is made of."""
    found = hashlib.sha256()
    for file in _files(root):
        content = file.read_bytes()
        found.update(f"{file.relative_to(root)}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()


def store(folder: str, root: Path = ROOT) -> Path:
    """Copies the code to `folder`/<digest> unless it is there; that path.

    folder: a file:// URI that this machine and the TaskManagers see alike. Raises Failure for another scheme.
    """
    wanted = digest(root)
    kept = stored(folder, wanted)
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=kept.parent, prefix=".part-"))
        part.chmod(0o755)
        for file in _files(root):
            to = part / file.relative_to(root)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)
        part.rename(kept)
    return kept


def stored(folder: str, code: str) -> Path:
    """Where the code of digest `code` lies. Raises Failure unless `folder` is a file:// URI."""
    address = urlsplit(folder)
    if address.scheme != "file":
        what = f"the code folder {folder} is not a file:// URI, which this machine and the TaskManagers could share"
        raise Failure(what, "spanmill context set --code file:///shared/folder", Exit.REFUSED)
    return Path(unquote(address.path)) / code


def _files(root: Path) -> Iterator[Path]:
    for part in _PARTS:
        for file in sorted((root / part).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file
