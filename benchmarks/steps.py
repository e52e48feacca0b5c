"""The pure steps: spans per second of CPU of each, and where the time of `observe` goes."""

import cProfile
import pstats
import time
from unittest.mock import patch

import pyarrow as pa

from benchmarks.embedded import Figure
from benchmarks.traffic import SPANS_PER_REQUEST, requests, template
from schemas.arrow import METRIC_CHANGES, RAW
from schemas.limits import LIMITS
from schemas.price_book import compile_book
from transforms.folds.step import Fold, apply
from transforms.metrics.fold import MetricsSettings, make_metrics
from transforms.observe import observe
from transforms.traces import evaluate
from transforms.traces.fold import AssembleSettings, make_assemble

REQUESTS_PER_BATCH, BATCHES = 50, 12
_REPEATS = 5  # the least of them: other work on the machine only adds


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
    """Times observe and the folds over batches of 4,950 spans, after one batch to warm up."""
    say("timing the pure steps")
    templates = [template(i) for i in range(8)]
    batches = [_batch(number, templates) for number in range(BATCHES)]
    book = compile_book()
    observe(batches[0], book, LIMITS, "benchmark")
    profile = cProfile.Profile()
    began = time.process_time()
    skeletons = [observe(batch, book, LIMITS, "benchmark").skeletons for batch in batches[1:]]
    took = time.process_time() - began
    profile.runcall(observe, batches[0], book, LIMITS, "benchmark")
    spans = SPANS_PER_REQUEST * REQUESTS_PER_BATCH * (BATCHES - 1)
    figures = [Figure("observe, one core", f"{spans / took:,.0f} spans/s"), *_shares(profile)]
    return [*figures, *_folds(skeletons, spans, took)]


def _shares(profile: cProfile.Profile) -> list[Figure]:
    """Cumulative time of each step's own function as a share of the whole."""
    stats = pstats.Stats(profile)
    times = {(file, name): row[3] for (file, _, name), row in stats.stats.items()}  # pyright: ignore[reportAttributeAccessIssue]
    whole = max(value for (_, name), value in times.items() if name == "observe")
    steps = ["decode", "normalise", "messages", "price", "redact_text"]
    found = {s: max((v for (f, n), v in times.items() if n == s and "transforms" in f), default=0.0) for s in steps}
    return [Figure(f"  of it {name}", f"{value / whole:.0%}") for name, value in found.items()]


def _folds(skeletons: list[pa.Table], spans: int, observed_s: float) -> list[Figure]:
    """The folds over traces and metrics; and what metrics add to all steps: their changes, and their own fold."""
    now = time.time_ns()
    bare, whole, metrics = [], [], []
    for _ in range(_REPEATS):
        with patch.object(evaluate, "changes_of", lambda block: (block.spans["shown"], METRIC_CHANGES.empty_table())):
            bare.append(_run(make_assemble(AssembleSettings()), skeletons, now)[0])
        took, out = _run(make_assemble(AssembleSettings()), skeletons, now)
        whole.append(took)
        changes = [rows for name, rows in out if name == "changes"]
        metrics.append(_run(make_metrics(MetricsSettings(), now - 60 * 10**9), changes, now)[0])
    bare_s, added = min(bare), min(whole) - min(bare) + min(metrics)
    return [
        Figure("assemble, one core", f"{spans / bare_s:,.0f} spans/s"),
        Figure("metrics, one core", f"{spans / added:,.0f} spans/s"),
        Figure("  added to observe and assemble", f"{added / (observed_s + bare_s):.1%}"),
    ]


def _run(fold: Fold, tables: list[pa.Table], now: int) -> tuple[float, list[tuple[str, pa.Table]]]:
    """Seconds, and what was told: a tick for each of `tables`."""
    state, out = {}, []
    began = time.process_time()
    for number, rows in enumerate(tables):
        step = fold(state, rows, now + number * 10**9)
        state = apply(state, step.writes)
        out += step.out
    return time.process_time() - began, out
