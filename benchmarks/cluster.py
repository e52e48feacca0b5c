"""`make bench-cluster`: Kafka to tables on a Flink session cluster, one core against two, recovery, upgrade.

Where the time goes is told three times: the pure steps on one core, the operators' busy time, the processes' CPU.

Broker, TaskManagers and store share this machine: compare ratios of one run, and read rates as a lower bound.
"""

import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from confluent_kafka import Producer

from benchmarks import steps
from benchmarks.embedded import Figure
from benchmarks.traffic import SPANS_PER_REQUEST, requests, template
from cli.client import connect, rows
from cli.commands.status import progress
from cli.jobs.flink_rest import FlinkRest
from cli.local.cluster import Cluster
from cli.local.profile import ClusterProfile, Running

WARM_UP, FULL_SPEED = 400, 8_000  # requests: compilers of Java are done before half of them
STEADY_RATE = 10.0  # requests a second while something happens
# Vertices of the graph of which the time is told; "write ..." waits for the store's inserts.
_OPERATORS = ("batch, observe", "assemble", "bill", "write facts", "write traces")
GOAL = 34_722  # spans/s on 2 cores (requirements)
# What would lower the CPU of a part, said of the part that takes most.
_HINTS = {
    "taskmanager": "the step that has the largest share above",
    "store": "larger inserts, and so fewer merges",
    "broker": "larger records",
}
_HEADERS = {"org": b"local", "team": b"", "key_id": b"", "signal": b"traces", "redact": b"0"}
_SPANMILL = [sys.executable, "-c", "from cli.main import app; app()"]


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


@contextmanager
def cluster(folder: Path, task_managers: int) -> Iterator[Running]:
    """A cluster on `folder` whose dead processes are started again, until the block ends."""
    supervisor = Cluster(
        ClusterProfile(
            folder,
            http_port=0,
            grpc_port=0,
            sql_port=0,
            flink_port=0,
            task_managers=task_managers,
            budget_grpc_port=0,
            budget_http_port=0,
        ),
        say,  # fmt: skip
    )
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.25):
            supervisor.watch()

    running = supervisor.start()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield running
    finally:
        stop.set()
        watcher.join()
        supervisor.stop()


def job(folder: Path, *arguments: str) -> None:
    subprocess.run([*_SPANMILL, "job", *arguments, "--data", str(folder)], check=True, stdout=subprocess.DEVNULL)


