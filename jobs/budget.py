"""The budget job: the log of budgets from Kafka to decisions. pipelines/flink/entry.py says how it is run."""

import sys
from pathlib import Path

from pipelines.flink.budget import STATES, build
from pipelines.flink.entry import run

SPEC = Path(__file__).with_suffix(".yaml")


def main() -> int:
    return run(SPEC, build, STATES, __doc__)


if __name__ == "__main__":
    sys.exit(main())
