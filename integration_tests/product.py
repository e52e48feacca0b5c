"""The real product as a test sees it: `spanmill up` in a process of its own, and clients of its ports."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import psutil
from clickhouse_connect.driver.client import Client

from cli.client import connect, rows
from cli.commands.status import wait_caught_up
from cli.local.profile import Running, find_running

CAPTURES = Path(__file__).parent.parent / "tests" / "captures"
WITH_BUDGETS = ("--budgets", "--budget-grpc-port", "0", "--budget-http-port", "0")
SPANMILL = [sys.executable, "-c", "from cli.main import app; app()"]


class Product:
    """`spanmill up` on free ports over one data folder; budgets only where a test asks for them."""

    verb: tuple[str, ...] = ("up",)
    port_options: tuple[str, ...] = (
        "--http-port", "0", "--grpc-port", "0", "--sql-port", "0", "--quiet-gap", "1", "--no-budgets",
    )  # fmt: skip

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.log = data.with_suffix(".log")

    def up(self, timeout: float = 400) -> Running:
        """Starts it and waits until it serves."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*SPANMILL, *self.verb, "--data", str(self.data), *self.port_options, *self.options],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"spanmill up ended: {self.log.read_text()[-4000:]}")
            if (self.data / "run.json").exists() and find_running(self.data).pid == self.process.pid:
                return self.running
            time.sleep(0.1)
        self.kill_all()
        raise AssertionError(f"spanmill up was not ready: {self.log.read_text()[-4000:]}")

    @property
    def running(self) -> Running:
        return find_running(self.data)

    def down(self) -> int:
        """SIGTERM, as an operator does; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill_all(self) -> None:
        """SIGKILL to the command and to all below it: the machine lost power."""
        if self.process is None or self.process.poll() is not None:
            return
        tree = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for child in tree:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(tree, timeout=20)
        self.process.wait()

    def kill(self, name: str) -> None:
        """SIGKILL to one part; the supervisor starts it again."""
        os.killpg(self.running.pids[name], signal.SIGKILL)

    def post(self, body: bytes, signal_name: str = "traces", **headers: str) -> httpx2.Response:
        headers = {"content-type": "application/x-protobuf"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return httpx2.post(f"{self.running.gateway}/v1/{signal_name}", content=body, headers=headers, timeout=30)

    def caught_up(self, timeout: float = 240) -> None:
        wait_caught_up(self.running, timeout)

    @property
    def store(self) -> Client:
        return connect(self.running)

    def rows(self, sql: str, **parameters: object) -> list[dict]:
        return rows(self.store, sql, parameters).rows


def spanmill(*arguments: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run([*SPANMILL, *arguments], capture_output=True, text=True, timeout=timeout, check=False)
