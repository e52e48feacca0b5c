"""Control databases for tests: a migrated one on SQLite, or on a server that all tests share."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from cli.local.postgres import Postgres
from services.control.database import open_database
from services.control.migrate import migrate

NOW = 1_800_000_000_000_000_000
_numbers = itertools.count()


@contextmanager
def outside() -> Iterator[Path]:
    """A folder that is not below pytest's own: each pytest that starts bars that to the account of Postgres."""
    with tempfile.TemporaryDirectory(prefix="spanmill-postgres-") as folder:
        yield Path(folder)


@contextmanager
def on_sqlite(folder: Path, timeout_s: float = 0.1) -> Iterator[sa.Engine]:
    engine = open_database(f"sqlite:///{folder}/control.db", timeout_s=timeout_s)
    try:
        migrate(engine, NOW)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def on_postgres(server: Postgres) -> Iterator[sa.Engine]:
    """A copy of the server's own database, which is migrated once: that takes a tenth of the migrations' time."""
    name = f"copy_{next(_numbers)}"
    with _administering(server) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE spanmill")
    engine = open_database(f"{server.url.rsplit('/', 1)[0]}/{name}")
    try:
        yield engine
    finally:
        engine.dispose()
        with _administering(server) as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _administering(server: Postgres) -> Iterator[sa.Connection]:
    admin = sa.create_engine(f"{server.url.rsplit('/', 1)[0]}/postgres", isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            yield connection
    finally:
        admin.dispose()
