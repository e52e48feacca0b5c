"""Runs the stateless path on one batch of raw records."""

from collections.abc import Iterator
from importlib.metadata import version

from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext

from pipelines.flink.fold_operator import ELEMENT
from pipelines.flink.task import begin_task
from pipelines.stateless import FACTS, observe_records, split_by_bucket
from schemas.arrow import from_ipc, to_ipc
from schemas.limits import Limits
from schemas.price_book import compile_book

SKELETONS = OutputTag("skeletons", ELEMENT)


class ObserveOperator(ProcessFunction):
    """Element: Arrow IPC of RAW. Emits (table, 0, rows) in the order of writing; skeletons as a side output."""

    def __init__(self, limits: Limits, buckets: int) -> None:
        self._limits = limits
        self._buckets = buckets

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()
        self._book = compile_book()
        self._code_version = version("spanmill")

    def process_element(self, value: bytes, ctx: ProcessFunction.Context) -> Iterator:
        observed = observe_records(from_ipc(bytes(value)), self._book, self._limits, self._code_version)
        for name in FACTS:
            if observed.tables[name].num_rows:
                yield name, 0, to_ipc(observed.tables[name])
        for bucket, rows in split_by_bucket(observed.skeletons, self._buckets):
            yield SKELETONS, ("skeletons", bucket, to_ipc(rows))
