"""A data folder belongs to one supervisor at a time, and to one profile; what a killed one left running is ended."""

import fcntl
import json
import os
import signal
from pathlib import Path
from typing import IO

import psutil

from cli.exits import Exit, Failure


def hold(data: Path, profile: str) -> IO[str]:
    """Locks `data` (made when missing) until the file returned is closed.

    Raises Failure when another holds it, or when the folder was begun by another profile.
    """
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
    try:
        _claim(data, profile)
    except Failure:
        lock.close()
        raise
    return lock


def is_held(data: Path) -> bool:
    """Whether a supervisor runs on `data`."""
    try:
        with (data / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _claim(data: Path, profile: str) -> None:
    """The profiles keep control data and the jobs' state in different places: a folder stays with its first one."""
    marker = data / "profile"
    if not marker.exists():
        marker.write_text("embedded" if (data / "control.db").exists() else profile)
    if (begun := marker.read_text()) != profile:
        raise Failure(
            f"the data folder {data} belongs to the {begun} profile",
            "choose another folder with --data",
            Exit.REFUSED,
        )


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
