import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client

from pipelines.migrate import migrate
from pipelines.sinks import RefusedRows, SinkClosed, StoreMisconfigured, StoreSink, Watch
from pipelines.store import StoreSettings, StoreUnreachable, connect, connect_creating, wait_ready
from schemas.arrow import MESSAGES, TABLES, to_ipc
from schemas.migrations import CLICKHOUSE
from tests.store_process import StoreProcess, running_store, wait_until


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store") / "data") as process:
        with connect_creating(process.settings) as client:
            migrate(client, CLICKHOUSE, time.time_ns())
        yield process


@pytest.fixture(scope="module")
def client(store: StoreProcess) -> Iterator[Client]:
    with connect(store.settings) as connected:
        yield connected


@contextmanager
def _sink(settings: StoreSettings, watch: Watch | None = None) -> Iterator[StoreSink]:
    sink = StoreSink(settings, watch)
    try:
        yield sink
    finally:
        sink.close()


def _messages(org: str, count: int = 3) -> bytes:
    rows: list[dict[str, Any]] = [
        {"org": org, "hash": f"{n:032x}", "role": "user", "body": "{}", "bytes": n} for n in range(count)
    ]
    return to_ipc(pa.Table.from_pylist(rows, MESSAGES))


def _count(client: Client, org: str, table: str = "messages") -> Any:
    return client.command(f"SELECT count() FROM {table} WHERE org = {{o:String}}", parameters={"o": org})


class SwallowingProxy:
    """Forwards requests to the store, and closes the connection instead of handing on the first replies."""

    def __init__(self, port: int, swallow: int) -> None:
        self._port = port
        self._left = swallow
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as store:
            threading.Thread(target=_pump, args=(client, store), daemon=True).start()
            while reply := store.recv(65536):
                if self._left:
                    self._left -= 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(reply)

    def close(self) -> None:
        self._listener.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        return


def test_a_batch_is_in_the_table_when_write_returns(store: StoreProcess, client: Client):
    with _sink(store.settings) as sink:
        sink.write("messages", _messages("plain"))
        assert _count(client, "plain") == 3
        assert sink.repeats == 0


class Told:
    """Notes what a sink says that it does."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []
        self.took_ns = 0

    def acknowledged(self, table: str, ipc: bytes, took_ns: int) -> None:
        self.notes.append(("acknowledged", table))
        self.took_ns = took_ns

    def repeated(self, table: str) -> None:
        self.notes.append(("repeated", table))


def test_who_watches_is_told_of_each_repetition_when_it_happens_and_of_the_acknowledgement(store: StoreProcess):
    proxy, told = SwallowingProxy(store.port, swallow=2), Told()
    with _sink(replace(store.settings, url=proxy.url), told) as sink:
        sink.write("messages", _messages("watched"))
    proxy.close()
    assert told.notes == [("repeated", "messages"), ("repeated", "messages"), ("acknowledged", "messages")]
    assert told.took_ns > 250_000_000  # with the pauses of 0.1 and 0.2 s


def test_an_empty_batch_of_every_table_is_taken(store: StoreProcess):
    with _sink(store.settings) as sink:
        for table, schema in TABLES.items():
            sink.write(table, to_ipc(schema.empty_table()))


def test_a_reply_swallowed_after_the_commit_does_not_count_the_rows_twice(store: StoreProcess, client: Client):
    client.command("SYSTEM STOP MERGES messages_data")
    proxy = SwallowingProxy(store.port, swallow=2)
    try:
        with _sink(replace(store.settings, url=proxy.url)) as sink:
            sink.write("messages", _messages("swallowed"))
            assert sink.repeats == 2
        assert _count(client, "swallowed", "messages_data") == 9
        assert _count(client, "swallowed") == 3
    finally:
        proxy.close()
        client.command("SYSTEM START MERGES messages_data")


def test_write_waits_for_a_store_that_is_down_and_goes_on_when_it_is_back(tmp_path: Path):
    with running_store(tmp_path / "data") as first:
        port = first.port
        with connect_creating(first.settings) as client:
            migrate(client, CLICKHOUSE, time.time_ns())
        with _sink(first.settings) as sink, ThreadPoolExecutor(1) as pool:
            sink.write("messages", _messages("before"))
            first.kill()
            waiting = pool.submit(sink.write, "messages", _messages("after"))
            wait_until(lambda: sink.repeats > 1, "the sink has tried again")
            assert not waiting.done()
            second = StoreProcess(tmp_path / "data", port)
            try:
                waiting.result(timeout=30)
                with connect(second.settings) as client:
                    assert (_count(client, "before"), _count(client, "after")) == (3, 3)
            finally:
                second.kill()


def test_closing_ends_a_write_that_waits():
    with _sink(StoreSettings(url="http://127.0.0.1:1")) as sink, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sink.write, "messages", _messages("never"))
        wait_until(lambda: sink.repeats > 0, "the sink has tried")
        sink.close()
        with pytest.raises(SinkClosed):
            waiting.result(timeout=30)


def test_rows_that_the_store_cannot_hold_are_refused_once(store: StoreProcess):
    far = to_ipc(pa.Table.from_pylist([{"org": "far", "day": -1}], TABLES["spans"]))
    with _sink(store.settings) as sink:
        with pytest.raises(RefusedRows) as refusal:
            sink.write("spans", far)
        assert refusal.value.table == "spans"
        assert sink.repeats == 0


@pytest.mark.parametrize("ipc", [b"", b"garbage", to_ipc(pa.table({"org": ["x"]})), _messages("cut")[:-200]])
def test_bytes_that_are_not_the_table_are_refused(store: StoreProcess, client: Client, ipc: bytes):
    with _sink(store.settings) as sink, pytest.raises(RefusedRows, match="messages"):
        sink.write("messages", ipc)
    assert _count(client, "cut") == 0


def test_a_table_that_is_not_declared_is_not_written(store: StoreProcess):
    with _sink(store.settings) as sink, pytest.raises(ValueError, match="schema_migrations"):
        sink.write("schema_migrations", _messages("x"))


def test_a_store_without_the_tables_needs_an_operator(store: StoreProcess):
    with _sink(replace(store.settings, database="nowhere")) as sink, pytest.raises(StoreMisconfigured, match="nowhere"):
        sink.write("messages", _messages("x"))


def test_a_wrong_password_needs_an_operator(tmp_path: Path):
    with running_store(tmp_path / "d", env={"SPANMILL_STORE_PASSWORD": "secret"}) as locked:
        with _sink(locked.settings) as sink, pytest.raises(StoreMisconfigured, match="AUTHENTICATION_FAILED"):
            sink.write("messages", _messages("x"))
        with connect(replace(locked.settings, password="secret", database="default")) as client:
            assert client.command("SELECT 1") == 1


def test_waiting_for_a_store_that_never_comes_ends(store: StoreProcess):
    wait_ready(store.settings, 1.0)
    with pytest.raises(StoreUnreachable, match="127.0.0.1:1 is not ready after 0.1 s"):
        wait_ready(StoreSettings(url="http://127.0.0.1:1"), 0.1)


def test_who_gives_up_while_the_store_is_away_waits_no_longer():
    asked: list[bool] = []
    sink = StoreSink(StoreSettings("http://127.0.0.1:9"), given_up=lambda: bool(asked.append(True)) or len(asked) > 1)
    with pytest.raises(SinkClosed):
        sink.write("requests", to_ipc(TABLES["requests"].empty_table()))
    assert len(asked) == 2
    sink.close()
