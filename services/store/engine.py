"""The ClickHouse engine in this process: one data folder, a connection of its own for every statement.

`chdb` runs the statements of one connection one after the other and those of several at the same time. A
connection keeps what SET and USE did to it, and costs a fifth of a millisecond: so every request opens a new
one, and only a session with state of its own keeps one (`sessions.py`).
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import chdb
from chdb import ChdbError

from services.store.protocol import Call, EngineError, Summary
from services.store.statements import Insert


class FolderUnusable(Exception):
    """The data folder cannot be opened: another process has it, or it is not what the engine can read."""


@dataclass(frozen=True)
class Memory:
    """How much memory the engine may take, in bytes."""

    total: int

    def server_settings(self) -> dict[str, int]:
        """Limits of the process; the caches are part of the total."""
        return {
            "max_server_memory_usage": self.total,
            "mark_cache_size": self.total // 8,
            "index_mark_cache_size": self.total // 32,
            "primary_index_cache_size": self.total // 8,
        }

    def statement_settings(self) -> dict[str, int]:
        """Limits of one statement, its answer included: beyond a quarter it sorts and groups on disk, beyond a half
        it fails."""
        return {
            "max_memory_usage": self.total // 2,
            "max_bytes_before_external_sort": self.total // 4,
            "max_bytes_before_external_group_by": self.total // 4,
        }


@dataclass(frozen=True)
class Answer:
    """A whole result: its bytes in the requested format, and what the statement did."""

    result: Any  # keeps the memory of `body` alive
    body: memoryview
    summary: Summary


class Engine:
    """Opens the folder, or raises FolderUnusable. Its methods may be called from several threads."""

    def __init__(self, folder: Path, memory: Memory) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = str(folder.resolve())
        if "?" in self.folder:  # where chdb takes settings to begin
            raise FolderUnusable(f"the path of the data folder may not hold a question mark: {folder}")
        self._memory = memory
        self._lock = _hold(folder)
        options = "&".join(f"{name}={value}" for name, value in memory.server_settings().items())
        # The engine lives as long as one connection is open: this one.
        try:
            self._root = chdb.connect(f"{self.folder}?{options}")
        except RuntimeError as error:
            raise FolderUnusable(f"the engine cannot open {folder}: {error}") from error
        self.version = self._scalar("SELECT version()")
        self.timezone = self._scalar("SELECT timezone()")

    def _scalar(self, sql: str) -> str:
        return self._root.query(sql, "TSVRaw").bytes().decode().strip()

    def close(self) -> None:
        self._root.close()
        os.close(self._lock)

    def connect(self) -> "Connection":
        """A new connection with the limits of one statement."""
        connection = Connection(chdb.connect(self.folder))
        connection.set(self._memory.statement_settings())
        return connection

    def spool(self) -> IO[bytes]:
        """A file without a name on the disk of the data: gone when it is closed, or the process is."""
        return tempfile.TemporaryFile(dir=self.folder, buffering=0)

    def kill(self, query_id: str) -> None:
        """Asks the statement with this id to stop; nothing when there is none."""
        with closing(self.connect()) as connection:
            connection.query(f"KILL QUERY WHERE Settings['log_comment'] = {quote(query_id)} ASYNC", "Null")


def _hold(folder: Path) -> int:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise FolderUnusable(f"{folder} is in use by another store process") from error
    return lock


def quote(value: str) -> str:
    """`value` as a string literal of SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turns what chdb raises into EngineError."""
    try:
        yield
    except (ChdbError, RuntimeError) as error:
        raise EngineError(str(error)) from error


class Connection:
    """One connection: one statement at a time."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def close(self) -> None:
        self._raw.close()

    def set(self, settings: Mapping[str, str | int]) -> None:
        """Raises EngineError (115 and others) for a setting that the engine refuses."""
        if settings:
            self.query("SET " + ", ".join(f"{name} = {quote(str(value))}" for name, value in settings.items()), "Null")

    def use(self, database: str) -> None:
        """Raises EngineError (81) when there is no such database."""
        self.query("USE `" + database.replace("\\", "\\\\").replace("`", "\\`") + "`", "Null")

    def prepare(self, call: Call) -> None:
        """Applies the database, parameters and settings of a request."""
        if call.database:
            self.use(call.database)
        self.set({f"param_{name}": value for name, value in call.params.items()})
        readonly = call.settings.get("readonly", "2" if call.read_only else "0")
        others = {name: value for name, value in call.settings.items() if name != "readonly"}
        self.set({"log_comment": call.query_id, **others})
        if readonly != "0":  # last: nothing can be set after it
            self.set({"readonly": readonly})

    def query(self, sql: str, format_name: str) -> Answer:
        """Runs a statement to its end. Raises EngineError."""
        with engine_errors():
            result = self._raw.query(sql, format_name)
        summary = Summary(
            read_rows=result.rows_read(),
            read_bytes=result.bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            elapsed_ns=int(result.elapsed() * 1e9),
        )
        return Answer(result, result.get_memview().view() if result.size() else memoryview(b""), summary)

    def stream(self, sql: str, format_name: str) -> "Stream":
        """Starts a SELECT. Raises EngineError."""
        with engine_errors():
            return Stream(self._raw.send_query(sql, format_name))

    def insert(self, insert: Insert, format_name: str, rows: IO[bytes]) -> Summary:
        """Runs an INSERT with the rows in a file. Raises EngineError.

        Not through chdb's own streaming inserter: that one reports success for rows that the table refused
        (disk full, too many parts), seen in chdb 4.4.0.
        """
        source = f"FROM INFILE '/dev/fd/{rows.fileno()}' COMPRESSION 'none'"
        return self.query(f"{insert.into}\n{source}\n{insert.settings}\nFORMAT {format_name}", "Null").summary


class Stream:
    """The parts of a result as the engine yields them."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def fetch(self) -> bytes | None:
        """The next part, None after the last. Raises EngineError."""
        with engine_errors():
            part = self._raw.fetch()
        return None if part is None else part.bytes()

    def close(self) -> None:
        with engine_errors():
            self._raw.close()
