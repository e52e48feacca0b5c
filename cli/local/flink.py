"""A Flink session cluster from the apache-flink package: ZooKeeper, JobManager and TaskManagers on loopback.

ZooKeeper (Flink brings it) keeps what a JobManager must find again after its death: which jobs ran, and their newest
checkpoints. So a JobManager that was killed, or a whole cluster that was stopped, goes on with its jobs.
"""

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pyflink
from pyflink.pyflink_gateway_server import KEY_ENV_JAVA_OPTS, read_from_config
from ruamel.yaml import YAML

from cli.exits import Exit, Failure
from cli.local.process import Child
from pipelines.jars import java
from pipelines.ports import free_port

_FLINK = Path(pyflink.__file__).parent
_SETTINGS = Path(__file__).parents[2] / "flink-conf" / "cluster.yaml"
_ZOOKEEPER = """\
tickTime=2000
maxClientCnxns=0
admin.enableServer=false
clientPortAddress=127.0.0.1
clientPort={client}
dataDir={data}
server.1=127.0.0.1:{peer}:{election}
"""


@dataclass(frozen=True)
class FlinkFolder:
    """Where a session cluster keeps its settings, jars, logs, checkpoints and savepoints, and its ports."""

    folder: Path
    rest_port: int
    zookeeper_port: int
    state_backend: str

    @property
    def checkpoints(self) -> str:
        return (self.folder / "checkpoints").resolve().as_uri()

    @property
    def savepoints(self) -> str:
        return (self.folder / "savepoints").resolve().as_uri()

    def write(self, jars: Sequence[Path]) -> None:
        """Writes settings and logging, and lays Flink's jars and `jars` into one folder of links."""
        for name in ("conf", "lib", "log", "checkpoints", "savepoints", "ha", "tmp", "zookeeper"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for link in (self.folder / "lib").iterdir():
            link.unlink()
        # flink-python in Flink's own class path: a second Python job in one TaskManager would fail otherwise.
        for jar in (*(_FLINK / "lib").glob("*.jar"), *(_FLINK / "opt").glob("flink-python*.jar"), *jars):
            (self.folder / "lib" / jar.name).symlink_to(jar.resolve())
        for name in ("log4j-console.properties", "log4j-cli.properties"):
            shutil.copy(_FLINK / "conf" / name, self.folder / "conf" / name)
        zookeeper = _ZOOKEEPER.format(
            client=self.zookeeper_port, data=self.folder / "zookeeper", peer=free_port(), election=free_port()
        )
        (self.folder / "conf" / "zoo.cfg").write_text(zookeeper)
        with (self.folder / "conf" / "config.yaml").open("w") as out:
            YAML().dump(self._options(), out)

    def _options(self) -> dict[str, str]:
        return {key: str(value) for key, value in YAML(typ="safe").load(_SETTINGS).items()} | {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.bind-host": "127.0.0.1",
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": str(self.rest_port),
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "high-availability.type": "zookeeper",
            "high-availability.zookeeper.quorum": f"127.0.0.1:{self.zookeeper_port}",
            "high-availability.zookeeper.path.root": "/spanmill",
            # So long is a dead JobManager still taken for the leader.
            "high-availability.zookeeper.client.session-timeout": "10s",
            "zookeeper.sasl.disable": "true",
            "high-availability.storageDir": (self.folder / "ha").resolve().as_uri(),
            "execution.checkpointing.dir": self.checkpoints,
            "execution.checkpointing.savepoint-dir": self.savepoints,
            "state.backend.type": self.state_backend,
            "io.tmp.dirs": str((self.folder / "tmp").resolve()),
            "env.java.home": str(java().parent.parent),
            "env.java.opts.all": read_from_config(KEY_ENV_JAVA_OPTS, "", str(_FLINK / "conf")),
            "env.java.opts.taskmanager": "-XX:+UseG1GC -XX:+ExitOnOutOfMemoryError",
        }

    def _environment(self) -> Mapping[str, str]:
        return {
            "FLINK_CONF_DIR": str(self.folder / "conf"),
            "FLINK_LIB_DIR": str(self.folder / "lib"),
            "FLINK_LOG_DIR": str(self.folder / "log"),
            "FLINK_PID_DIR": str(self.folder / "tmp"),
            # Python in a TaskManager takes its library from the first `python3` on PATH: it must be this one.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }

    def process(self, name: str, script: str, log: Path, *arguments: str) -> Child:
        command = [str(_FLINK / "bin" / script), "start-foreground", *arguments]
        return Child(name, command, log, self._environment())


def zookeeper(flink: FlinkFolder, log: Path) -> Child:
    return flink.process("zookeeper", "zookeeper.sh", log, "1")


def job_manager(flink: FlinkFolder, log: Path, metrics_port: int) -> Child:
    return flink.process("jobmanager", "jobmanager.sh", log, "-D", f"metrics.reporter.prom.port={metrics_port}")


def task_manager(flink: FlinkFolder, name: str, log: Path, metrics_port: int) -> Child:
    """`name` is its resource id too: one that starts again takes the place of the dead one at once."""
    options = ("-D", f"metrics.reporter.prom.port={metrics_port}", "-D", f"taskmanager.resource-id={name}")
    return flink.process(name, "taskmanager.sh", log, *options)


def wait_task_managers(rest: str, count: int, timeout: float) -> None:
    """Returns when `count` TaskManagers have registered. Raises Failure after `timeout` seconds."""
    deadline, found = time.monotonic() + timeout, 0
    while time.monotonic() < deadline:
        try:
            found = httpx2.get(f"{rest}/overview", timeout=5).raise_for_status().json()["taskmanagers"]
            if found >= count:
                return
        except (httpx2.HTTPError, ValueError):
            pass
        time.sleep(0.1)
    what = f"{found} of {count} TaskManagers have registered at {rest} within {timeout:.0f} s"
    raise Failure(what, "see jobmanager.log and taskmanager-*.log in the data folder", Exit.TIMED_OUT)
