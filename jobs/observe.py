"""The observe job: OTLP records from Kafka to rows in ClickHouse. pipelines/flink/entry.py says how it is run."""

import sys
from pathlib import Path

from pipelines.flink.entry import run
from pipelines.flink.observe import STATES, build

SPEC = Path(__file__).with_suffix(".yaml")


def main() -> int:
    return run(SPEC, build, STATES, __doc__)


if __name__ == "__main__":
    sys.exit(main())
