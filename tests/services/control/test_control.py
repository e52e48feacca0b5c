import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, OperationalError

from services.control.database import Conflict, InvalidName, NotFound, checked_name, open_database
from services.control.keys import Grant, create_key, digest, find_key, list_keys, revoke_key, well_formed
from services.control.migrate import ChangedMigration, MigrationState, migrate, shipped, status
from services.control.organisations import Organisation, create_org, find_org, list_orgs, set_redact
from services.control.tables import metadata
from tests.services.control.engines import NOW


def test_after_migration_the_organisation_local_exists(engine: sa.Engine) -> None:
    assert list_orgs(engine) == [Organisation("local", "Local", False, NOW)]


def test_migrations_apply_once_and_say_when(engine: sa.Engine) -> None:
    assert migrate(engine, NOW + 1) == []
    assert [(m.state, m.applied_at) for m in status(engine)] == [(MigrationState.APPLIED, NOW)] * len(shipped())


def test_a_fresh_database_has_all_migrations_pending(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/fresh.db")
    assert {m.state for m in status(engine)} == {MigrationState.PENDING}
    engine.dispose()


def test_an_edited_migration_is_refused_before_anything_is_applied(engine: sa.Engine) -> None:
    files = {**shipped(), "0001_organisations.sql": "SELECT 1", "9999_more.sql": "CREATE TABLE more (a INT)"}
    with pytest.raises(ChangedMigration, match="0001_organisations"):
        migrate(engine, NOW, files)
    assert [m.state for m in status(engine, files)].count(MigrationState.PENDING) == 1


def test_a_failing_migration_leaves_nothing_of_itself_behind(engine: sa.Engine) -> None:
    files = {**shipped(), "9999_bad.sql": "CREATE TABLE half (a INT);\nCREATE TABLE half (a INT);\n"}
    with pytest.raises(DBAPIError, match="already exists"):
        migrate(engine, NOW, files)
    assert not sa.inspect(engine).has_table("half")
    files["9999_bad.sql"] = "CREATE TABLE half (a INT);\n"
    assert migrate(engine, NOW, files) == ["9999_bad.sql"]


def test_the_declared_tables_are_the_migrated_tables(engine: sa.Engine) -> None:
    live = sa.MetaData()
    live.reflect(engine, only=list(metadata.tables))
    for name, table in metadata.tables.items():
        declared = [(c.name, c.nullable, c.primary_key) for c in table.columns]
        assert [(c.name, c.nullable, c.primary_key) for c in live.tables[name].columns] == declared


def test_the_database_keeps_a_write_ahead_log(tmp_path: Path, sqlite: sa.Engine) -> None:
    with sqlite3.connect(tmp_path / "control.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_creating_the_same_organisation_again_is_a_no_op(engine: sa.Engine) -> None:
    first = create_org(engine, "acme", "Acme", True, NOW)
    assert create_org(engine, "acme", "Acme", True, NOW + 5) == first
    assert find_org(engine, "acme") == first


def test_creating_an_organisation_with_other_content_is_refused(engine: sa.Engine) -> None:
    create_org(engine, "acme", "Acme", True, NOW)
    with pytest.raises(Conflict, match="acme"):
        create_org(engine, "acme", "Acme", False, NOW)
    assert find_org(engine, "acme") == Organisation("acme", "Acme", True, NOW)


def test_redaction_can_be_switched(engine: sa.Engine) -> None:
    create_org(engine, "acme", "Acme", False, NOW)
    assert set_redact(engine, "acme", True).redact
    assert find_org(engine, "acme") == Organisation("acme", "Acme", True, NOW)
    with pytest.raises(NotFound, match="nobody"):
        set_redact(engine, "nobody", True)


@pytest.mark.parametrize("name", ["", "Acme", "-acme", "a" * 64, "ac me", "acme\n", "ä", "a/b"])
def test_a_name_outside_the_pattern_is_refused(engine: sa.Engine, name: str) -> None:
    with pytest.raises(InvalidName):
        create_org(engine, name, "x", False, NOW)


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True))
def test_a_name_of_the_pattern_is_taken(name: str) -> None:
    assert checked_name("organisation", name) == name


def test_a_key_grants_its_organisation_team_and_switch(engine: sa.Engine) -> None:
    create_org(engine, "acme", "Acme", True, NOW)
    key, secret = create_key(engine, "acme", "search", "prod", NOW)
    assert find_key(engine, digest(secret)) == Grant("acme", "search", key.key_id, True)
    assert list_keys(engine, "acme") == [key]
    assert list_keys(engine, "local") == []


def test_a_secret_is_in_no_table(sqlite: sa.Engine, tmp_path: Path) -> None:
    _, secret = create_key(sqlite, "local", "", "laptop", NOW)
    assert well_formed(secret)
    random_part = secret.split("_")[2].encode()
    assert all(random_part not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_revoked_key_grants_nothing_and_keeps_its_first_time(engine: sa.Engine) -> None:
    key, secret = create_key(engine, "local", "", "laptop", NOW)
    assert revoke_key(engine, key.key_id, NOW + 1).revoked_at == NOW + 1
    assert revoke_key(engine, key.key_id, NOW + 2).revoked_at == NOW + 1
    assert find_key(engine, digest(secret)) is None
    with pytest.raises(NotFound):
        revoke_key(engine, "nokey", NOW)


def test_a_key_needs_an_organisation_and_a_valid_team(engine: sa.Engine) -> None:
    with pytest.raises(NotFound, match="nobody"):
        create_key(engine, "nobody", "", "x", NOW)
    with pytest.raises(InvalidName, match="team"):
        create_key(engine, "local", "No Team", "x", NOW)


def test_any_single_wrong_character_breaks_the_checksum(engine: sa.Engine) -> None:
    _, secret = create_key(engine, "local", "", "laptop", NOW)
    for position, character in enumerate(secret):
        wrong = secret[:position] + ("a" if character != "a" else "b") + secret[position + 1 :]
        assert not well_formed(wrong)


def test_a_locked_database_is_an_operational_error_within_its_timeout(sqlite: sa.Engine, tmp_path: Path) -> None:
    blocker = sqlite3.connect(tmp_path / "control.db", isolation_level=None)
    blocker.execute("PRAGMA locking_mode = EXCLUSIVE")
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(OperationalError, match="locked"):
            find_org(sqlite, "local")
    finally:
        blocker.close()
