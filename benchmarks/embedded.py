"""The embedded profile end to end: throughput, acknowledgement, freshness, disk, memory."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.poster import probe
from benchmarks.traffic import SPANS_PER_REQUEST
from cli.client import connect, rows
from cli.commands.status import Progress, progress, wait_caught_up
from cli.local.embedded import Embedded
from cli.local.profile import Profile, Running

WARM_UP, FULL_SPEED, STEADY = 300, 3_000, 900  # requests
STEADY_RATE = 30.0  # requests a second


@dataclass(frozen=True)
class Figure:
    """One measured number, as it is printed."""

    what: str
    value: str


def measure(say) -> list[Figure]:
    """Starts the product on a folder of its own, drives it, and stops it."""
    with tempfile.TemporaryDirectory(prefix="spanmill-bench-") as folder:
        profile = Profile(Path(folder), http_port=0, grpc_port=0, sql_port=0, budget_grpc_port=0, budget_http_port=0)
        supervisor = Embedded(profile, say)
        running = supervisor.start()
        try:
            say("warming up")
            _post(running, WARM_UP, 1)
            wait_caught_up(running, 300)
            figures = _full_speed(running, say)
            figures += _steady(running, say)
            figures += _disk(running)
            return figures + _memory(running)
        finally:
            supervisor.stop()


def _poster(running: Running, count: int, seed: int, rate: float = 0.0) -> subprocess.Popen[str]:
    args = [sys.executable, "-m", "benchmarks.poster", running.gateway, str(count), str(seed), str(rate)]
    return subprocess.Popen(args, stdout=subprocess.PIPE, text=True)


def _post(running: Running, count: int, seed: int, rate: float = 0.0) -> dict:
    out, _ = _poster(running, count, seed, rate).communicate()
    return json.loads(out)


def _cpu(running: Running) -> dict[str, float]:
    """CPU seconds used so far by each part with all that it started."""
    used = {}
    for name, pid in running.pids.items():
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        used[name] = sum(p.cpu_times().user + p.cpu_times().system for p in tree)
    return used


def _full_speed(running: Running, say) -> list[Figure]:
    say(f"posting {FULL_SPEED * SPANS_PER_REQUEST:,} spans at full speed")
    before = _cpu(running)
    said = _post(running, FULL_SPEED, 1_000)
    queryable = _when(running, lambda now: now.records == 0)
    traced = _when(running, lambda now: now.caught_up)
    after = _cpu(running)
    spans = said["spans"]
    figures = [
        Figure("acknowledged", f"{spans / (said['ended'] - said['began']):,.0f} spans/s"),
        Figure("end to end, queryable in spans", f"{spans / (queryable - said['began']):,.0f} spans/s"),
        Figure("end to end, queryable in traces", f"{spans / (traced - said['began']):,.0f} spans/s"),
        Figure("bytes a span on the wire", f"{said['bytes'] / spans:,.0f}"),
    ]
    return figures + [
        Figure(f"CPU of the {name}", f"{(after[name] - before[name]) / spans * 1e6:,.1f} µs/span") for name in after
    ]


def _when(running: Running, reached: Callable[[Progress], bool]) -> float:
    """The unix time at which the job had come so far."""
    client = connect(running)
    while not reached(progress(client, running)):
        time.sleep(0.2)
    return time.time()


def _steady(running: Running, say) -> list[Figure]:
    say(f"posting {STEADY_RATE * SPANS_PER_REQUEST:,.0f} spans/s for {STEADY / STEADY_RATE:.0f} s")
    poster = _poster(running, STEADY, 2_000, STEADY_RATE)
    spans, traces = _freshness(running, poster)
    said = json.loads(poster.communicate()[0])
    taken = said["taken"]
    return [
        Figure(
            "acknowledgement of 99 spans, p50 p95 p99",
            " ".join(f"{_at(taken, q) * 1e3:.1f} ms" for q in (0.5, 0.95, 0.99)),
        ),
        Figure("freshness in spans, p50 p95", " ".join(f"{_at(spans, q):.2f} s" for q in (0.5, 0.95))),
        Figure("freshness in traces, p50 p95", " ".join(f"{_at(traces, q):.2f} s" for q in (0.5, 0.95))),
    ]


def _freshness(running: Running, poster: subprocess.Popen[str]) -> tuple[list[float], list[float]]:
    """Seconds from the acknowledgement of a probe to its sight in `spans` and in `traces`, under the poster's load."""
    client = connect(running)
    waiting: dict[str, tuple[str, float]] = {}
    seen: dict[str, list[float]] = {"spans": [], "traces": []}
    last = 0.0
    while poster.poll() is None or waiting:
        if poster.poll() is None and time.time() - last > 0.5:
            trace_id = probe(running.gateway)
            last = time.time()
            waiting |= {f"{table} {trace_id}": (table, last) for table in seen}
        for key, (table, since) in list(waiting.items()):
            if rows(
                client,
                f"SELECT 1 FROM {table} WHERE org = 'local' AND trace_id = {{t:String}}",
                {"t": key.split()[1]},
            ).rows:
                seen[table].append(time.time() - since)
                del waiting[key]
        time.sleep(0.02)
    return sorted(seen["spans"]), sorted(seen["traces"])


def _at(ordered: list[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


def _disk(running: Running) -> list[Figure]:
    client = connect(running)
    for table in ("spans_data", "messages_data", "traces_data", "usage_data"):
        client.command(f"OPTIMIZE TABLE {table} FINAL")
    sizes = rows(
        client,
        "SELECT table, sum(bytes_on_disk) AS bytes FROM system.parts WHERE active AND database = currentDatabase()"
        " GROUP BY table",
    ).rows
    spans = rows(client, "SELECT count() AS n FROM spans").rows[0]["n"]
    by_table = {row["table"]: row["bytes"] / spans for row in sizes}
    bodies = by_table.get("messages_data", 0.0)
    whole = sum(by_table.values())
    figures = [Figure("disk a span without and with bodies", f"{whole - bodies:,.0f} and {whole:,.0f} bytes")]
    return figures + [Figure(f"  of it {name}", f"{size:,.1f} bytes") for name, size in sorted(by_table.items())]


def _memory(running: Running) -> list[Figure]:
    figures = []
    for name, pid in running.pids.items():
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        figures.append(Figure(f"memory of the {name}", f"{sum(p.memory_info().rss for p in tree) / 2**20:,.0f} MB"))
    return figures
