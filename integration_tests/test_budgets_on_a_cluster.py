"""Budgets on the cluster profile: deployed, killed, upgraded while callers go on, with one answer to each request."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration_tests.budget_ground import Caller, History, new_org, set_limit, wait_limits
from integration_tests.local_cluster import LocalCluster
from tests.services.budget.linearizability import explain

_LIMIT = 30
_KEPT = Path(__file__).parent / "savepoints" / "budget-1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[LocalCluster]:
    """One TaskManager, on which the job budget runs, from a savepoint that is kept."""
    made = LocalCluster(tmp_path_factory.mktemp("budgets") / "data", "--task-managers", "1")
    made.up()
    made.job("deploy", "budget", "--from", _KEPT.as_uri())
    yield made
    made.kill_all()


def test_what_a_kept_savepoint_says_was_spent_is_spent(cluster):
    key = new_org(cluster, "kept")
    assert Caller([cluster.running.budget_grpc], key).balance()[0] == 10


def test_a_history_with_a_dead_taskmanager_and_an_upgrade_is_linearisable(cluster):
    seed = time.time_ns() % 10**6
    print(f"seed {seed}")
    addresses, key = [cluster.running.budget_grpc], new_org(cluster, "history")
    set_limit(cluster, "history", _LIMIT)
    wait_limits(Caller(addresses, key), addresses, key, _LIMIT)
    history = History(addresses, key, callers=5, seed=seed, pause_s=1.0)
    history.wait_answers(10)
    cluster.kill("taskmanager-1")
    history.wait_answers(10)
    upgraded = cluster.job_json("upgrade", "budget", "--set", "linger_ms=400")[0]
    assert upgraded["state"] == "running"
    history.wait_answers(10)
    calls = history.stop(patience_s=120)
    assert all(call.answer is not None for call in calls)
    assert (left := explain(calls, _LIMIT)) is None, f"seed {seed}: no order explains {left}"
    spent, pending = Caller(addresses, key).balance()
    settled = {call.request_id: call.amount for call in calls if call.kind == "settle" and call.answer == "accepted"}
    assert spent == sum(settled.values()) and spent + pending <= _LIMIT


def test_the_same_spec_again_changes_nothing_and_a_topic_cannot_be_exchanged_under_the_state(cluster):
    assert cluster.job_json("plan", "budget", "--set", "linger_ms=400") == []
    refused = cluster.job("plan", "budget", "--set", "topic=another", ok=False)
    assert refused.returncode == 4 and "topic" in refused.stderr
    [row] = cluster.job_json("status", "budget")
    assert (row["state"], row["tasks"].split("/")[0]) == ("running", row["tasks"].split("/")[1])
