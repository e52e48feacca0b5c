"""In a real Flink: what crosses the edges between operators, and what must not share a thread."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyflink.common import Types
from pyflink.datastream import OutputTag, ProcessFunction, StreamExecutionEnvironment

from pipelines.flink.fold_operator import ELEMENT, FoldOperator
from pipelines.flink.local import configuration
from pipelines.flink.settings import ObserveSettings, load_local
from pipelines.flink.task import begin_task
from schemas.arrow import from_ipc, to_ipc
from transforms.folds.step import Step

SPEC = Path(__file__).parents[3] / "jobs" / "observe.yaml"


class Same(ProcessFunction):
    """Passes elements on, and must have its thread for itself."""

    def open(self, runtime_context):
        begin_task()

    def process_element(self, value, ctx):
        yield value


def make_memory():
    """Says what it knows of its bucket, and keeps every kind of state that a fold may have."""

    def fold(state, rows, now):
        seen = state.get("seen", b"") + str(rows["n"].to_pylist()[0]).encode()
        told = rows.set_column(0, "n", [[int(seen)]])
        writes = {"seen": seen, "empty": b"", "zeros": bytes(8), "gone": None, f"part/{len(state)}": bytes([255])}
        assert all(isinstance(state[name], bytes) for name in state)
        assert state.get("zeros", bytes(8)) == bytes(8)
        return Step(writes, out=(("traces", told),))

    return fold


@pytest.fixture
def env(jvm, tmp_path):
    asked = {"brokers": "", "store_url": "", "folder": str(tmp_path)}
    (tmp_path / "settings.json").write_text(json.dumps(asked))
    found = StreamExecutionEnvironment.get_execution_environment(
        configuration(*load_local(ObserveSettings, SPEC, tmp_path / "settings.json"), 0)
    )
    found.set_parallelism(1)
    return found


def test_two_python_operators_in_one_task_thread_are_refused_at_the_start(env):
    same = env.from_collection([1, 2], Types.LONG()).rebalance().process(Same(), Types.LONG())
    # A side output is what keeps PyFlink from fusing the two into one operator.
    same.get_side_output(OutputTag("none", Types.LONG())).process(Same(), Types.LONG())
    client = env.execute_async("chained")
    with pytest.raises(Exception, match="SharedTaskThread"):
        client.get_job_execution_result().result()


def test_elements_and_segments_keep_their_bytes_across_every_edge(env):
    elements = [("skeletons", 2**40 + n % 2, to_ipc(pa.table({"n": [n]}))) for n in (1, 2, 3, 4)]
    source = env.from_collection(elements, ELEMENT)
    keyed = source.key_by(lambda element: element[1], key_type=Types.LONG())
    told = keyed.process(FoldOperator(make_memory), output_type=ELEMENT).disable_chaining()
    with told.execute_and_collect() as found:
        rows = [(table, bucket, from_ipc(_octets(ipc))["n"].to_pylist()) for table, bucket, ipc in found]
    even, odd = 2**40, 2**40 + 1
    assert sorted(rows) == sorted(
        [("traces", odd, [1]), ("traces", even, [2]), ("traces", odd, [13]), ("traces", even, [24])]
    )


def _octets(values) -> bytes:
    """`execute_and_collect` shows bytes as signed integers."""
    return bytes(value & 255 for value in values)
