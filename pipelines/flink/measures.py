"""What the job tells Flink's metrics from inside its operators; deploy/prometheus/rules.yaml gives the names of the
objectives to it.

Only counters, which Java holds: a gauge that calls back into Python would be asked by the reporter's thread, while the
task's thread works in the same interpreter. Counters begin at 0 with each attempt of the job, and what an attempt
writes again it counts again.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa

from schemas.arrow import from_ipc
from transforms.columns import pc
from transforms.lag import lag_counts

Name = Literal[
    # Spans and log records whose record is queryable. Labels: signal, status (success|dead_letter).
    "items",
    # Spans and log records by how long they took from the gateway to the acknowledgement of the `requests` row that
    # says they are queryable: up to `le` ms, cumulative as Prometheus wants it.
    "lag",
    # Inserts that the store acknowledged, their rows, bytes (Arrow) and nanoseconds with all repetitions. Label: table.
    "inserts",
    "insert_rows",
    "insert_bytes",
    "insert_ns",
    # Attempts that failed for a passing reason and are repeated. Label: table.
    "insert_repeats",
    # Refused items that are in the store with their bytes. Label: step.
    "dead_letters",
    # Batches of raw records through the stateless steps, their records, bytes and nanoseconds.
    "batches",
    "records",
    "bytes",
    "ns",
]


class _Counter(Protocol):
    def inc(self, n: int = 1) -> None: ...


class Group(Protocol):
    """The part of PyFlink's MetricGroup that is used."""

    def add_group(self, name: str, extra: str | None = None) -> "Group": ...

    def counter(self, name: str) -> _Counter: ...


class Measures:
    """The counters of one task, made when they are first counted."""

    def __init__(self, group: Group) -> None:
        self._group = group.add_group("spanmill")
        self._counters: dict[tuple[str, tuple[str, ...]], _Counter] = {}

    def count(self, name: Name, n: int, **labels: str) -> None:
        key = (name, tuple(labels.values()))
        if key not in self._counters:
            group = self._group
            for label, value in labels.items():
                group = group.add_group(label, value)
            self._counters[key] = group.counter(name)
        if n:
            self._counters[key].inc(n)


class StoreMeasures:
    """Counts what a StoreSink says it does. now: UTC ns.

    The counters of `tables` are there from the start: a rate begins with a counter's second sample.
    """

    def __init__(self, measures: Measures, tables: Iterable[str], now: Callable[[], int] = time.time_ns) -> None:
        self._measures = measures
        self._now = now
        for table in tables:
            self._inserted(table, 0, 0, 0, 0)
            measures.count("insert_repeats", 0, table=table)
            if table == "requests":
                for signal in ("traces", "logs"):
                    self._done(signal, 0, 0)
                self._took(np.empty(0, np.int64), np.empty(0, np.int64))

    def repeated(self, table: str) -> None:
        self._measures.count("insert_repeats", 1, table=table)

    def acknowledged(self, table: str, ipc: bytes, took_ns: int) -> None:
        rows = from_ipc(ipc)
        self._inserted(table, 1, rows.num_rows, len(ipc), took_ns)
        if table == "requests":
            self._requests(rows)
        elif table == "dead_letters":
            for step, letters in _sizes(rows["step"]).items():
                self._measures.count("dead_letters", letters, step=step)

    def _inserted(self, table: str, inserts: int, rows: int, size: int, took_ns: int) -> None:
        self._measures.count("inserts", inserts, table=table)
        self._measures.count("insert_rows", rows, table=table)
        self._measures.count("insert_bytes", size, table=table)
        self._measures.count("insert_ns", took_ns, table=table)

    def _requests(self, rows: pa.Table) -> None:
        for signal in _sizes(rows["signal"]):
            of_signal = rows.filter(pc.equal(rows["signal"], signal))
            self._done(signal, *(pc.sum(of_signal[name]).as_py() or 0 for name in ("written", "dead_lettered")))
        received_at = rows["received_at"].cast(pa.int64()).to_numpy()
        self._took(received_at, np.add(rows["written"].to_numpy(), rows["dead_lettered"].to_numpy()))

    def _done(self, signal: str, written: int, refused: int) -> None:
        self._measures.count("items", written, signal=signal, status="success")
        self._measures.count("items", refused, signal=signal, status="dead_letter")

    def _took(self, received_at: np.ndarray, items: np.ndarray) -> None:
        for bucket, n in lag_counts(received_at, items, self._now()).items():
            self._measures.count("lag", n, le=bucket)


def _sizes(column: pa.ChunkedArray) -> Mapping[str, int]:
    """Value -> how many rows have it."""
    return {pair["values"]: pair["counts"] for pair in pc.value_counts(column).to_pylist()}
