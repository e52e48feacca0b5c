"""Runs a job in a Flink of its own (MiniCluster, thread mode) from the newest checkpoint until it is told to stop."""

import json
import shutil
import sys
import sysconfig
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

from py4j.protocol import Py4JError
from pyflink.common import CompletableFuture, Configuration
from pyflink.common.job_client import JobClient
from pyflink.datastream import StreamExecutionEnvironment
from ruamel.yaml import YAML

from pipelines.flink.checkpoints import newest, pin, prune
from pipelines.flink.jvm import END_S, JvmFailed, end_jvm, start_jvm
from pipelines.flink.settings import JobSettings, LocalPlace
from pipelines.jars import fetch, jar_folder
from pipelines.ports import free_port

_PROJECT = Path(__file__).parent.parent.parent
_PROFILE = _PROJECT / "flink-conf" / "embedded.yaml"
_POLL_S = 0.1

Build = Callable[[StreamExecutionEnvironment, Any], None]


class JobFailed(Exception):
    """The job ended although nobody stopped it; carries Flink's reason."""


def run_local(name: str, build: Build, settings: JobSettings, place: LocalPlace, stop: threading.Event) -> None:
    """Runs until `stop` is set; says `ready ...` on standard output when all tasks run.

    State, logs and scratch files are in `place.folder`; the next run on it goes on where this one was.
    Raises JobFailed, JvmFailed, JarError, StateMismatch.
    """
    checkpoints = place.folder / "checkpoints"
    pin(checkpoints, settings.bound)
    prune(checkpoints, keep=2)
    shutil.rmtree(place.folder / "tmp", ignore_errors=True)
    jars = fetch("flink", jar_folder(), lambda line: print(line, file=sys.stderr, flush=True))
    jvm = start_jvm(jars, place.folder / "flink.log", place.heap_mb)
    try:
        port = free_port()
        env = StreamExecutionEnvironment.get_execution_environment(configuration(settings, place, port))
        build(env, settings)
        client = env.execute_async(name)
        _watch(client, jvm, f"http://127.0.0.1:{port}", stop)
        client.cancel().result()
    finally:
        end_jvm(jvm)


def configuration(settings: JobSettings, place: LocalPlace, port: int) -> Configuration:
    """The embedded profile, and what the settings and this machine add to it."""
    options = {key: str(value) for key, value in YAML(typ="safe").load(_PROFILE).items()}
    options |= {
        "execution.checkpointing.interval": f"{int(settings.checkpoint_s * 1000)}ms",
        "execution.checkpointing.dir": (place.folder / "checkpoints").resolve().as_uri(),
        "io.tmp.dirs": (scratch := str(_made(place.folder / "tmp"))),
        "web.tmpdir": scratch,
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "python.pythonpath": f"{sysconfig.get_path('purelib')}:{_PROJECT}",
        "rest.port": str(port),
        "taskmanager.numberOfTaskSlots": str(settings.parallelism),
    }
    if checkpoint := newest(place.folder / "checkpoints"):
        options["execution.state-recovery.path"] = checkpoint.resolve().as_uri()
    found = Configuration()
    for key, value in options.items():
        found.set_string(key, value)
    return found


def _watch(client: JobClient, jvm: Popen[bytes], rest: str, stop: threading.Event) -> None:
    """Returns when `stop` is set. Raises when the job or its process ends before."""
    job, ready = str(client.get_job_id()), False
    ended = client.get_job_execution_result()
    while not stop.wait(_POLL_S):
        try:
            if ended.done():
                raise JobFailed(_reason(ended))
        except (Py4JError, ConnectionError) as error:
            raise JvmFailed(f"Java ended with {jvm.wait(END_S)}") from error
        if not ready and _all_running(f"{rest}/jobs/{job}"):
            ready = True
            print(f"ready job={job} rest={rest}", flush=True)


def _all_running(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return all(vertex["status"] == "RUNNING" for vertex in json.load(answer)["vertices"])
    except OSError:
        return False


def _reason(ended: CompletableFuture) -> str:
    try:
        ended.result()
    except Exception as error:  # py4j makes a class of its own for every Java exception
        return str(error)
    return "its input ended"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()
