"""`make bench`: every figure in one run. Figures of a shared machine are rough: compare ratios of one run."""

import os
import platform
import sys

from benchmarks import captures, embedded, steps


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    for figure in [*steps.measure(say), *captures.measure(say), *embedded.measure(say)]:
        print(f"{figure.what:<45} {figure.value}", flush=True)


if __name__ == "__main__":
    main()
