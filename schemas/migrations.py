"""Migrations of the store: numbered files of plain SQL, forward only, each safe to run again.

A file `NNNN_name.sql` holds statements that change nothing when they run a second time (CREATE ... IF NOT EXISTS,
CREATE OR REPLACE VIEW, ALTER ... IF NOT EXISTS), because ClickHouse has no transaction around them: one that was
cut half way is run again from its start. Once applied, a file does not change any more; its checksum is kept.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

CLICKHOUSE = Path(__file__).parent / "clickhouse"

_NAME = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
_PIECE = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<quoted>'(?:[^'\\]|\\.)*'|`[^`]*`|\"[^\"]*\")|(?P<end>;)|.", re.DOTALL
)


class MigrationError(Exception):
    """The files, or the files and what was applied, do not fit together."""


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    statements: tuple[str, ...]

    @property
    def checksum(self) -> str:
        """SHA-256 of the statements; comments around them may still change."""
        return hashlib.sha256("\0".join(self.statements).encode()).hexdigest()


@dataclass(frozen=True)
class Applied:
    """A row of the status table."""

    number: int
    name: str
    checksum: str
    status: str  # started | applied


def split_statements(text: str) -> tuple[str, ...]:
    """The statements of a file, without comments; a `;` in a literal ends nothing."""
    statements, current = [], []
    for piece in _PIECE.finditer(text):
        if piece.lastgroup == "end":
            statements.append("".join(current).strip())
            current = []
        elif piece.lastgroup != "comment":
            current.append(piece[0])
    statements.append("".join(current).strip())
    return tuple(statement for statement in statements if statement)


def load(directory: Path) -> list[Migration]:
    """The migrations of a folder in order. Raises MigrationError for a bad name or a number given twice."""
    found: dict[int, Migration] = {}
    for path in sorted(directory.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name} is not named NNNN_name.sql")
        number = int(match["number"])
        if number in found:
            raise MigrationError(f"{path.name} and {number:04}_{found[number].name}.sql have the same number")
        found[number] = Migration(number, match["name"], split_statements(path.read_text(encoding="utf-8")))
    return list(found.values())


def pending(migrations: Iterable[Migration], applied: Mapping[int, Applied]) -> list[Migration]:
    """What is still to run: new migrations and those that were cut half way.

    Raises MigrationError when an applied one was changed, or is not among the files at all.
    """
    known = {migration.number: migration for migration in migrations}
    for number, row in applied.items():
        if number not in known:
            raise MigrationError(f"the store has migration {number:04}_{row.name}, which this version does not know")
        if row.status == "applied" and row.checksum != known[number].checksum:
            raise MigrationError(f"migration {number:04}_{row.name} was changed after it had been applied")
    return [known[n] for n in sorted(known) if n not in applied or applied[n].status != "applied"]
