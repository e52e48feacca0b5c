"""The crash suite as data: a scenario is a seed, a state backend, and faults at moments; the seed replays it."""

import random
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from integration_tests.chaos.faults import FAULTS, MOMENTS, Scene
from integration_tests.chaos.proxy import StoreProxy
from integration_tests.local_cluster import LocalCluster
from integration_tests.tables import Tables, compare, post_until_acknowledged, requests

_CHECKPOINTS_MB = 64
_HORIZON_S = 3 * 3600
_SEND_S = 20.0  # over which the requests are spread when nothing fails

Say = Callable[[str], None]


@dataclass(frozen=True)
class Scenario:
    seed: int
    backend: str  # hashmap | rocksdb
    steps: tuple[tuple[str, str], ...]  # (moment, fault)

    def __str__(self) -> str:
        steps = ", ".join(f"{fault} ({moment})" for moment, fault in self.steps)
        return f"seed {self.seed}, {self.backend}: {steps}"


def drawn(seed: int, faults: int) -> Scenario:
    """The scenario of `seed`: `faults` different ones at drawn moments."""
    draw = random.Random(seed)
    chosen = draw.sample(sorted(FAULTS), faults)
    steps = tuple((draw.choice(sorted(MOMENTS)), fault) for fault in chosen)
    return Scenario(seed, draw.choice(["hashmap", "rocksdb"]), steps)


def play(
    scenario: Scenario, folder: Path, undisturbed: Tables, say: Say, longest_s: float = 600, lies: int = 0
) -> None:
    """Runs a scenario on a cluster of its own. Raises AssertionError when the tables are not those of `undisturbed`.

    longest_s: of any pause. lies: inserts of spans that are acknowledged and dropped, a planted fault.
    """
    cluster = LocalCluster(folder / "data", "--state-backend", scenario.backend)
    disk = _small_disk(folder / "data" / "flink" / "checkpoints")
    proxy = None
    try:
        cluster.up()
        proxy = StoreProxy(cluster.running.store)
        # A trace whose spans come further apart than the horizon is shown in fragments; no fault lasts that long.
        cluster.deploy("--set", f"store_url={proxy.url}", "--set", f"horizon_s={_HORIZON_S}")
        scene = Scene(cluster, proxy, random.Random(scenario.seed), longest_s)
        bodies, done = requests(scenario.seed), threading.Event()
        pause = _SEND_S / len(bodies) if scenario.steps else 0
        sender = threading.Thread(target=post_until_acknowledged, args=(cluster, bodies, done, pause), daemon=True)
        sender.start()
        proxy.lie = lies
        for moment, fault in scenario.steps:
            if not disk and fault == "disk of checkpoints full":
                say(f"left out, only root can mount a small disk: {fault}")
                continue
            MOMENTS[moment](scene)
            say(f"{fault} ({moment})")
            FAULTS[fault](scene)
            scene.wait_running()
        assert done.wait(300), "not all requests were acknowledged"
        compare(cluster, undisturbed, timeout=300)
    finally:
        cluster.kill_all()
        if proxy:
            proxy.close()
        if disk:
            subprocess.run(["umount", "-l", str(folder / "data" / "flink" / "checkpoints")], check=True)


def _small_disk(folder: Path) -> bool:
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_CHECKPOINTS_MB}m", "tmpfs", str(folder)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0
