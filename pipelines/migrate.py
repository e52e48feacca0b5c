"""Runs the store's migrations and keeps their status in its table `schema_migrations`."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from clickhouse_connect.driver.client import Client

from schemas.migrations import Applied, Migration, load, pending

_STATUS_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number UInt32,
    name String,
    checksum String COMMENT 'SHA-256 of the statements',
    applied_at DateTime64(9, 'UTC') COMMENT 'UTC, unit ns',
    status LowCardinality(String) COMMENT 'started|applied'
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY number
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""
_COLUMNS = ["number", "name", "checksum", "applied_at", "status"]


def status(client: Client) -> list[Applied]:
    """What was applied to the client's database, or begun, by number; nothing before the first migration."""
    if not client.command("EXISTS TABLE schema_migrations"):
        return []
    rows = client.query("SELECT number, name, checksum, status FROM schema_migrations FINAL ORDER BY number")
    return [Applied(*row) for row in rows.result_rows]


def plan(client: Client, directory: Path) -> list[Migration]:
    """What `migrate` would run. Raises MigrationError when files and store do not fit together."""
    return pending(load(directory), {row.number: row for row in status(client)})


def migrate(client: Client, directory: Path, now: int) -> list[Applied]:
    """Runs what is pending and returns it; cut at any point, it goes on when it runs again.

    now: UTC ns. Raises MigrationError (nothing was run then), and DatabaseError from a statement.
    """
    todo = plan(client, directory)
    client.command(_STATUS_TABLE)
    return [_run(client, migration, now) for migration in todo]


def _run(client: Client, migration: Migration, now: int) -> Applied:
    _note(client, migration, now, "started")
    for statement in migration.statements:
        client.command(statement)
    return _note(client, migration, now, "applied")


def _note(client: Client, migration: Migration, now: int, state: str) -> Applied:
    row = Applied(migration.number, migration.name, migration.checksum, state)
    at = datetime.fromtimestamp(now / 10**9, UTC)
    client.insert("schema_migrations", [[row.number, row.name, row.checksum, at, state]], column_names=_COLUMNS)
    return row


def sql(migrations: Iterable[Migration]) -> str:
    """The statements of `migrations` as one text, for a dry run."""
    return "\n\n".join(
        f"-- {migration.number:04}_{migration.name}\n" + "\n\n".join(f"{text};" for text in migration.statements)
        for migration in migrations
    )
