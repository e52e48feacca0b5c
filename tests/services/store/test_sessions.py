from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.store.protocol import Call, StoreError, parse_call
from services.store.sessions import Sessions

CALL = replace(parse_call("POST", b"", {}), session_id="s", session_timeout=60.0)


class FakeAnswer:
    body = b""


class FakeConnection:
    """Counts what is open; the engine itself runs in test_server.py."""

    opened: list["FakeConnection"] = []

    def __init__(self) -> None:
        self.closed = False
        self.opened.append(self)

    def close(self) -> None:
        self.closed = True

    def prepare(self, call: Call) -> None: ...

    def set(self, settings: dict[str, str]) -> None: ...

    def use(self, database: str) -> None: ...

    def query(self, sql: str, format_name: str) -> FakeAnswer:
        return FakeAnswer()


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def sessions(now: list[float]) -> Iterator[Sessions]:
    FakeConnection.opened = []
    kept = Sessions(FakeConnection, lambda: now[0])  # pyright: ignore[reportArgumentType]
    yield kept
    kept.close()
    assert all(connection.closed for connection in FakeConnection.opened)


def _use(sessions: Sessions, call: Call, sql: bytes) -> object:
    with sessions.lend(call, sql) as connection:
        return connection


def test_a_session_without_state_keeps_no_connection(sessions: Sessions):
    assert _use(sessions, CALL, b"SELECT 1") is not _use(sessions, CALL, b"SELECT 1")
    assert all(connection.closed for connection in FakeConnection.opened)


def test_a_session_with_state_keeps_its_connection_until_it_ends(sessions: Sessions, now: list[float]):
    kept = _use(sessions, CALL, b"SET max_threads = 1")
    now[0] = 59.0
    assert _use(sessions, CALL, b"SELECT 1") is kept
    now[0] = 118.0
    assert _use(sessions, CALL, b"SELECT 1") is kept
    now[0] = 179.0
    assert _use(sessions, CALL, b"SELECT 1") is not kept


def test_sessions_do_not_see_each_other(sessions: Sessions):
    assert _use(sessions, CALL, b"USE a") is not _use(sessions, replace(CALL, session_id="t"), b"USE b")


def test_a_session_that_must_exist_and_does_not_is_refused(sessions: Sessions):
    with pytest.raises(StoreError) as refusal:
        _use(sessions, replace(CALL, session_must_exist=True), b"SELECT 1")
    assert refusal.value.code == 372


def test_a_session_in_use_is_refused(sessions: Sessions):
    with sessions.lend(CALL, b"SET a = 1"), pytest.raises(StoreError) as refusal:
        _use(sessions, CALL, b"SELECT 1")
    assert refusal.value.code == 373


@pytest.mark.parametrize("call", [replace(CALL, settings={"readonly": "1"}), replace(CALL, read_only=True)])
def test_a_session_with_state_cannot_be_made_read_only(sessions: Sessions, call: Call):
    _use(sessions, CALL, b"SET a = 1")
    with pytest.raises(StoreError) as refusal:
        _use(sessions, call, b"DROP TABLE t")
    assert refusal.value.code == 164


def test_too_many_sessions_with_state_are_turned_away(sessions: Sessions):
    for number in range(64):
        _use(sessions, replace(CALL, session_id=str(number)), b"SET a = 1")
    with pytest.raises(StoreError) as refusal:
        _use(sessions, CALL, b"SET a = 1")
    assert refusal.value.code == 202
