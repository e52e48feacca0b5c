"""The observe job as a process of its own between a real broker and a real store: start, stop, death, resume."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer

from cli.local.broker import Broker, create_topic
from integration_tests.traffic import all_files, renamed, span_count
from pipelines.jars import fetch, jar_folder, java
from pipelines.migrate import migrate
from pipelines.ports import free_port
from pipelines.store import StoreSettings, connect_creating, wait_ready

ROOT = Path(__file__).parent.parent
TOPIC = "spans.raw"
Headers = list[tuple[str, str | bytes | None]]
HEADERS: Headers = [("org", b"acme"), ("team", b""), ("key_id", b""), ("signal", b"traces"), ("redact", b"0")]

pytestmark = pytest.mark.timeout(400)


@dataclass
class Ground:
    """A broker and a store to run the job between."""

    broker: str
    store: StoreSettings

    def send(self, *bodies: bytes, headers: Headers = HEADERS) -> None:
        producer = Producer({"bootstrap.servers": self.broker, "acks": "all"})
        for number, body in enumerate(bodies):
            producer.produce(TOPIC, body, partition=number % 2, headers=headers)
        assert producer.flush(30) == 0

    def number(self, sql: str) -> int:
        with connect_creating(self.store) as client:
            return client.query(sql).result_rows[0][0]


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("ground")
    broker = Broker(folder / "broker", java(), fetch("broker", jar_folder(), print), folder / "broker.log")
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
        create_topic(broker.address, TOPIC, 2)
        wait_ready(settings, 60)
        with connect_creating(settings) as client:
            migrate(client, ROOT / "schemas" / "clickhouse", time.time_ns())
        yield Ground(broker.address, settings)
    finally:
        broker.kill()
        store.kill()
        store.wait()


class Job:
    """`python -m jobs.observe --local` on a folder."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "job.out"
        asked = {"brokers": ground.broker, "store_url": ground.store.url, "folder": str(folder / "state")}
        (folder / "settings.json").write_text(json.dumps(asked | {"quiet_gap_s": 1}))

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


@pytest.fixture
def job(ground, tmp_path) -> Iterator[Job]:
    made = Job(ground, tmp_path)
    yield made
    made.end()


def wait_for(happened: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_job_that_was_killed_goes_on_where_it_was_and_one_that_is_told_to_stops(ground, job):
    bodies = [renamed(path.read_bytes(), "job") for path in all_files()]
    job.start()
    ground.send(*bodies)
    wait_for(lambda: ground.number("SELECT sum(span_count) FROM traces") > 0)
    job.process.send_signal(signal.SIGKILL)
    job.process.wait()
    wait_for(lambda: not job.java.is_running() or job.java.status() == psutil.STATUS_ZOMBIE, 5)
    before = ground.number("SELECT count() FROM requests")

    more = [renamed(path.read_bytes(), "more") for path in all_files()]
    ground.send(*more, b"\xff\xff", headers=HEADERS)
    ground.send(more[0], headers=[("signal", b"traces")])
    job.start()
    wait_for(lambda: ground.number("SELECT count() FROM requests") == len(bodies) + len(more) + 2)
    assert before <= len(bodies)
    distinct = ground.number("SELECT count() FROM spans")
    assert distinct == ground.number("SELECT uniqExact(trace_id, span_id) FROM spans") > 300
    received = sum(map(span_count, bodies + more)) + 2
    assert ground.number("SELECT sum(written) FROM requests") == received - 2
    assert ground.number("SELECT sum(dead_lettered) FROM requests") == 2
    assert ground.number("SELECT count() FROM dead_letters WHERE error = 'MissingTenant'") == 1
    wait_for(lambda: ground.number("SELECT sum(span_count) FROM traces") == distinct)

    job.process.send_signal(signal.SIGTERM)
    assert job.process.wait(30) == 0
    assert not job.java.is_running() or job.java.status() == psutil.STATUS_ZOMBIE
    assert "Traceback" not in job.out.read_text()


def test_a_job_whose_java_died_says_so_and_fails(ground, job):
    job.start()
    job.java.kill()
    assert job.process.wait(30) == 1
    assert "observe: Java ended with -9" in job.out.read_text()


@pytest.mark.parametrize("wrong", [{"buckets": 0}, {"colour": "red"}])
def test_settings_that_make_no_sense_are_refused_with_2(ground, job, wrong):
    path = job.folder / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    command = [sys.executable, "-m", "jobs.observe", "--local", "--settings", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert next(iter(wrong)) in done.stderr
