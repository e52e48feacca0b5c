"""`make chaos SEEDS=20`: drawn scenarios at full length, the seed of each printed; `SEED=17` plays one again."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from integration_tests.chaos.scenarios import drawn, play
from integration_tests.tables import undisturbed_run

_FAULTS = 4


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def main() -> int:
    """Exit code 1 when a scenario failed."""
    parser = argparse.ArgumentParser(prog="python -m integration_tests.chaos", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", type=int, help="how many scenarios to draw")
    which.add_argument("--seed", type=int, help="the one to play again")
    parser.add_argument("--longest", type=float, default=600, help="seconds that no pause is longer than")
    asked = parser.parse_args()
    seeds = [asked.seed] if asked.seed is not None else [random.randrange(2**31) for _ in range(asked.seeds)]
    failed = []
    with tempfile.TemporaryDirectory(prefix="spanmill-chaos-") as folder:
        undisturbed = undisturbed_run(Path(folder))
        for seed in seeds:
            scenario, began = drawn(seed, _FAULTS), time.monotonic()
            print(scenario, flush=True)
            try:
                play(scenario, Path(folder) / str(seed), undisturbed, _say, asked.longest)
            except AssertionError as error:
                failed.append(seed)
                print(f"FAILED: {str(error)[:2_000]}", flush=True)
            print(f"{'FAILED' if seed in failed else 'equal'} after {time.monotonic() - began:.0f} s", flush=True)
    print(f"{len(seeds) - len(failed)} passed, {len(failed)} failed")
    for seed in failed:
        print(f"make chaos SEED={seed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
