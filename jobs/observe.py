"""The observe job: OTLP records from Kafka to rows in ClickHouse.

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
from pipelines.flink.local import JobFailed, run_local
from pipelines.flink.observe import STATES, build
from pipelines.flink.settings import ObserveSettings, load_application, load_local
from pipelines.jars import JarError
from schemas.kafka import UnusableAccess

SPEC = Path(__file__).with_suffix(".yaml")


def main() -> int:
    """Exit codes: 0 stopped, 1 failed, 2 settings refused."""
    parser = argparse.ArgumentParser(prog="python -m jobs.observe", description=__doc__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--local", action="store_true", help="run on this machine; settings lie over the spec's")
    how.add_argument("--client", action="store_true", help="answer requests, a JSON object a line")
    parser.add_argument("--settings", type=Path, required=True, help="a JSON object; --local lays it over the spec")
    arguments = parser.parse_args()
    try:
        if arguments.local:
            return _run_local(arguments.settings)
        if arguments.client:
            return _serve(ObserveSettings.model_validate(json.loads(arguments.settings.read_text())))
        return _add_to_program(load_application(arguments.settings, os.environ))
    except ValidationError as error:
        print(f"{arguments.settings}: {error}", file=sys.stderr)
        return 2


def _run_local(file: Path) -> int:
    settings = load_local(SPEC, file)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        run_local("observe", build, settings, stop)
    except (JobFailed, JvmFailed, JarError, StateMismatch, UnusableAccess) as error:
        print(f"observe: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(settings: ObserveSettings) -> int:
    from pipelines.flink.client import Job, serve

    try:
        serve(Job("observe", build, STATES, settings), sys.stdin, sys.stdout)
    except (JvmFailed, JarError) as error:
        print(f"observe: {error}", file=sys.stderr)
        return 1
    return 0


def _add_to_program(settings: ObserveSettings) -> int:
    from pyflink.datastream import StreamExecutionEnvironment

    from pipelines.flink.client import configured, job_options

    env = StreamExecutionEnvironment.get_execution_environment(configured(job_options(settings)))
    build(env, settings)
    env.execute("observe")
    return 0


if __name__ == "__main__":
    sys.exit(main())
