"""What can go wrong with a cluster, and when: each fault heals itself before it returns."""

import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli.exits import Failure
from integration_tests.chaos.proxy import StoreProxy
from integration_tests.local_cluster import LocalCluster, start_command


@dataclass(frozen=True)
class Scene:
    """The cluster under test. longest_s: no pause is longer than this."""

    cluster: LocalCluster
    proxy: StoreProxy
    draw: random.Random
    longest_s: float

    def wait_running(self, timeout: float = 180) -> None:
        """Returns when all tasks of observe run."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                live = self.cluster.rest.running("observe")
                if live and self.cluster.rest.job(live[0]).all_running:
                    return
            except Failure:
                pass  # a JobManager that comes back
            assert time.monotonic() < deadline, "observe does not run again"
            time.sleep(0.2)

    def wait_restarted(self, name: str, timeout: float = 300) -> None:
        """Returns when the supervisor has started `name` again."""
        before, deadline = self.cluster.running.pids[name], time.monotonic() + timeout
        while self.cluster.running.pids[name] == before:
            assert time.monotonic() < deadline, f"{name} was not started again"
            time.sleep(0.1)

    def task_manager(self) -> str:
        return self.draw.choice([name for name in self.cluster.running.pids if name.startswith("taskmanager")])


def _kill(scene: Scene, name: str) -> None:
    scene.cluster.kill(name)
    scene.wait_restarted(name)


def _pause(scene: Scene, name: str, seconds: float) -> None:
    scene.cluster.pause(name)
    time.sleep(min(seconds, scene.longest_s))
    scene.cluster.resume(name)


def _kill_task_manager(scene: Scene) -> None:
    _kill(scene, scene.task_manager())


def _kill_two_task_managers(scene: Scene) -> None:
    for name in [name for name in scene.cluster.running.pids if name.startswith("taskmanager")]:
        scene.cluster.kill(name)
        scene.wait_restarted(name)


def _pause_task_manager(scene: Scene) -> None:
    _pause(scene, scene.task_manager(), 60)


def _swallow(scene: Scene) -> None:
    """Replies to the next inserts are lost after the store has carried them out."""
    before = scene.proxy.swallowed
    scene.proxy.swallow = 3
    deadline = time.monotonic() + 60
    while scene.proxy.swallowed == before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert scene.proxy.swallowed > before, "no reply could be swallowed: nothing was inserted"


def _rescale(scene: Scene) -> None:
    """Stops with a savepoint and starts from it at another parallelism."""
    now = scene.cluster.job_json("history", "observe")[0]["parallelism"]
    scene.cluster.deploy("--parallelism", "1" if now == 2 else "2", "--set", f"store_url={scene.proxy.url}")


def _kill_in_savepoint(scene: Scene) -> None:
    """A TaskManager dies while the job is being stopped with a savepoint: half a savepoint must never be chosen."""
    stopping = start_command("job", "stop", "observe", "--data", str(scene.cluster.data))
    savepoints = Path(scene.cluster.running.savepoints.removeprefix("file://"))
    before, deadline = set(savepoints.glob("*")), time.monotonic() + 60
    while set(savepoints.glob("*")) == before and stopping.poll() is None:
        assert time.monotonic() < deadline, "no savepoint was begun"
    _kill_task_manager(scene)
    stopping.communicate(timeout=400)
    scene.cluster.deploy("--set", f"store_url={scene.proxy.url}")


def _slow_store(scene: Scene) -> None:
    """Every answer of the store takes half a second more, and one connection in ten breaks."""
    scene.proxy.delay_s, scene.proxy.reset_share = 0.5, 0.1
    time.sleep(20)
    scene.proxy.delay_s, scene.proxy.reset_share = 0.0, 0.0


def _full_checkpoints(scene: Scene) -> None:
    """The disk of the checkpoints is full; the job must not read on past what it can keep."""
    folder = Path(scene.cluster.running.checkpoints.removeprefix("file://"))
    filler = folder / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=1M"], capture_output=True, check=False)
    job = scene.cluster.rest.running("observe")[0]
    before = scene.cluster.rest.checkpoints(job)["counts"]["failed"]
    deadline = time.monotonic() + 60
    try:
        while scene.cluster.rest.checkpoints(job)["counts"]["failed"] == before:
            assert time.monotonic() < deadline, "checkpoints went on with a full disk"
            time.sleep(0.2)
    finally:
        filler.unlink()


Fault = Callable[[Scene], None]

FAULTS: dict[str, Fault] = {
    "kill taskmanager": _kill_task_manager,
    "kill all taskmanagers": _kill_two_task_managers,
    "kill jobmanager": lambda scene: _kill(scene, "jobmanager"),
    "kill zookeeper": lambda scene: _kill(scene, "zookeeper"),
    "kill gateway": lambda scene: _kill(scene, "gateway"),
    "kill store": lambda scene: _kill(scene, "store"),
    "kill broker": lambda scene: _kill(scene, "broker"),
    "kill postgres": lambda scene: _kill(scene, "postgres"),
    "pause taskmanager 60 s": _pause_task_manager,
    "pause gateway 60 s": lambda scene: _pause(scene, "gateway", 60),
    "pause store 60 s": lambda scene: _pause(scene, "store", 60),
    "broker unreachable 10 min": lambda scene: _pause(scene, "broker", 600),
    "kill taskmanager in a savepoint": _kill_in_savepoint,
    "store replies swallowed": _swallow,
    "store slow and breaking off": _slow_store,
    "rescale from savepoint": _rescale,
    "disk of checkpoints full": _full_checkpoints,
}


def _any_time(scene: Scene) -> None:
    time.sleep(scene.draw.uniform(0.2, 3.0))


def _in_checkpoint(scene: Scene) -> None:
    """While a checkpoint is in progress, if one is seen within ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        live = scene.cluster.rest.running("observe")
        if live and scene.cluster.rest.checkpoints(live[0])["counts"]["in_progress"]:
            return


def _after_checkpoint(scene: Scene) -> None:
    """Right after a checkpoint: all that is written from here on will be written again."""
    job = scene.cluster.rest.running("observe")[0]
    before = scene.cluster.rest.checkpoints(job)["counts"]["completed"]
    deadline = time.monotonic() + 10
    while scene.cluster.rest.checkpoints(job)["counts"]["completed"] == before and time.monotonic() < deadline:
        pass
    time.sleep(scene.draw.uniform(0.5, 1.5))


MOMENTS: dict[str, Callable[[Scene], None]] = {
    "any time": _any_time,
    "in a checkpoint": _in_checkpoint,
    "between checkpoints": _after_checkpoint,
}
