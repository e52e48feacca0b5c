"""What a job stands on in tests: a real broker and a real store, and the observe job as a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import Producer

from cli.kafka import Brokers
from cli.local.broker import Broker
from cli.topics import bring
from pipelines.jars import fetch, jar_folder, java
from pipelines.migrate import migrate
from pipelines.ports import free_port
from pipelines.store import StoreSettings, connect_creating, wait_ready
from schemas.topics import TOPICS, Topic

ROOT = Path(__file__).parent.parent
TOPIC = "spans.raw"
Headers = list[tuple[str, str | bytes | None]]
HEADERS: Headers = [("org", b"acme"), ("team", b""), ("key_id", b""), ("signal", b"traces"), ("redact", b"0")]


@dataclass
class Ground:
    """A broker and a store to run the job between."""

    broker: str
    store: StoreSettings
    process: Broker

    def send(self, *bodies: bytes, headers: Headers = HEADERS, **settings: str | int) -> None:
        """Writes records to the topic; settings are librdkafka's, with _ for the dot."""
        named = {name.replace("_", "."): value for name, value in settings.items()}
        producer = Producer({"bootstrap.servers": self.broker, "acks": "all", **named})
        for number, body in enumerate(bodies):
            producer.produce(TOPIC, body, partition=number % 2, headers=headers)
        assert producer.flush(30) == 0

    def number(self, sql: str) -> int:
        return next(iter(self.rows(sql)[0].values()))

    def rows(self, sql: str) -> list[dict]:
        with connect_creating(self.store) as client:
            return list(client.query(sql).named_results())


@contextmanager
def laid(folder: Path, kind: type[Broker] = Broker) -> Iterator[Ground]:
    """Starts a broker with the topic and a store with its tables; both are gone afterwards."""
    broker = kind(folder / "broker", java(), fetch("broker", jar_folder(), print), folder / "broker.log")
    settings = StoreSettings(f"http://127.0.0.1:{free_port()}")
    port = settings.url.rsplit(":", 1)[1]
    with (folder / "store.log").open("wb") as log:
        store = subprocess.Popen(
            [sys.executable, "-m", "services.store", "--data", str(folder / "store"), "--port", port],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        broker.start()
        broker.wait_ready(120)
        for topic in (Topic(TOPIC, 2), *(topic for topic in TOPICS if topic.name != TOPIC)):
            bring(Brokers(broker.address), topic)
        wait_ready(settings, 60)
        with connect_creating(settings) as client:
            migrate(client, ROOT / "schemas" / "clickhouse", time.time_ns())
        yield Ground(broker.address, settings, broker)
    finally:
        broker.kill()
        store.kill()
        store.wait()


class Job:
    """`python -m jobs.observe --local` on a folder."""

    def __init__(self, ground: Ground, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.out = folder / "job.out"
        asked = {"brokers": ground.broker, "store_url": ground.store.url, "folder": str(folder / "state")}
        (folder / "settings.json").write_text(json.dumps(asked | {"quiet_gap_s": 1} | settings))

    def start(self) -> "Job":
        command = [sys.executable, "-m", "jobs.observe", "--local", "--settings", str(self.folder / "settings.json")]
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        wait_for(lambda: self.process.poll() is not None or b"ready job=" in self.out.read_bytes(), 180)
        assert self.process.poll() is None, self.out.read_text()
        (self.java,) = psutil.Process(self.process.pid).children()
        return self

    def end(self) -> None:
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()


def wait_for(happened: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)
