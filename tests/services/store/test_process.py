"""The store as a process: how it starts, ends, and is killed."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from tests.store_process import ROOT, StoreProcess, running_store, wait_until


def _start(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.store", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_second_process_on_the_folder_is_refused(tmp_path: Path):
    with running_store(tmp_path / "d"):
        second = _start("--data", str(tmp_path / "d"), "--port", "0")
    assert second.returncode == 2
    assert "is in use by another store process" in second.stderr


def test_a_folder_that_the_engine_cannot_name_is_refused(tmp_path: Path):
    refused = _start("--data", str(tmp_path / "what?"), "--port", "0")
    assert refused.returncode == 2
    assert "question mark" in refused.stderr


def test_listening_beyond_this_machine_needs_a_password(tmp_path: Path):
    refused = _start("--data", str(tmp_path / "d"), "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "SPANMILL_STORE_PASSWORD" in refused.stderr


def test_with_a_password_set_nobody_comes_in_without_it(tmp_path: Path):
    with running_store(tmp_path / "d", env={"SPANMILL_STORE_PASSWORD": "secret"}) as store:
        assert httpx2.post(store.url, content="SELECT 1").status_code == 403
        assert httpx2.post(store.url, content="SELECT 1", auth=("me", "wrong")).status_code == 403
        assert httpx2.post(store.url, content="SELECT 1", auth=("me", "secret")).text == "1\n"


def test_a_folder_survives_being_killed_and_keeps_every_acknowledged_row(tmp_path: Path):
    """Rounds of inserts, each ended by kill -9; an insert without an answer may be there or not, but whole."""
    acknowledged: set[int] = set()
    for round_number in range(3):
        with running_store(tmp_path / "d") as store:
            httpx2.post(store.url, content="CREATE DATABASE IF NOT EXISTS k").raise_for_status()
            httpx2.post(
                store.url,
                content="CREATE TABLE IF NOT EXISTS k.t (batch UInt64, row UInt64) ENGINE = MergeTree ORDER BY batch"
                " SETTINGS fsync_after_insert = 1, fsync_part_directory = 1",
            ).raise_for_status()
            _check_whole(store, acknowledged)
            killer = threading.Timer(0.7, store.process.kill)
            killer.start()
            acknowledged |= _insert_until_gone(store, round_number)
            killer.join()
    with running_store(tmp_path / "d") as store:
        _check_whole(store, acknowledged)
    assert acknowledged


def _insert_until_gone(store: StoreProcess, round_number: int) -> set[int]:
    done: set[int] = set()
    with httpx2.Client() as http_client:
        for batch in range(round_number * 10_000, round_number * 10_000 + 10_000):
            rows = "".join(f"{batch}\t{row}\n" for row in range(1000))
            try:
                reply = http_client.post(store.url, params={"query": "INSERT INTO k.t FORMAT TSV"}, content=rows)
            except httpx2.TransportError:
                break
            assert reply.status_code == 200
            done.add(batch)
    return done


def _check_whole(store: StoreProcess, acknowledged: set[int]) -> None:
    text = httpx2.post(store.url, content="SELECT batch, count() FROM k.t GROUP BY batch").text
    found = {int(batch): int(rows) for batch, rows in (line.split() for line in text.splitlines())}
    assert set(found.values()) <= {1000}
    assert acknowledged <= set(found)


def test_sigterm_ends_it_after_the_running_statement(tmp_path: Path):
    with running_store(tmp_path / "d") as store, ThreadPoolExecutor(1) as pool:
        reply = pool.submit(httpx2.post, store.url, content="SELECT sleep(1)")
        counting = "SELECT countIf(query LIKE 'SELECT sleep%') FROM system.processes"
        wait_until(lambda: httpx2.post(store.url, content=counting).text == "1\n", "the statement runs")
        assert store.stop() == 0
        assert reply.result().status_code == 200
