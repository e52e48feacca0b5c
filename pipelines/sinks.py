"""Writes Arrow batches into the store as they are: one HTTP insert a batch, acknowledged by the server.

A batch may be written twice (the reply to the first insert was lost, or the job restarted): the tables keep one row
for each key, so writing again is always safe, and a write that could not be confirmed is simply repeated.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

import httpx2
import pyarrow as pa

from pipelines.recount import recount_statement
from pipelines.store import StoreSettings
from schemas.arrow import TABLES

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 30.0
_ASK_EVERY_S = 1.0
_RECOUNTED_AT_ONCE = 500
_TIMEOUT = httpx2.Timeout(connect=5.0, read=120.0, write=60.0, pool=5.0)

# A missing or unknown column must fail, not become a default. An insert is done when it is answered. Rows of one key
# are told apart by merges and by FINAL: doing it at the insert too costs 40 % more of the store's time.
_SETTINGS = {
    "input_format_arrow_allow_missing_columns": "0",
    "input_format_skip_unknown_fields": "0",
    "async_insert": "0",
    # Refused before it is begun: a part that meets the end of the disk half way may be left behind unreadable.
    "min_free_disk_bytes_to_perform_insert": str(64 * 2**20),
    "optimize_on_insert": "0",
    "wait_end_of_query": "1",
}

# ClickHouse's codes that speak about the rows: values that cannot be parsed, converted, or are too large.
_ABOUT_ROWS = {6, 25, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 131, 190, 321, 349, 376, 467, 636}
_PASSING_STATUS = {408, 425, 429}


class RefusedRows(Exception):
    """The store will never take this batch: a dead letter."""

    def __init__(self, table: str, code: int, message: str) -> None:
        super().__init__(f"{table}: {message}")
        self.table = table
        self.code = code  # ClickHouse's exception code; 0 when the batch was not sent


class StoreMisconfigured(Exception):
    """The store takes no batch at all as things are (no such table, wrong password): an operator is needed."""


class SinkClosed(Exception):
    """The sink was closed while it waited for the store."""


class Watch(Protocol):
    """Is told what a sink does, by the thread that writes."""

    def acknowledged(self, table: str, ipc: bytes, took_ns: int) -> None:
        """The store has the rows; took_ns: with all repetitions."""
        ...

    def repeated(self, table: str) -> None:
        """An attempt failed for a passing reason."""
        ...


class StoreSink:
    """Inserts into the store over one kept-alive connection. One thread writes; `close` may come from another.

    given_up: asked every second while the store is away; true ends the waiting with SinkClosed.
    """

    def __init__(
        self, settings: StoreSettings, watch: Watch | None = None, given_up: Callable[[], bool] | None = None
    ) -> None:
        self._watch = watch
        self._given_up = given_up
        self._database = settings.database
        self._closed = threading.Event()
        account = {"X-ClickHouse-User": settings.user, "X-ClickHouse-Key": settings.password}
        self._http = httpx2.Client(base_url=settings.url, headers=account, timeout=_TIMEOUT)
        self.repeats = 0  # attempts that failed for a passing reason
        self.last_trouble = ""  # the reason of the last of them

    def write(self, table: str, ipc: bytes) -> None:
        """Inserts an Arrow IPC stream into `<table>_data`; returns when the store has it on disk.

        Repeats without end, with growing pauses, while the store cannot be reached, is overloaded or fails: so it
        presses back on the job. Raises RefusedRows, StoreMisconfigured or SinkClosed, ValueError for a table that
        is not in schemas.arrow.TABLES.
        """
        _check(table, ipc)
        began = time.monotonic_ns()
        self._run(table, f"INSERT INTO {table}_data FORMAT ArrowStream", ipc)
        if self._watch:
            self._watch.acknowledged(table, ipc, time.monotonic_ns() - began)

    def recount(self, cells: pa.Table) -> None:
        """Has the store count the minutes of `cells` (RECOUNTS) anew from the rows that it has; repeats as `write`.

        Raises StoreMisconfigured or SinkClosed.
        """
        pairs = list(zip(cells["org"].to_pylist(), cells["minute"].to_pylist(), strict=True))
        for start in range(0, len(pairs), _RECOUNTED_AT_ONCE):
            self._run("metrics_1m", "", recount_statement(pairs[start : start + _RECOUNTED_AT_ONCE]).encode())

    def _run(self, table: str, query: str, content: bytes) -> None:
        pause = _FIRST_PAUSE_S
        while not self._closed.is_set():
            trouble = self._attempt(table, query, content)
            if trouble is None:
                return
            if self._watch:
                self._watch.repeated(table)
            self.repeats += 1
            self.last_trouble = trouble
            self._rest(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        raise SinkClosed(f"{table}: closed before the store took the batch")

    def _rest(self, pause_s: float) -> None:
        deadline = time.monotonic() + pause_s
        while (left := deadline - time.monotonic()) > 0 and not self._closed.wait(min(left, _ASK_EVERY_S)):
            if self._given_up and self._given_up():
                self._closed.set()

    def _attempt(self, table: str, query: str, content: bytes) -> str | None:
        """None when the store has the rows, else why it may have them the next time."""
        params = {"database": self._database, **_SETTINGS} | ({"query": query} if query else {})
        try:
            reply = self._http.post("/", params=params, content=content)
        except httpx2.TransportError as error:
            return f"{type(error).__name__}: {error}"
        if reply.status_code == 200 and "X-ClickHouse-Exception-Code" not in reply.headers:
            return None
        code, message = int(reply.headers.get("X-ClickHouse-Exception-Code", 0)), reply.text.strip()
        if code in _ABOUT_ROWS or reply.status_code == 413:
            raise RefusedRows(table, code, message)
        if 400 <= reply.status_code < 500 and reply.status_code not in _PASSING_STATUS:
            raise StoreMisconfigured(f"{table}: {message}")
        return message

    def close(self) -> None:
        """Lets go of the connection; a `write` that waits ends with SinkClosed."""
        self._closed.set()
        self._http.close()


def _check(table: str, ipc: bytes) -> None:
    if table not in TABLES:
        raise ValueError(f"{table!r} is not a table of the store")
    try:
        found = pa.ipc.open_stream(ipc).schema
    except pa.ArrowInvalid as error:
        raise RefusedRows(table, 0, f"not an Arrow IPC stream: {error}") from error
    if not found.equals(TABLES[table]):
        raise RefusedRows(table, 0, f"the columns are not those of {table}")
