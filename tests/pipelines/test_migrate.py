import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pipelines.migrate import migrate, plan, sql, status
from pipelines.store import connect, connect_creating
from schemas.migrations import CLICKHOUSE, MigrationError, load
from tests.store_process import StoreProcess, running_store

NOW = 1_767_225_600_000_000_000
LAYOUT = (
    "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
    " AND name != 'schema_migrations' ORDER BY name"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store") / "data") as process:
        yield process


@pytest.fixture
def client(store: StoreProcess) -> Iterator[Client]:
    """A client of an empty database."""
    database = f"d{time.monotonic_ns()}"
    with connect_creating(replace(store.settings, database=database)) as connected:
        yield connected
        connected.command(f"DROP DATABASE {database} SYNC")


class Cut(Exception):
    pass


class CutClient:
    """A client that dies after one statement."""

    def __init__(self, client: Client, last: str) -> None:
        self._client = client
        self._last = last

    def command(self, statement: str):
        done = self._client.command(statement)
        if statement == self._last:
            raise Cut
        return done

    def __getattr__(self, name: str):
        return getattr(self._client, name)


def _layout(client: Client) -> list[tuple[str, str]]:
    rows = client.query(LAYOUT).result_rows
    return [(name, text.replace(str(client.database), "db")) for name, text in rows]


def test_every_migration_runs_on_an_empty_store_and_the_status_shows_it(client: Client):
    assert status(client) == []
    done = migrate(client, CLICKHOUSE, NOW)
    assert [row.number for row in done] == [m.number for m in load(CLICKHOUSE)]
    assert status(client) == done
    assert {row.status for row in done} == {"applied"}


def test_a_second_run_does_nothing(client: Client):
    migrate(client, CLICKHOUSE, NOW)
    before = _layout(client)
    assert migrate(client, CLICKHOUSE, NOW + 1) == []
    assert _layout(client) == before


def test_every_statement_may_run_a_second_time(client: Client):
    migrate(client, CLICKHOUSE, NOW)
    before = _layout(client)
    for migration in load(CLICKHOUSE):
        for statement in migration.statements:
            client.command(statement)
    assert _layout(client) == before


def test_a_run_cut_after_each_statement_goes_on_to_the_same_schema(client: Client, store: StoreProcess):
    migrate(client, CLICKHOUSE, NOW)
    settings = replace(store.settings, database=f"cut{time.monotonic_ns()}")
    with connect_creating(settings) as other:
        for migration in load(CLICKHOUSE):
            for statement in migration.statements:
                with pytest.raises(Cut):
                    migrate(CutClient(other, statement), CLICKHOUSE, NOW)  # pyright: ignore[reportArgumentType]
                assert status(other)[-1].number == migration.number
                assert status(other)[-1].status == "started"
        migrate(other, CLICKHOUSE, NOW)
        assert _layout(other) == _layout(client)
        assert status(other) == status(client)


def test_a_changed_migration_is_refused_and_nothing_runs(client: Client, tmp_path):
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE IF NOT EXISTS a (x Int8) ENGINE = MergeTree ORDER BY x")
    migrate(client, tmp_path, NOW)
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE IF NOT EXISTS b (x Int8) ENGINE = MergeTree ORDER BY x")
    with pytest.raises(MigrationError, match="0001_a was changed"):
        migrate(client, tmp_path, NOW)
    assert [name for name, _ in _layout(client)] == ["a"]


def test_a_failing_statement_stays_marked_as_started(client: Client, tmp_path):
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE IF NOT EXISTS a (x Nonsense) ENGINE = Memory")
    with pytest.raises(DatabaseError, match="Nonsense"):
        migrate(client, tmp_path, NOW)
    assert [row.status for row in status(client)] == ["started"]


def test_a_dry_run_shows_the_statements_and_changes_nothing(client: Client):
    text = sql(plan(client, CLICKHOUSE))
    assert "-- 0001_spans\nCREATE TABLE IF NOT EXISTS spans_data" in text
    assert _layout(client) == []


def test_a_database_that_is_missing_is_created_only_when_asked(store: StoreProcess):
    settings = replace(store.settings, database="missing")
    with pytest.raises(DatabaseError, match="UNKNOWN_DATABASE"):
        connect(settings).command("SELECT 1")
    with connect_creating(settings) as client:
        assert client.command("SELECT currentDatabase()") == "missing"
