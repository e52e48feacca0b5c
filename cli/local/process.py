"""One child process of a local profile: its own session, its own log, gone when the command is gone."""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from cli.exits import Exit, Failure

_PR_SET_PDEATHSIG = 1


def _prepare(nice: int) -> None:
    """Runs in the child between fork and exec: the kernel kills it when the command dies, however that happens."""
    os.nice(nice)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """A process that says `ready ...` on its output once it serves.

    nice: how much it stands back for others when the processors are busy, 0 to 19. account: whose process it is, the
    caller's when None.
    """

    def __init__(
        self,
        name: str,
        args: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        nice: int = 0,
        account: str | None = None,
    ) -> None:
        self.name = name
        self.nice = nice
        self.account = account
        self.args = list(args)
        self.log = log
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self._log_start = out.tell()
            self.process = subprocess.Popen(  # pyright: ignore[reportAttributeAccessIssue]: binary, whatever as_account says
                self.args,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self.env,
                start_new_session=True,
                **as_account(self.account),
                preexec_fn=partial(_prepare, self.nice),
            )

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ready_line(self) -> str | None:
        """The line that begins with `ready` since the last start, or None while there is none."""
        with self.log.open("rb") as lines:
            lines.seek(self._log_start)
            for line in lines:
                if line.startswith(b"ready") and line.endswith(b"\n"):
                    return line.decode().strip()
        return None

    def wait_ready(self, timeout: float) -> str:
        """Waits for the ready line. Raises Failure with the end of the log when the process dies or is late."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if (line := self.ready_line()) is not None:
                return line
            if not self.alive:
                raise Failure(f"{self.name} ended while starting:\n{self.tail()}", f"see {self.log}")
            time.sleep(0.05)
        raise Failure(f"{self.name} was not ready within {timeout:.0f} s", f"see {self.log}", Exit.TIMED_OUT)

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log since the last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return "\n".join(log.read()[-20_000:].decode(errors="replace").splitlines()[-lines:])

    def stop(self, timeout: float = 20) -> None:
        """SIGTERM, then SIGKILL to the whole session after `timeout` seconds."""
        if self.process is None:
            return
        if self.alive:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the child and to all that it started."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def as_account(name: str | None) -> dict[str, Any]:
    """Arguments of subprocess that make the process one of account `name` and its group, the caller's when None."""
    return {} if name is None else {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


def process_rows(pids: Mapping[str, int]) -> list[dict[str, Any]]:
    """What runs, a row a process: process, pid, state (running|ended), memory_mb (of all that it started too)."""
    return [_process_row(name, pid) for name, pid in pids.items()]


def _process_row(name: str, pid: int) -> dict[str, Any]:
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        memory = sum(process.memory_info().rss for process in tree)
        return {"process": name, "pid": pid, "state": "running", "memory_mb": memory // 2**20}
    except psutil.Error:
        return {"process": name, "pid": pid, "state": "ended", "memory_mb": None}
