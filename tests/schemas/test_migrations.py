import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.migrations import (
    CLICKHOUSE,
    Applied,
    Migration,
    MigrationError,
    load,
    pending,
    split_statements,
)


def _applied(*migrations: Migration, status: str = "applied") -> dict[int, Applied]:
    return {m.number: Applied(m.number, m.name, m.checksum, status) for m in migrations}


ONE = Migration(1, "one", ("CREATE TABLE IF NOT EXISTS a (x Int8) ENGINE = Memory",))
TWO = Migration(2, "two", ("CREATE OR REPLACE VIEW b AS SELECT 1",))


def test_statements_end_at_semicolons_outside_of_literals_and_comments():
    text = "-- one; still a comment\nSELECT ';' AS `a;b`; /* two; */ SELECT 2 -- end;\n;\n"
    assert split_statements(text) == ("SELECT ';' AS `a;b`", "SELECT 2")


@given(st.lists(st.sampled_from(["SELECT 1", "SELECT ';'", "SELECT '--'", 'SELECT 1 AS "a;b"']), max_size=5))
def test_statements_put_together_come_apart_again(statements: list[str]):
    assert split_statements(";\n".join(statements)) == tuple(statements)


def test_the_committed_files_load_in_the_order_of_their_numbers():
    numbers = [m.number for m in load(CLICKHOUSE)]
    assert numbers == sorted(numbers)
    assert len(numbers) == len(list(CLICKHOUSE.glob("*.sql")))


def test_every_committed_statement_may_run_twice():
    safe = re.compile(
        "CREATE TABLE IF NOT EXISTS|CREATE OR REPLACE (VIEW|FUNCTION)|ALTER TABLE \\w+ ADD COLUMN IF NOT EXISTS"
    )
    unsafe = [s for m in load(CLICKHOUSE) for s in m.statements if not safe.match(s)]
    assert unsafe == []


def test_two_files_with_one_number_are_refused(tmp_path: Path):
    (tmp_path / "0001_a.sql").write_text("SELECT 1")
    (tmp_path / "0001_b.sql").write_text("SELECT 2")
    with pytest.raises(MigrationError, match="0001_b.sql and 0001_a.sql have the same number"):
        load(tmp_path)


def test_a_file_with_another_name_is_refused(tmp_path: Path):
    (tmp_path / "later.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="later.sql"):
        load(tmp_path)


def test_what_was_applied_does_not_run_again():
    assert pending([ONE, TWO], _applied(ONE)) == [TWO]


def test_what_was_cut_half_way_runs_again_from_its_start():
    assert pending([ONE, TWO], _applied(ONE, status="started")) == [ONE, TWO]


def test_an_applied_migration_that_was_changed_is_refused():
    changed = Migration(1, "one", ("CREATE TABLE IF NOT EXISTS a (x Int16) ENGINE = Memory",))
    with pytest.raises(MigrationError, match="0001_one was changed after it had been applied"):
        pending([changed], _applied(ONE))


def test_a_store_of_a_newer_version_is_refused():
    with pytest.raises(MigrationError, match="0002_two, which this version does not know"):
        pending([ONE], _applied(ONE, TWO))


def test_a_comment_does_not_change_the_checksum(tmp_path: Path):
    (tmp_path / "0001_one.sql").write_text("-- why\n" + ONE.statements[0] + ";\n")
    assert load(tmp_path) == [ONE]
