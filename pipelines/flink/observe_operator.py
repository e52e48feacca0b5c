"""Runs the stateless path on one batch of raw records."""

import time
from collections.abc import Iterator
from importlib.metadata import version

from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext

from pipelines.flink.fold_operator import ELEMENT
from pipelines.flink.measures import Measures
from pipelines.flink.ship import Shipped
from pipelines.flink.task import begin_task, is_cancelled
from pipelines.price_feed import PriceFeed
from pipelines.stateless import FACTS, observe_records, split_by_bucket, trace_buckets
from pipelines.store import StoreSettings
from schemas.arrow import from_ipc, to_ipc
from schemas.limits import Limits
from schemas.price_book import compile_book
from transforms.normalise.count_text import TokenCache

# Counts of messages that are kept, some 300 bytes each: a conversation that goes on is not counted again.
_COUNTED_MESSAGES = 100_000

SKELETONS = OutputTag("skeletons", ELEMENT)


class ObserveOperator(Shipped, ProcessFunction):
    """Element: Arrow IPC of RAW. Emits (table, 0, rows) in the order of writing; skeletons as a side output.

    prices: the store whose contracts hold; None: the default book alone.
    """

    def __init__(self, limits: Limits, buckets: int, prices: StoreSettings | None) -> None:
        self._limits = limits
        self._buckets = buckets
        self._prices = prices

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()
        self._book = compile_book()
        self._feed = PriceFeed(self._prices, self._book, given_up=is_cancelled) if self._prices else None
        self._code_version = version("spanmill")
        self._tokens = TokenCache(_COUNTED_MESSAGES)
        self._measures = Measures(runtime_context.get_metrics_group())

    def process_element(self, value: bytes, ctx: ProcessFunction.Context) -> Iterator:
        book = self._feed.current(time.time_ns()) if self._feed else self._book
        began, raw = time.monotonic_ns(), from_ipc(bytes(value))
        observed = observe_records(raw, book, self._limits, self._code_version, self._tokens)
        self._measure(raw.num_rows, len(value), time.monotonic_ns() - began)
        for name in FACTS:
            if observed.tables[name].num_rows:
                yield name, 0, to_ipc(observed.tables[name])
        of_row = trace_buckets(observed.skeletons, self._buckets)
        for bucket, rows in split_by_bucket(observed.skeletons, of_row):
            yield SKELETONS, ("skeletons", bucket, to_ipc(rows))

    def _measure(self, records: int, size: int, took_ns: int) -> None:
        self._measures.count("batches", 1)
        self._measures.count("records", records)
        self._measures.count("bytes", size)
        self._measures.count("ns", took_ns)

    def close(self) -> None:
        if self._feed:
            self._feed.close()
