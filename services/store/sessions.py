"""HTTP sessions: what SET, USE and temporary tables leave behind lives on one kept connection.

Most clients name a session in every request and never give it state, so a connection is kept only from the
first statement that does. Settings in a URL hold for that request alone.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from services.store.engine import Connection, quote
from services.store.protocol import Call, StoreError
from services.store.statements import first_word

_MOST_SESSIONS = 64
_PATIENCE_S = 1.0


@dataclass
class _Session:
    connection: Connection
    ends: float = 0.0  # monotonic seconds
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """Lends connections. Safe to call from several threads; sessions end after their time-out."""

    def __init__(self, connect: Callable[[], Connection], clock: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._clock = clock
        self._kept: dict[str, _Session] = {}
        self._guard = threading.Lock()

    @contextmanager
    def lend(self, call: Call, statement: bytes) -> Iterator[Connection]:
        """A connection prepared for the call: the session's own when it has state, else a new one.

        Raises StoreError: 372 (session_check on a session that is not there), 373 (in use), and what `prepare`
        raises.
        """
        session = self._session(call, statement)
        if session is None:
            connection = self._connect()
            try:
                connection.prepare(call)
                yield connection
            finally:
                connection.close()
            return
        # The client may have its last answer a moment before the session is free again.
        if not session.lock.acquire(timeout=_PATIENCE_S):
            raise StoreError(373, "SESSION_IS_LOCKED", f"session {call.session_id!r} runs another query")
        try:
            with _for_one_call(session.connection, call, first_word(statement)):
                yield session.connection
        finally:
            session.ends = self._clock() + call.session_timeout
            session.lock.release()

    def _session(self, call: Call, statement: bytes) -> _Session | None:
        if not call.session_id:
            return None
        with self._guard:
            self._end_old()
            session = self._kept.get(call.session_id)
            if session is None and _leaves_state(statement):
                if len(self._kept) >= _MOST_SESSIONS:
                    raise StoreError(202, "TOO_MANY_SIMULTANEOUS_QUERIES", "too many sessions with state")
                session = self._kept[call.session_id] = _Session(self._connect())
            if session is None and call.session_must_exist:
                raise StoreError(372, "SESSION_NOT_FOUND", f"session {call.session_id!r} not found")
            if session is not None:
                session.ends = self._clock() + call.session_timeout
            return session

    def _end_old(self) -> None:
        now = self._clock()
        for name, session in list(self._kept.items()):
            if session.ends < now and not session.lock.locked():
                session.connection.close()
                del self._kept[name]

    def close(self) -> None:
        with self._guard:
            for session in self._kept.values():
                session.connection.close()
            self._kept.clear()


def _leaves_state(statement: bytes) -> bool:
    return first_word(statement) in (b"SET", b"USE") or b"TEMPORARY" in statement[:1000].upper()


_READS = (b"SELECT", b"WITH", b"FROM", b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN")


@contextmanager
def _for_one_call(connection: Connection, call: Call, keyword: bytes) -> Iterator[None]:
    """The call's own settings and database, taken back after it.

    A `readonly` could not be taken back: a session with state cannot be used with it.
    """
    if call.settings.get("readonly", "0") != "0" or (call.read_only and keyword not in _READS):
        raise StoreError(164, "READONLY", "a session with state takes changes by POST and without `readonly` only")
    if keyword in (b"SET", b"USE"):
        yield
        return
    names = ", ".join(map(quote, [*call.settings, "log_comment"]))
    before = connection.query(f"SELECT name, value FROM system.settings WHERE name IN ({names})", "TSVRaw")
    database = connection.query("SELECT currentDatabase()", "TSVRaw")
    connection.prepare(replace(call, read_only=False))
    try:
        yield
    finally:
        rows = bytes(before.body).decode().splitlines()
        connection.set(dict(row.split("\t", 1) for row in rows))
        connection.use(bytes(database.body).decode().strip())
