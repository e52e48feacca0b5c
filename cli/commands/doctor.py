"""`spanmill doctor`: whether this machine can run the product, and whether what runs does its work."""

import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from cli.doctor import hops, surroundings
from cli.doctor.check import Check
from cli.exits import Failure
from cli.local.ports import is_free
from cli.local.profile import Running, find_running
from cli.options import DATA, Data, Output
from cli.output import Form, show
from pipelines.jars import SETS, JarError, jar_folder, java, locked, verify

_LEAST_FREE = 2 * 2**30
# How long a span may take to each table; a job that is known to be ill is not waited for.
_PATIENCE_S, _IMPATIENCE_S = 60.0, 5.0


def register(commands: typer.Typer) -> None:
    commands.command("doctor")(doctor)


def doctor(
    data: Data = DATA,
    send: Annotated[bool, typer.Option("--send/--no-send", help="Send a span through every hop of what runs.")] = True,
    key: Annotated[str, typer.Option(envvar="SPANMILL_KEY", help="An API key; none is needed on loopback.")] = "",
    output: Output = Form.table,
) -> None:
    """Check versions, Java, jars, ports, disk, clock, and what runs on the data folder.

    Through what runs it sends a span of its own (service spanmill-doctor, organisation local unless a key says another)
    and prints how long each hop took: gateway, log, spans, traces, SQL. Exits with 1 when anything fails; each failure
    says what to do.

    [bold]Examples[/]

      spanmill doctor

      spanmill doctor --no-send -o json
    """
    checks = [*_machine(), *_folder(data), *_instance(data, send, key)]
    show([_row(check) for check in checks], ["check", "ok", "found", "cure"], output)
    if failed := sum(not check.ok for check in checks):
        raise Failure(f"{failed} of {len(checks)} checks failed", "the column 'cure' says what to do")


def _row(check: Check) -> dict[str, str]:
    cure = "" if check.ok else check.cure
    return {"check": check.check, "ok": "ok" if check.ok else "FAILED", "found": check.found, "cure": cure}


def _machine() -> Iterator[Check]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python 3.11", sys.version_info[:2] == (3, 11), python, "make PYTHON=/path/to/python3.11")
    for package in ("spanmill", "apache-flink", "chdb"):
        yield Check(package, True, version(package))
    yield Check("Java 17 or newer", java().exists(), str(java()), "reinstall: make clean demo")
    for name in SETS:
        yield _jars(name)


def _jars(name: str) -> Check:
    cure = "python -m pipelines.jars fetch"
    try:
        for jar in locked(name):
            verify(jar, jar_folder() / jar.file)
    except (JarError, OSError) as error:
        return Check(f"jars ({name})", False, str(error), cure)
    return Check(f"jars ({name})", True, f"{len(locked(name))} in {jar_folder()}")


def _folder(data: Path) -> Iterator[Check]:
    nearest = next(folder for folder in (data, *data.parents) if folder.exists())
    free = shutil.disk_usage(nearest).free
    yield Check("disk", free > _LEAST_FREE, f"{free / 2**30:.1f} GiB free at {nearest}", "free 2 GiB, or --data DIR")
    now = time.time()
    yield Check("clock", now > 1_760_000_000, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)), "set the clock")


def _instance(data: Path, send: bool, key: str) -> Iterator[Check]:
    try:
        running = find_running(data)
    except Failure:
        yield Check("instance", True, f"nothing runs on {data}")
        for port, option in ((4318, "--http-port"), (4317, "--grpc-port"), (8123, "--sql-port"),
                             (4319, "--budget-grpc-port"), (4320, "--budget-http-port")):  # fmt: skip
            yield Check(f"port {port}", is_free("127.0.0.1", port), "looked at", f"spanmill up {option} 0")
        return
    answers = list(_answers(running))
    yield from answers
    if not all(answer.ok for answer in answers):
        return  # the rest would wait for what is known to be away
    yield from surroundings.schemas(running)
    yield from surroundings.topic(running)
    job_log = "spanmill job logs observe" if running.flink else str(data / "logs" / "observe.log")
    job = list(surroundings.flink(running)) if running.flink else [surroundings.embedded_checkpoint(data, job_log)]
    yield from job
    if send:
        patience_s = _PATIENCE_S if all(check.ok for check in job) else _IMPATIENCE_S
        yield from hops.follow(running, key, job_log, patience_s)


def _answers(running: Running) -> Iterator[Check]:
    asks: dict[str, Callable[[], object]] = {
        "gateway": lambda: httpx2.get(f"{running.gateway}/readyz", timeout=5).raise_for_status(),
        "store": lambda: httpx2.get(f"{running.store}/ping", timeout=5).raise_for_status(),
        "broker": lambda: socket.create_connection(running.broker.split(":"), 5).close(),  # pyright: ignore[reportArgumentType]
    }
    for name, ask in asks.items():
        try:
            ask()
            yield Check(name, True, getattr(running, name))
        except (httpx2.HTTPError, OSError) as error:
            yield Check(name, False, str(error), "see the logs in the data folder; stop and start spanmill up")
