"""What the store tells Prometheus about itself."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from services.store.body import ClientGone
from services.store.protocol import StoreError
from services.store.statements import first_word

# The objectives (50, 150, 200 and 300 ms, 1, 2, 3 and 5 s) are bounds, so that the share below each of them is exact.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 30, 60)
_READS = (b"SELECT", b"WITH", b"FROM")
_HEAD_BYTES = 10_000

Kind = Literal["select", "insert", "other"]


class Metrics:
    """A registry of its own. folder: of the data."""

    def __init__(self, folder: Path) -> None:
        self.registry = CollectorRegistry()
        # With the wait for a turn and the time that the client takes to send and to receive.
        self._seconds = Histogram(
            "llmops_query_duration_seconds",
            "Statements, from the request's header to the end of the answer",
            ["kind"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        # Answers that are errors. From 500 on they are the store's own fault, 503 is too much at once.
        self._errors = Counter(
            "llmops_query_errors_total", "Statements refused or failed", ["kind", "status"], registry=self.registry
        )
        for kind in get_args(Kind):
            self._seconds.labels(kind)
            self._errors.labels(kind, "500")
        for name, part in (("free", 2), ("total", 0)):
            gauge = Gauge(f"llmops_store_disk_{name}_bytes", f"Disk of the data, {name}", registry=self.registry)
            gauge.set_function(lambda part=part: shutil.disk_usage(folder)[part])

    def page(self) -> bytes:
        return generate_latest(self.registry)

    @contextmanager
    def timed(self) -> Iterator["Statement"]:
        """Counts what runs inside as one statement."""
        began, statement = perf_counter(), Statement()
        try:
            yield statement
        except StoreError as error:
            self._errors.labels(statement.kind, str(error.status)).inc()
            raise
        except ClientGone:
            raise
        except Exception:  # an answer that was broken off
            self._errors.labels(statement.kind, "500").inc()
            raise
        finally:
            self._seconds.labels(statement.kind).observe(perf_counter() - began)


@dataclass
class Statement:
    kind: Kind = "other"


def kind_of(sql: bytes) -> Kind:
    word = first_word(sql[:_HEAD_BYTES])
    return "select" if word in _READS else "insert" if word == b"INSERT" else "other"
