"""The embedded store as a child process of a test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.store import StoreSettings

ROOT = Path(__file__).parents[1]


class StoreProcess:
    """`python -m services.store` on a folder, at a port of its own choice."""

    def __init__(self, data: Path, port: int = 0, env: dict[str, str] | None = None) -> None:
        command = [
            sys.executable,
            "-m",
            "services.store",
            "--data",
            str(data),
            "--port",
            str(port),
            "--memory-mb",
            "1024",
        ]
        self.log = data.parent / f"{data.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, env={**os.environ, **(env or {})}
            )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline().decode().strip()
        assert ready.startswith("ready http="), self.log.read_text()
        self.url = "http://" + ready.removeprefix("ready http=")

    @property
    def settings(self) -> StoreSettings:
        return StoreSettings(url=self.url)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        self.process.kill()
        self._ended()

    def stop(self) -> int:
        """Asks it to end, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        code = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def running_store(data: Path, env: dict[str, str] | None = None) -> Iterator[StoreProcess]:
    """A store on `data`, gone when the block ends, however it ends."""
    store = StoreProcess(data, env=env)
    try:
        yield store
    finally:
        store.kill()


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Polls `condition` until it is true; fails the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)
