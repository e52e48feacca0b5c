"""Migrations of the control database: numbered plain SQL files, each applied once, in order, transactionally.

A file is frozen once applied: its SHA-256 is kept in the table `migrations`, and a changed file is refused.
Files hold statements that SQLite and Postgres both take, separated by `;` at a line's end; `:now` is the time
of the run.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

import sqlalchemy as sa

_metadata = sa.MetaData()
_migrations = sa.Table(
    "migrations",
    _metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("sha256", sa.CHAR(64), nullable=False),
    sa.Column("applied_at", sa.BigInteger, nullable=False),  # UTC ns
)


class MigrationState(StrEnum):
    APPLIED = "applied"
    PENDING = "pending"
    CHANGED = "changed"  # the file is not what was applied


@dataclass(frozen=True)
class Migration:
    name: str
    state: MigrationState
    applied_at: int | None  # UTC ns


class ChangedMigration(Exception):
    """An applied file was edited: write a new migration instead."""


def shipped() -> dict[str, str]:
    """The SQL text of every migration in `schemas/control`, by file name, in order."""
    files = [f for f in (resources.files("schemas") / "control").iterdir() if f.name.endswith(".sql")]
    return {file.name: file.read_text("utf-8") for file in sorted(files, key=lambda file: file.name)}


def status(engine: sa.Engine, files: Mapping[str, str] | None = None) -> list[Migration]:
    """Every migration of `files` (default: the shipped ones) and whether the database has it."""
    texts = shipped() if files is None else files
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("migrations"):
            return [Migration(name, MigrationState.PENDING, None) for name in texts]
        applied = {row.name: row for row in connection.execute(sa.select(_migrations))}
    return [_state(name, text, applied.get(name)) for name, text in texts.items()]


def migrate(engine: sa.Engine, now: int, files: Mapping[str, str] | None = None) -> list[str]:
    """Apply what is pending at `now` (UTC ns) and return its names.

    Raises ChangedMigration before it applies anything.
    """
    texts = shipped() if files is None else files
    if engine.dialect.name == "sqlite":
        _use_write_ahead_log(engine)
    _metadata.create_all(engine)
    known = status(engine, texts)
    changed = [migration.name for migration in known if migration.state is MigrationState.CHANGED]
    if changed:
        raise ChangedMigration(f"changed after it was applied: {', '.join(changed)}")
    pending = [migration.name for migration in known if migration.state is MigrationState.PENDING]
    for name in pending:
        _apply(engine, name, texts[name], now)
    return pending


def _apply(engine: sa.Engine, name: str, text: str, now: int) -> None:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # pysqlite opens a transaction before DML only: a failed file would leave its DDL behind.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        for statement in re.split(r";[ \t]*(?:\n|$)", text):
            if statement.strip():
                query = sa.text(statement)
                connection.execute(query, {"now": now} if ":now" in statement else {})
        connection.execute(sa.insert(_migrations).values(name=name, sha256=_sha256(text), applied_at=now))
        connection.commit()


def _state(name: str, text: str, applied: sa.Row | None) -> Migration:
    if applied is None:
        return Migration(name, MigrationState.PENDING, None)
    same = applied.sha256 == _sha256(text)
    return Migration(name, MigrationState.APPLIED if same else MigrationState.CHANGED, applied.applied_at)


def _use_write_ahead_log(engine: sa.Engine) -> None:
    """Let the gateway read while the command writes; the mode stays with the file."""
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