class Feed:
    """Writes requests of new spans to the topic."""

    def __init__(self, running: Running) -> None:
        settings = {"bootstrap.servers": running.broker, "compression.type": "lz4", "linger.ms": 5}
        self._producer = Producer(settings | {"message.max.bytes": 32 * 2**20, "queue.buffering.max.kbytes": 2**20})
        self._topic = running.topic
        self._templates = [template(seed) for seed in range(8)]
        self._seed = int(time.time())

    def send(self, count: int) -> None:
        """Returns when the broker has confirmed all of them."""
        self._seed += 1
        for body in requests(self._templates, count, time.time_ns(), self._seed):
            headers = _HEADERS | {"received_at": str(time.time_ns()).encode()}
            self._producer.produce(self._topic, body, headers=list(headers.items()))
            self._producer.poll(0)
        assert self._producer.flush(120) == 0

    @contextmanager
    def steadily(self, rate: float) -> Iterator[None]:
        """Sends `rate` requests a second while the block runs."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(1 / rate):
                self.send(1)

        sender = threading.Thread(target=run)
        sender.start()
        try:
            yield
        finally:
            stop.set()
            sender.join()


def full_speed(folder: Path, running: Running, feed: Feed, parallelism: int) -> tuple[list[Figure], float]:
    """The rate at which a backlog is worked off, and the CPU that each process took for it."""
    job(folder, "deploy", "observe", "--parallelism", str(parallelism))
    feed.send(WARM_UP)
    _caught_up(running)
    job(folder, "stop", "observe")
    say(f"writing {FULL_SPEED * SPANS_PER_REQUEST:,} spans to the log while the job stands still")
    feed.send(FULL_SPEED)
    say(f"working them off with parallelism {parallelism}")
    began_with = _done(running)
    deploying = threading.Thread(target=job, args=(folder, "deploy", "observe", "--parallelism", str(parallelism)))
    deploying.start()
    while _done(running) == began_with:
        time.sleep(0.05)
    first, before, counted_from = time.monotonic(), _cpu(running), _done(running)
    while progress(connect(running), running).records:
        time.sleep(0.1)
    queryable = time.monotonic() - first
    spans = (FULL_SPEED - (counted_from - began_with)) * SPANS_PER_REQUEST
    rate = spans / queryable
    _caught_up(running)
    after = _cpu(running)
    deploying.join()
    name = f"parallelism {parallelism}"
    figures = [Figure(f"{name}: log to tables, full accounting", f"{rate:,.0f} spans/s")]
    cpu = {part: (after[part] - before[part]) / spans * 1e6 for part in after}
    figures += [Figure(f"{name}: CPU of {part}", f"{used:,.1f} µs/span") for part, used in cpu.items() if used >= 0.5]
    figures.append(Figure(f"{name}: next step", _next_step(cpu)))
    rest = FlinkRest(running.flink)
    [live] = rest.running("observe")
    if restarts := rest.job(live).restarts:
        raise SystemExit(f"the job failed {restarts} times under way: {rest.job(live).failure}")
    worked_off = FULL_SPEED * SPANS_PER_REQUEST
    figures += [
        Figure(f"{name}: busy time of {vertex}", f"{busy / worked_off * 1e3:,.1f} µs/span")
        for vertex, busy in rest.busy_ms(live).items()
        if vertex in _OPERATORS
    ]
    return figures, rate


def _next_step(cpu: Mapping[str, float]) -> str:
    """What the goal allows, and where most of it goes. cpu: µs a span by process."""
    parts: dict[str, float] = {}
    for process, used in cpu.items():
        part = process.rstrip("0123456789").rstrip("-")
        parts[part] = parts.get(part, 0) + used
    most = max(parts, key=lambda part: parts[part])
    allowed = (os.cpu_count() or 1) / GOAL * 1e6
    told = f"{sum(parts.values()):.0f} µs of CPU a span, {GOAL:,} spans/s allow {allowed:.0f}"
    return f"{told}; most in {most} ({parts[most]:.0f}): {_HINTS.get(most, 'unexpected')}"


def state(running: Running) -> list[Figure]:
    """Bytes in the newest checkpoint for each span that waits in it, with a horizon of ten minutes."""
    rest = FlinkRest(running.flink)
    [live] = rest.running("observe")
    time.sleep(5)
    size = rest.checkpoints(live)["latest"]["completed"]["state_size"]
    open_spans = rows(
        connect(running), "SELECT count() AS n FROM spans_data FINAL WHERE received_at > now64() - INTERVAL 10 MINUTE"
    ).rows[0]["n"]
    return [
        Figure("state a span that waits", f"{size / open_spans:,.0f} bytes ({open_spans:,} spans)"),
        *(Figure(f"memory of {name}", f"{_memory(pid):,} MB") for name, pid in running.pids.items()),
    ]


def disturbed(running: Running, feed: Feed, what: str, act: Callable[[], None]) -> Figure:
    """The longest time in which no new row came, while `act` runs under steady traffic and until 10 s after it."""
    with feed.steadily(STEADY_RATE):
        time.sleep(5)
        ended = threading.Event()
        acting = threading.Thread(target=lambda: (act(), time.sleep(10), ended.set()))
        acting.start()
        seen, since, longest = _done(running), time.monotonic(), 0.0
        while not ended.is_set() or time.monotonic() - since > 2:
            now = _done(running)
            if now > seen:
                longest = max(longest, time.monotonic() - since)
                seen, since = now, time.monotonic()
            time.sleep(0.02)
        acting.join()
    _caught_up(running)
    return Figure(what, f"{longest:.1f} s without a new row")


def _done(running: Running) -> int:
    return rows(connect(running), "SELECT count() AS n FROM requests").rows[0]["n"]


def _caught_up(running: Running) -> None:
    while not progress(connect(running), running).caught_up:
        time.sleep(0.5)


def _cpu(running: Running) -> dict[str, float]:
    used = {}
    for name, pid in running.pids.items():
        times = psutil.Process(pid).cpu_times()
        used[name] = times.user + times.system
    return used


def _memory(pid: int) -> int:
    return psutil.Process(pid).memory_info().rss // 2**20


def main() -> None:
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="spanmill-bench-") as name:
        folder = Path(name)
        with cluster(folder, 3) as running:
            feed = Feed(running)
            _print(steps.measure(say))
            one, slow = full_speed(folder, running, feed, 1)
            two, fast = full_speed(folder, running, feed, 2)
            _print([*one, *two, Figure("growth from one core to two", f"{fast / slow:.2f}"), *state(running)])
            _print([disturbed(running, feed, "kill -9 of a TaskManager, a spare one waits", _kill(running))])
            _print(
                [disturbed(running, feed, "upgrade", lambda: job(folder, "upgrade", "observe", "--set", "tick_ms=900"))]
            )
        with cluster(folder, 2) as running:
            _print([disturbed(running, Feed(running), "kill -9 of a TaskManager, no spare", _kill(running))])


def _kill(running: Running) -> Callable[[], None]:
    def act() -> None:
        rest = FlinkRest(running.flink)
        [live] = rest.running("observe")
        os.killpg(running.pids[rest.task_managers(live)[0]], 9)
        time.sleep(20)

    return act


def _print(figures: list[Figure]) -> None:
    for figure in figures:
        print(f"{figure.what:<60} {figure.value}", flush=True)


if __name__ == "__main__":
    main()
