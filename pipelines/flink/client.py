"""A client of Flink clusters for one job: says what the job would be, reads savepoints, submits it.

`serve` answers requests, one JSON object a line, so that a deployment prepares everything before it stops the running
job, and pays for one Java process only:

    {"op": "graph"}                                    -> {"uids": [...], "states": {...}, "max_parallelism": 128}
    {"op": "inspect", "savepoint": URI}                -> {"operators": [{"uid": ..., "states": [...], ...}, ...]}
    {"op": "submit", "rest": URL, "savepoint": URI|null, "lost": bool, "code": DIR} -> {"job": "<32 hex digits>"}

A request that fails is answered with {"error": TEXT}.
"""

import json
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

from pipelines.flink import ship
from pipelines.flink.jvm import end_jvm, start_jvm
from pipelines.flink.keys import MAX_PARALLELISM
from pipelines.flink.local import Build
from pipelines.flink.savepoints import UnreadableSavepoint, read_savepoint
from pipelines.flink.settings import JobSettings
from pipelines.jars import fetch, jar_folder
from schemas.kafka import UnusableAccess

_CLIENT_HEAP_MB = 512
REPLY = "reply "  # begins each line that answers; PyFlink prints of its own accord

# Keyed states: uid of the operator -> name of the state -> the schema version that this code writes and reads.
States = Mapping[str, Mapping[str, int]]


class Job:
    """A job as it can be submitted: its name, its graph, its keyed states and its settings."""

    def __init__(
        self,
        name: str,
        build: Build,
        states: States,
        settings: JobSettings,
    ) -> None:
        self.name, self.build, self.states, self.settings = name, build, states, settings

    def graph(self, jvm: Any) -> dict[str, Any]:
        env = _environment(jvm, configured({}))
        self.build(env, self.settings)
        stream_graph: Any = env._generate_stream_graph(clear_transformations=True)
        uids = {node.getTransformationUID() for node in stream_graph.getStreamNodes().toArray()}
        return {
            "uids": sorted(uid for uid in uids if uid),
            "states": self.states,
            "max_parallelism": MAX_PARALLELISM,
        }

    def submit(self, jvm: Any, rest: str, savepoint: str | None, lost: bool, code: str) -> str:
        """Returns the job's id. Raises Py4JJavaError."""
        ship.ROOT = code
        env = _environment(jvm, configured(self._options(rest, savepoint, lost, code)))
        self.build(env, self.settings)
        return str(env.execute_async(self.name).get_job_id())

    def _options(self, rest: str, savepoint: str | None, lost: bool, code: str) -> dict[str, str]:
        address = urlsplit(rest)
        options = job_options(self.settings) | {
            "execution.target": "remote",
            "execution.attached": "false",
            "rest.address": address.hostname or "",
            "rest.port": str(address.port),
            "python.executable": sys.executable,
            "python.client.executable": sys.executable,
            "python.pythonpath": os.pathsep.join([code, sysconfig.get_path("purelib")]),
        }
        if savepoint:
            options["execution.state-recovery.path"] = savepoint
            options["execution.state-recovery.ignore-unclaimed-state"] = str(lost).lower()
        return options


def job_options(settings: JobSettings) -> dict[str, str]:
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


def serve(job: Job, requests: IO[str], replies: IO[str]) -> None:
    """Answers each line of `requests` until it ends."""
    with _java() as jvm:
        for line in requests:
            print(REPLY + json.dumps(_answer(jvm, job, json.loads(line))), file=replies, flush=True)


def _answer(jvm: Any, job: Job, request: dict[str, Any]) -> dict[str, Any]:
    try:
        match request.pop("op"):
            case "graph":
                return job.graph(jvm)
            case "inspect":
                return {"operators": [asdict(found) for found in read_savepoint(jvm, request["savepoint"])]}
            case "submit":
                return {"job": job.submit(jvm, **request)}
            case other:
                return {"error": f"unknown request {other!r}"}
    except Py4JJavaError as error:
        return {"error": _causes(error)}
    except (UnreadableSavepoint, UnusableAccess) as error:
        return {"error": str(error)}


@contextmanager
def _java() -> Iterator[Any]:
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


def _causes(error: Py4JJavaError) -> str:
    """The messages of the exception and its causes, outermost first, each once, one a line."""
    lines: list[str] = []
    cause: Any = error.java_exception
    while cause is not None:
        lines += str(cause.toString()).splitlines()[:1]
        cause = cause.getCause()
    return "\n".join(dict.fromkeys(lines))
