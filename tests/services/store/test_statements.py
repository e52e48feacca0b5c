import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.store.statements import (
    Insert,
    NotAnInsert,
    Unfinished,
    names_a_file,
    output_format,
    several,
    split_insert,
    streams,
)

INSERTS = {
    b"INSERT INTO t FORMAT JSONEachRow\n{}": ("INSERT INTO t ", "JSONEachRow", b"{}"),
    b"INSERT INTO t (a, `format`) FORMAT Native\n\x00\xff;": ("INSERT INTO t (a, `format`) ", "Native", b"\x00\xff;"),
    b"insert into t values (1)": ("insert into t ", "Values", b" (1)"),
    b"INSERT INTO t SETTINGS a = 'FORMAT x' FORMAT CSV 1\n": ("INSERT INTO t SETTINGS a = 'FORMAT x' ", "CSV", b"1\n"),
    b"-- FORMAT TSV\n/* VALUES */ INSERT INTO t FORMAT CSV\r\n1": (
        "-- FORMAT TSV\n/* VALUES */ INSERT INTO t ",
        "CSV",
        b"1",
    ),
    b"INSERT INTO FUNCTION null('a String') FORMAT TSV\nx": ("INSERT INTO FUNCTION null('a String') ", "TSV", b"x"),
    b"INSERT INTO t (a)": ("INSERT INTO t (a)", "", b""),
}


@pytest.mark.parametrize("body", INSERTS, ids=lambda body: body.decode("latin-1"))
def test_the_rows_of_an_insert_begin_after_its_format(body: bytes):
    statement, format_name, rows = INSERTS[body]
    found = split_insert(body, complete=True)
    assert (found.into + found.settings, found.format) == (statement, format_name)
    assert body[found.data_start :] == rows


def test_the_settings_of_an_insert_are_a_clause_of_their_own():
    found = split_insert(b"INSERT INTO t (settings) SETTINGS a = 1, b = 'x' VALUES (1)", complete=True)
    assert (found.into, found.settings) == ("INSERT INTO t (settings) ", "SETTINGS a = 1, b = 'x' ")


@pytest.mark.parametrize(
    "body", [b"SELECT 1", b"INSERT INTO t SELECT 1", b"INSERT INTO t WITH 1 AS a SELECT a", b"", b"  -- nothing"]
)
def test_other_statements_carry_no_rows(body: bytes):
    with pytest.raises(NotAnInsert):
        split_insert(body, complete=True)


@given(st.sampled_from(list(INSERTS)), st.data())
def test_a_body_that_comes_in_pieces_is_split_like_the_whole(body: bytes, data: st.DataObject):
    cut = data.draw(st.integers(0, len(body)))
    whole = split_insert(body, complete=True)
    try:
        found: Insert = split_insert(body[:cut], complete=False)
    except Unfinished:
        return
    assert found == whole


@pytest.mark.parametrize(
    ("sql", "format_name"),
    [
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1 FORMAT JSON SETTINGS max_threads = 1;", "JSON"),
        (b"SELECT 'FORMAT JSON'", ""),
        (b"SELECT 1 -- FORMAT JSON", ""),
        (b"SELECT (SELECT 1 FORMAT TSV)", ""),
        (b"SELECT format FROM t", ""),
    ],
)
def test_the_output_format_is_read_from_the_end_of_the_statement(sql: bytes, format_name: str):
    assert output_format(sql) == format_name


def test_a_second_statement_is_noticed_but_not_a_semicolon_in_a_literal():
    assert several(b"SELECT 1; SELECT 2")
    assert not several(b"SELECT ';' ; -- SELECT 2")


def test_only_plain_selects_in_formats_without_head_and_foot_are_streamed():
    assert streams(b"SELECT 1", "Native")
    assert not streams(b"SELECT 1", "JSON")
    assert not streams(b"SHOW TABLES", "TSV")
    assert not streams(b"SELECT a, count() FROM t GROUP BY a WITH TOTALS", "TSV")


def test_files_of_the_server_are_noticed_but_not_columns_of_that_name():
    assert names_a_file(b"SELECT 1 INTO  OUTFILE '/tmp/x'")
    assert names_a_file(b"insert into t from infile '/etc/passwd' format CSV")
    assert not names_a_file(b"SELECT infile, 'FROM INFILE' FROM t")
