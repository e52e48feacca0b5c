"""The graph of the budget job, and what its operator makes of a record."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyflink.datastream import StreamExecutionEnvironment

from pipelines.flink.budget import STATES, build
from pipelines.flink.budget_operator import Topics, messages_of
from pipelines.flink.journal import from_journal, to_journal
from pipelines.flink.local import configuration
from pipelines.flink.settings import BudgetSettings, load_local
from schemas import budget_pb2 as pb
from schemas.arrow import BUDGET_LOG
from transforms.budgets.fold import BudgetSettings as FoldSettings
from transforms.budgets.fold import make_budget

SPEC = Path(__file__).parents[3] / "jobs" / "budget.yaml"


@pytest.fixture
def graph(jvm, tmp_path):
    """The stream graph as Flink would deploy it."""
    asked = {"brokers": "127.0.0.1:9", "store_url": "http://127.0.0.1:9", "folder": str(tmp_path)}
    (tmp_path / "settings.json").write_text(json.dumps(asked))
    settings, place = load_local(BudgetSettings, SPEC, tmp_path / "settings.json")
    env = StreamExecutionEnvironment.get_execution_environment(configuration(settings, place, 0))
    build(env, settings)
    return env._generate_stream_graph(clear_transformations=True)


def test_decisions_and_rows_for_the_store_do_not_wait_for_each_other(graph):
    """Two graphs without an edge between them: while the store is away, decisions go on."""
    groups: list[set[int]] = []
    for node in graph.getStreamNodes().toArray():
        ids = {node.getId(), *(edge.getTargetId() for edge in node.getOutEdges().toArray())}
        joined = [group for group in groups if group & ids]
        groups = [group for group in groups if not group & ids] + [ids.union(*joined)]
    assert len(groups) == 2
    uids = {node.getTransformationUID() for node in graph.getStreamNodes().toArray()}
    assert set(STATES) <= uids


def test_nothing_on_the_way_of_a_decision_waits_for_a_buffer_to_fill(graph):
    assert {node.getBufferTimeout() for node in graph.getStreamNodes().toArray()} == {0}


def test_what_a_record_says_goes_to_its_topics_and_a_replay_says_the_same():
    budget = pb.Budget(
        budget_id="b", name="all", window=pb.WINDOW_TOTAL, time_zone="UTC", unit=pb.UNIT_NANO_DOLLARS, limit=10,
        hard=True, thresholds=[50],
    )  # fmt: skip
    events = [
        pb.Event(org="acme", limits=pb.Limits(revision=1, budgets=[budget])),
        pb.Event(org="acme", event_id="e1", reserve=pb.Reserve(request_id="r", cost_nano=8)),
        pb.Event(org="acme", event_id="e2", settle=pb.Settle(request_id="r", cost_nano=8)),
        pb.Event(org="other", event_id="e3"),
    ]
    body = pb.EventBatch(events=events).SerializeToString()
    rows = pa.table([["acme"], [0], [7], [10**18], [body]], schema=BUDGET_LOG)
    topics = Topics("replies", "events", "journal")
    step = make_budget(FoldSettings())({}, rows, 0)
    told = [tuple(row) for row in messages_of(step, b"acme", topics)]
    assert [row[0] for row in told].count("replies") == 2
    (event,) = [row for row in told if row[0] == "events"]
    assert json.loads(event[2])["kind"] == "threshold" and event[3]["ce_type"] == b"spanmill.budget.threshold"
    assert (event[3]["ce_specversion"], event[3]["content-type"]) == (b"1.0", b"application/json")
    kept = dict(from_journal([row[2] for row in told if row[0] == "journal"]))
    assert set(kept) == {"budget_entries", "budget_balances", "dead_letters"}
    assert kept["dead_letters"]["error"].to_pylist() == ["WrongOrganisation"]
    again = messages_of(make_budget(FoldSettings())({}, rows, 0), b"acme", topics)
    assert [tuple(row) for row in again] == told


def test_rows_come_out_of_the_journal_by_table_and_in_order():
    first, second = pa.table({"n": [1, 2]}), pa.table({"n": [3]})
    bodies = [to_journal("a", first), to_journal("b", second), to_journal("a", second)]
    found = dict(from_journal(bodies))
    assert found["a"].to_pydict() == {"n": [1, 2, 3]} and found["b"].to_pydict() == {"n": [3]}
    assert not found["a"].schema.metadata
