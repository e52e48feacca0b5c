"""The pure steps on one core: spans per second of each, and where the time of `observe` goes."""

import cProfile
import pstats
import time

import pyarrow as pa

from benchmarks.embedded import Figure
from benchmarks.traffic import SPANS_PER_REQUEST, requests, template
from schemas.arrow import RAW
from schemas.limits import LIMITS
from schemas.price_book import compile_book
from transforms.observe import observe
from transforms.step import apply
from transforms.traces import AssembleSettings, make_assemble

REQUESTS_PER_BATCH, BATCHES = 50, 12


def _batch(number: int, templates: list) -> pa.Table:
    now = time.time_ns()
    bodies = requests(templates, REQUESTS_PER_BATCH, now, number)
    rows = [
        {"topic": "spans.raw", "partition": 0, "offset": number * REQUESTS_PER_BATCH + i, "org": "local", "team": "",
         "key_id": "", "signal": "traces", "redact": True, "received_at": now, "body": body}
        for i, body in enumerate(bodies)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, RAW)


def measure(say) -> list[Figure]:
    """Times observe and assemble over batches of 4,950 spans, after one batch to warm up."""
    say("timing the pure steps")
    templates = [template(i) for i in range(8)]
    batches = [_batch(number, templates) for number in range(BATCHES)]
    book = compile_book()
    observe(batches[0], book, LIMITS, "benchmark")
    profile = cProfile.Profile()
    began = time.perf_counter()
    skeletons = [observe(batch, book, LIMITS, "benchmark").skeletons for batch in batches[1:]]
    took = time.perf_counter() - began
    profile.runcall(observe, batches[0], book, LIMITS, "benchmark")
    spans = SPANS_PER_REQUEST * REQUESTS_PER_BATCH * (BATCHES - 1)
    figures = [Figure("observe, one core", f"{spans / took:,.0f} spans/s"), *_shares(profile)]
    return [*figures, _assemble(skeletons, spans)]


def _shares(profile: cProfile.Profile) -> list[Figure]:
    """Cumulative time of each step's own function as a share of the whole."""
    stats = pstats.Stats(profile)
    times = {(file, name): row[3] for (file, _, name), row in stats.stats.items()}  # pyright: ignore[reportAttributeAccessIssue]
    whole = max(value for (_, name), value in times.items() if name == "observe")
    steps = ["decode", "normalise", "messages", "price", "redact_text"]
    found = {s: max((v for (f, n), v in times.items() if n == s and "transforms" in f), default=0.0) for s in steps}
    return [Figure(f"  of it {name}", f"{value / whole:.0%}") for name, value in found.items()]


def _assemble(skeletons: list[pa.Table], spans: int) -> Figure:
    fold, state = make_assemble(AssembleSettings()), {}
    began = time.perf_counter()
    for number, rows in enumerate(skeletons):
        step = fold(state, rows, time.time_ns() + number * 10**9)
        state = apply(state, step.writes)
    return Figure("assemble and bill, one core", f"{spans / (time.perf_counter() - began):,.0f} spans/s")
