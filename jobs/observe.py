"""The observe job. `python -m jobs.observe --local --settings FILE.json` runs it in a Flink of its own."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from pydantic import ValidationError

from pipelines.flink.checkpoints import StateMismatch
from pipelines.flink.jvm import JvmFailed
from pipelines.flink.local import JobFailed, run_local
from pipelines.flink.observe import build
from pipelines.flink.settings import load_local
from pipelines.jars import JarError

SPEC = Path(__file__).with_suffix(".yaml")


def main() -> int:
    """Exit codes: 0 stopped, 1 failed, 2 settings refused."""
    parser = argparse.ArgumentParser(prog="python -m jobs.observe", description=__doc__)
    parser.add_argument("--local", action="store_true", required=True, help="run on this machine")
    parser.add_argument("--spec", type=Path, default=SPEC, help="defaults, YAML")
    parser.add_argument("--settings", type=Path, required=True, help="JSON object laid over the defaults")
    arguments = parser.parse_args()
    try:
        settings = load_local(arguments.spec, arguments.settings)
    except ValidationError as error:
        print(f"{arguments.settings}: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        run_local("observe", build, settings, stop)
    except (JobFailed, JvmFailed, JarError, StateMismatch) as error:
        print(f"observe: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
