"""The observe graph over bounded input: raw records to the same rows as the streaming job, by the same functions."""

from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from pipelines.beam.fold_dofn import FoldDoFn
from pipelines.stateless import FACTS, observe_records, split_by_bucket, trace_buckets
from schemas.arrow import from_ipc, to_ipc
from schemas.limits import LIMITS, Limits
from schemas.price_book import compile_book
from transforms.billing.fold import BillSettings, call_buckets, make_bill
from transforms.traces.fold import AssembleSettings, make_assemble

_FOLDED = ("traces", "usage", "dead_letters")
# Changes of metrics, which nobody reads here: what a batch adds to the ledger the store counts (spanmill metrics).
_CHANGES = "changes"

# Beam encodes the key of state and timers by its type, which it must be told.
_Keyed = tuple[int, bytes]


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
        of_row = trace_buckets(observed.skeletons, self._buckets)
        for bucket, rows in split_by_bucket(observed.skeletons, of_row):
            yield TaggedOutput("skeletons", (bucket, to_ipc(rows)))


def observe_batches(
    batches: PCollection,
    traces: AssembleSettings,
    calls: BillSettings,
    started: int,
    buckets: int = 16,
    limits: Limits = LIMITS,
) -> dict[str, PCollection]:
    """Table name -> its rows as Arrow IPC elements, from elements that are Arrow IPC of RAW.

    `started` (UTC ns) is the moment at which all records count as having come.
    """
    step = beam.ParDo(ObserveDoFn(buckets, limits)).with_outputs("skeletons", *FACTS)
    facts: Any = batches | "observe" >> step
    skeletons = facts["skeletons"] | "by trace" >> beam.Map(_same).with_output_types(_Keyed)
    # spans: Arrow IPC of SPANS; ...; skeletons: (3, Arrow IPC of SKELETONS)
    assemble = beam.ParDo(FoldDoFn(partial(make_assemble, traces), started))
    assembled: Any = skeletons | "assemble" >> assemble.with_outputs("claims", _CHANGES, *_FOLDED)
    # traces: Arrow IPC of TRACES; usage: Arrow IPC of USAGE; claims: Arrow IPC of CLAIMS
    bill = beam.ParDo(FoldDoFn(partial(make_bill, calls), started)).with_outputs(_CHANGES, *_FOLDED)
    by_call = beam.FlatMap(_by_call, buckets).with_output_types(_Keyed)
    # The shuffle keeps the two folds out of one stage, in which the direct runner mixes up their timers.
    claims = assembled["claims"] | "by call" >> by_call | beam.Reshuffle()
    # (1, Arrow IPC of CLAIMS)
    billed: Any = claims | "bill" >> bill
    # usage: Arrow IPC of USAGE
    folded = {table: (assembled[table], billed[table]) for table in _FOLDED}
    told = {table: (facts[table],) for table in FACTS}
    return {
        table: (*told.get(table, ()), *folded.get(table, ())) | f"unite {table}" >> beam.Flatten()
        for table in dict.fromkeys((*FACTS, *_FOLDED))
    }


def _same(element: tuple[int, bytes]) -> tuple[int, bytes]:
    return element


def _by_call(claims: bytes, buckets: int) -> Iterator[tuple[int, bytes]]:
    rows = from_ipc(claims)
    for bucket, part in split_by_bucket(rows, call_buckets(rows, buckets)):
        yield bucket, to_ipc(part)
