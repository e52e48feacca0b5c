"""The command line that every job has.

`--local` runs it in a Flink of its own until SIGTERM. `--client` answers requests of a deployment (see
pipelines/flink/client.py). Without either it adds itself to the Flink program that runs it (application mode); accounts
may then come from the environment instead of the settings file.
"""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from pydantic import ValidationError

from pipelines.flink.checkpoints import StateMismatch
from pipelines.flink.jvm import JvmFailed
from pipelines.flink.local import Build, JobFailed, run_local
from pipelines.flink.settings import SETTINGS, JobSettings, LocalPlace, load_application, load_local
from pipelines.jars import JarError
from schemas.kafka import UnusableAccess


def run(spec: Path, build: Build, states: dict[str, dict[str, int]], description: str | None) -> int:
    """Runs the job whose YAML spec is `spec`. Exit codes: 0 stopped, 1 failed, 2 settings refused."""
    name = spec.stem
    kind = SETTINGS[name]
    parser = argparse.ArgumentParser(prog=f"python -m jobs.{name}", description=description)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--local", action="store_true", help="run on this machine; settings lie over the spec's")
    how.add_argument("--client", action="store_true", help="answer requests, a JSON object a line")
    parser.add_argument("--settings", type=Path, required=True, help="a JSON object; --local lays it over the spec")
    arguments = parser.parse_args()
    try:
        if arguments.local:
            return _run_local(name, build, *load_local(kind, spec, arguments.settings))
        if arguments.client:
            settings = kind.model_validate(json.loads(arguments.settings.read_text()))
            return _serve(name, build, states, settings)
        return _add_to_program(name, build, load_application(kind, arguments.settings, os.environ))
    except ValidationError as error:
        print(f"{arguments.settings}: {error}", file=sys.stderr)
        return 2


def _run_local(name: str, build: Build, settings: JobSettings, place: LocalPlace) -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        run_local(name, build, settings, place, stop)
    except (JobFailed, JvmFailed, JarError, StateMismatch, UnusableAccess) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(name: str, build: Build, states: dict[str, dict[str, int]], settings: JobSettings) -> int:
    from pipelines.flink.client import Job, serve

    try:
        serve(Job(name, build, states, settings), sys.stdin, sys.stdout)
    except (JvmFailed, JarError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


def _add_to_program(name: str, build: Build, settings: JobSettings) -> int:
    from pyflink.datastream import StreamExecutionEnvironment

    from pipelines.flink.client import configured, job_options

    env = StreamExecutionEnvironment.get_execution_environment(configured(job_options(settings)))
    build(env, settings)
    env.execute(name)
    return 0
