"""The observe graph over bounded input: raw records to the same rows as the streaming job, by the same functions."""

from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from pipelines.beam.fold_dofn import FoldDoFn
from pipelines.stateless import FACTS, observe_records, split_by_bucket
from schemas.arrow import TABLES, from_ipc, to_ipc
from schemas.limits import LIMITS, Limits
from schemas.price_book import compile_book
from transforms.traces import AssembleSettings, make_assemble

_FOLDED = ("traces", "usage", "dead_letters")


class ObserveDoFn(beam.DoFn):
    """Element: Arrow IPC of RAW. Output `<table>`: its rows as Arrow IPC; `skeletons`: (bucket, Arrow IPC)."""

    def __init__(self, buckets: int, limits: Limits) -> None:
        self._buckets = buckets
        self._limits = limits

    def setup(self) -> None:
        self._book = compile_book()
        self._code_version = version("spanmill")

    def process(self, element: bytes) -> Iterator[TaggedOutput]:
        observed = observe_records(from_ipc(element), self._book, self._limits, self._code_version)
        for table, rows in observed.tables.items():
            if rows.num_rows:
                yield TaggedOutput(table, to_ipc(rows))
        for bucket, rows in split_by_bucket(observed.skeletons, self._buckets):
            yield TaggedOutput("skeletons", (bucket, to_ipc(rows)))


def observe_batches(
    batches: PCollection,
    settings: AssembleSettings,
    started: int,
    buckets: int = 16,
    limits: Limits = LIMITS,
) -> dict[str, PCollection]:
    """Table name -> its rows as Arrow IPC elements, from elements that are Arrow IPC of RAW.

    `started` (UTC ns) is the moment at which all records count as having come.
    """
    step = beam.ParDo(ObserveDoFn(buckets, limits)).with_outputs("skeletons", *FACTS)
    facts: Any = batches | "observe" >> step
    # spans: Arrow IPC of SPANS; ...; skeletons: (3, Arrow IPC of SKELETONS)
    fold = FoldDoFn(partial(make_assemble, settings), started)
    folded: Any = facts["skeletons"] | "assemble" >> beam.ParDo(fold).with_outputs(*_FOLDED)
    # traces: Arrow IPC of TRACES; usage: Arrow IPC of USAGE
    sources = {"traces": (folded,), "usage": (folded,), "dead_letters": (facts, folded)}
    return {
        table: tuple(outputs[table] for outputs in sources.get(table, (facts,))) | f"unite {table}" >> beam.Flatten()
        for table in TABLES
    }
