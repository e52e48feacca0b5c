"""One Kafka broker (KRaft: broker and controller in one process) from its jars, every append synced to disk."""

import base64
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cli.exits import Exit, Failure
from cli.local.process import Child
from pipelines.ports import free_port
from schemas.topics import MAX_RECORD_BYTES

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={logs}
log.flush.interval.messages=1
log.message.timestamp.type=LogAppendTime
log.segment.bytes=134217728
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
message.max.bytes={record}
replica.fetch.max.bytes={record}
"""

_LOGGING = """\
Configuration:
  status: WARN
  Appenders:
    Console: {name: OUT, target: SYSTEM_OUT, PatternLayout: {pattern: "%d{ISO8601} %p %c{1} %m%n"}}
  Loggers:
    Root: {level: WARN, AppenderRef: [{ref: OUT}]}
"""


def _cluster_id() -> str:
    # A leading '-' would be read as an option by the format tool.
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1)


class Broker(Child):
    """A broker on loopback whose data live in `folder`; started again on the same folder it goes on where it was."""

    def __init__(self, folder: Path, java: Path, jars: Sequence[Path], log: Path, port: int = 0) -> None:
        self.folder = folder
        self.java = java
        self.port = port or free_port()
        self.classpath = ":".join(str(jar) for jar in jars)
        properties, logging = folder / "server.properties", folder / "log4j2.yaml"
        super().__init__(
            "broker",
            [
                str(java),
                *(
                    "-cp",
                    self.classpath,
                    "-Xms256m",
                    "-Xmx384m",
                    "-XX:+UseSerialGC",
                    "-XX:+ExitOnOutOfMemoryError",
                ),
                *("-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={logging}"),
                *("kafka.Kafka", str(properties)),
            ],
            log,
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(self.properties())
        (self.folder / "log4j2.yaml").write_text(_LOGGING)
        if not (self._logs / "meta.properties").exists():
            self._format(properties)
        super().start()

    @property
    def _logs(self) -> Path:
        return self.folder / "data"

    def properties(self) -> str:
        """The broker's own settings, for this start."""
        return _PROPERTIES.format(port=self.port, controller=free_port(), logs=self._logs, record=MAX_RECORD_BYTES)

    def _format(self, properties: Path) -> None:
        tool = [str(self.java), "-cp", self.classpath, "kafka.tools.StorageTool", "format"]
        done = subprocess.run(
            [*tool, "-t", _cluster_id(), "-c", str(properties)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise Failure(f"the broker's log could not be formatted: {done.stdout}{done.stderr}".strip())

    def wait_ready(self, timeout: float) -> str:
        """Waits until the broker answers. Raises Failure when it dies or is late."""
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.alive:
                raise Failure(f"the broker ended while starting:\n{self.tail()}", f"see {self.log}")
            try:
                if admin.list_topics(timeout=0.5).brokers:
                    return f"ready kafka={self.address}"
            except KafkaException:
                time.sleep(0.05)
        raise Failure(f"the broker did not answer within {timeout:.0f} s", f"see {self.log}", Exit.TIMED_OUT)
