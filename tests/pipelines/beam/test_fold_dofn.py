from typing import Any

import pyarrow as pa
import pytest

from schemas.arrow import from_ipc, to_ipc
from transforms.folds.step import Step

SECOND = 10**9
STARTED = 1_000 * SECOND

pytestmark = pytest.mark.filterwarnings("ignore")


def _rows(*numbers: int) -> pa.Table:
    return pa.table({"n": pa.array(numbers, pa.int64())})


def make_sums():
    """Adds up what came; says the sum, and how long it waited, when it is woken for the second time."""

    def fold(state, rows, now):
        total = int(state.get("sum", b"0"))
        woken = int(state.get("woken", b"0"))
        if rows is not None:
            assert now == STARTED
            return Step({"sum": str(total + sum(rows["n"].to_pylist())).encode()}, wake_at=now + SECOND)
        if woken == 0:
            return Step({"woken": b"1"}, wake_at=now + SECOND)
        waited = (now - STARTED) // SECOND
        return Step({"sum": None}, out=(("traces", _rows(total, waited)), ("usage", _rows())), bad=_rows(-1))

    return fold


def test_a_bucket_is_folded_over_all_its_rows_and_then_run_down_to_its_end():
    import apache_beam as beam
    from apache_beam.testing.test_pipeline import TestPipeline
    from apache_beam.testing.util import assert_that, equal_to

    from pipelines.beam.fold_dofn import FoldDoFn

    elements = [(1, to_ipc(_rows(1))), (2, to_ipc(_rows(10, 20))), (1, to_ipc(_rows(2)))]
    with TestPipeline() as pipeline:
        tables = ("traces", "usage", "dead_letters")
        fold = beam.ParDo(FoldDoFn(make_sums, STARTED)).with_outputs(*tables)
        found: Any = pipeline | beam.Create(elements) | fold
        wanted = {"traces": [[3, 2], [30, 2]], "usage": [], "dead_letters": [[-1], [-1]]}
        for table in tables:
            numbers = found[table] | f"read {table}" >> beam.Map(lambda ipc: from_ipc(ipc)["n"].to_pylist())
            assert_that(numbers, equal_to(wanted[table]), label=table)
