from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from cli.exits import Failure
from cli.local.postgres import Postgres, binaries
from pipelines.ports import free_port
from services.control.database import open_database
from services.control.migrate import migrate
from tests.services.control.engines import NOW, on_postgres, on_sqlite, outside


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests, its own database migrated; each test takes a copy of that."""
    try:
        binaries()
    except Failure as failure:
        pytest.skip(f"{failure.what}: {failure.hint}")
    with outside() as folder:
        server = Postgres(folder / "postgres", folder / "postgres.log", free_port())
        try:
            server.start()
            server.wait_ready(60)
            engine = open_database(server.url)
            migrate(engine, NOW)
            engine.dispose()
            yield server
        finally:
            server.stop()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    with on_sqlite(tmp_path) as engine:
        yield engine


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    """A migrated control database of the test's own, on each kind of server."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite")
    else:
        with on_postgres(request.getfixturevalue("postgres")) as made:
            yield made
