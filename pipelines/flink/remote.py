"""Submits a job to a Flink cluster by its REST address, from a client that this process starts."""

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

from pipelines.flink import ship
from pipelines.flink.jvm import end_jvm, start_jvm
from pipelines.flink.settings import ObserveSettings
from pipelines.jars import fetch, jar_folder

Build = Callable[[StreamExecutionEnvironment, ObserveSettings], None]

_CLIENT_HEAP_MB = 512


class NotSubmitted(Exception):
    """The cluster did not take the job; carries Flink's reason."""


@dataclass(frozen=True)
class Start:
    """How a job begins. savepoint: URI to restore, None for an empty state. code: folder of the job's code.

    lost: whether state of the savepoint that no operator claims may be dropped.
    """

    code: Path
    savepoint: str | None = None
    lost: bool = False


def submit(name: str, build: Build, settings: ObserveSettings, rest: str, start: Start) -> str:
    """Submits the job to the cluster at `rest` (http://host:port); its id, 32 hex digits. Raises NotSubmitted."""
    ship.ROOT = str(start.code)
    with _client() as jvm:
        env = _environment(jvm, _configuration(settings, rest, start))
        build(env, settings)
        try:
            return str(env.execute_async(name).get_job_id())
        except Py4JJavaError as error:
            raise NotSubmitted(_causes(error)) from error


def uids(build: Build, settings: ObserveSettings) -> list[str]:
    """The uids of the operators that the job would have, sorted."""
    with _client() as jvm:
        env = _environment(jvm, Configuration())
        build(env, settings)
        graph: Any = env._generate_stream_graph(clear_transformations=True)
        found = {node.getTransformationUID() for node in graph.getStreamNodes().toArray()}
    return sorted(uid for uid in found if uid)


@contextmanager
def _client() -> Iterator[Any]:
    """The Java side of PyFlink in a process of its own, ended afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix="spanmill-client-"))
    jars = fetch("flink", jar_folder(), lambda line: print(line, file=sys.stderr, flush=True))
    process = start_jvm(jars, scratch / "client.log", _CLIENT_HEAP_MB)
    try:
        yield get_gateway().jvm
    finally:
        end_jvm(process)
        shutil.rmtree(scratch, ignore_errors=True)


def _environment(jvm: Any, configuration: Configuration) -> StreamExecutionEnvironment:
    # get_execution_environment would make a local one of it.
    java: Any = jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    return StreamExecutionEnvironment(java(configuration._j_configuration))


def _configuration(settings: ObserveSettings, rest: str, start: Start) -> Configuration:
    address = urlsplit(rest)
    options = job_options(settings) | {
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": address.hostname or "",
        "rest.port": str(address.port),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "python.pythonpath": os.pathsep.join([str(start.code), sysconfig.get_path("purelib")]),
    }
    if start.savepoint:
        options["execution.state-recovery.path"] = start.savepoint
        options["execution.state-recovery.ignore-unclaimed-state"] = str(start.lost).lower()
    return configured(options)


def job_options(settings: ObserveSettings) -> dict[str, str]:
    """Flink options that belong to the job, wherever it runs on a cluster."""
    return {
        "python.execution-mode": "thread",
        "execution.checkpointing.interval": f"{int(settings.checkpoint_s * 1000)}ms",
    }


def configured(options: Mapping[str, str]) -> Configuration:
    found = Configuration()
    for key, value in options.items():
        found.set_string(key, value)
    return found


def _causes(error: Py4JJavaError) -> str:
    """The messages of the exception and its causes, outermost first, one a line."""
    lines: list[str] = []
    cause: Any = error.java_exception
    while cause is not None:
        lines.append(str(cause.toString()).splitlines()[0])
        cause = cause.getCause()
    return "\n".join(_distinct(lines))


def _distinct(lines: Sequence[str]) -> Sequence[str]:
    return list(dict.fromkeys(lines))
