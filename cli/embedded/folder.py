"""The data folder belongs to one `spanmill up` at a time; what a killed one left running is ended first."""

import fcntl
import json
import os
import signal
from pathlib import Path
from typing import IO

import psutil

from cli.exits import Exit, Failure


def hold(data: Path) -> IO[str]:
    """Locks `data` (made when missing) until the file returned is closed. Raises Failure when another holds it."""
    data.mkdir(parents=True, exist_ok=True)
    lock = (data / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise Failure(
            f"process {holder} runs on the data folder {data} already",
            "stop it, or choose another folder with --data",
            Exit.REFUSED,
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    end_left_overs(data)
    return lock


def end_left_overs(data: Path) -> list[int]:
    """Kills the processes that `run.json` names and that still work on `data`; their ids."""
    try:
        pids = json.loads((data / "run.json").read_text())["pids"].values()
    except (FileNotFoundError, ValueError, KeyError):
        return []
    ended = [pid for pid in pids if _works_on(pid, data)]
    for pid in ended:
        os.killpg(pid, signal.SIGKILL)
    return ended


def _works_on(pid: int, data: Path) -> bool:
    try:
        return any(str(data) in argument for argument in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
