"""`spanmill job` against a real Flink session cluster: what it changes, what it refuses, and how it goes back."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from cli.control import opened
from cli.exits import Exit
from cli.local.process import Child
from integration_tests.local_cluster import LocalCluster
from integration_tests.traffic import capture, renamed, trace_ids
from pipelines.ports import free_port
from services.control.jobs import release_lock, take_lock

SAVEPOINTS = Path(__file__).parent / "savepoints"
RELEASES = sorted(
    path.name for path in SAVEPOINTS.iterdir() if (path / "_metadata").exists() and path.name[0].isdigit()
)

_ANY = "pydantic-ai/agent"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[LocalCluster]:
    """A cluster on which observe runs, with its state in RocksDB; savepoints are the same for all backends."""
    made = LocalCluster(tmp_path_factory.mktemp("jobs") / "data", "--state-backend", "rocksdb")
    made.up()
    made.deploy()
    yield made
    made.kill_all()


def send(cluster: LocalCluster, salt: str, count: int = 20) -> list[bytes]:
    """Posts a capture `count` times under other ids and returns the requests."""
    bodies = [renamed(capture(_ANY)[0], f"{salt}-{n}") for n in range(count)]
    for body in bodies:
        assert cluster.post(body).status_code == 200
    return bodies


def all_there(cluster: LocalCluster, bodies: list[bytes]) -> None:
    cluster.caught_up()
    found = {row["trace_id"] for row in cluster.rows("SELECT trace_id FROM traces")}
    assert set().union(*map(trace_ids, bodies)) <= found


def history(cluster: LocalCluster) -> list[dict]:
    return cluster.job_json("history", "observe")


def test_what_was_deployed_runs_and_the_same_spec_again_changes_nothing(cluster):
    all_there(cluster, send(cluster, "deployed"))
    before = history(cluster)
    again = cluster.deploy()
    assert again["flink_job"] == before[0]["flink_job"]
    assert history(cluster) == before
    plan = cluster.job("plan", "observe", "--set", "quiet_gap_s=1", "--exit-code", "-o", "json")
    assert json.loads(plan.stdout) == []
    [listed] = [row for row in cluster.job_json("list") if row["job"] == "observe"]
    assert (listed["job"], listed["state"], listed["revision"]) == ("observe", "running", before[0]["revision"])


def test_a_plan_names_each_change_with_its_label_and_a_breaking_one_ends_with_4(cluster):
    changed = cluster.job("plan", "observe", "--set", "quiet_gap_s=2", "--exit-code", "-o", "json", ok=False)
    assert changed.returncode == Exit.CHANGES
    assert json.loads(changed.stdout)[0]["label"] == "needs savepoint"
    broken = cluster.job("plan", "observe", "--set", "quiet_gap_s=1", "--set", "buckets=16", "-o", "json", ok=False)
    assert broken.returncode == Exit.REFUSED
    assert "--set buckets=8" in broken.stderr
    crowded = cluster.job("deploy", "observe", "--set", "quiet_gap_s=1", "--parallelism", "3", ok=False)
    assert crowded.returncode == Exit.REFUSED
    assert "start 1 more TaskManagers" in crowded.stderr


def test_an_upgrade_to_another_parallelism_keeps_every_open_trace(cluster):
    """The spans of each trace come in two requests, one before and one after the change."""
    halves = [_halves(renamed(capture(_ANY)[0], f"rescale-{n}")) for n in range(10)]
    for first, _ in halves:
        assert cluster.post(first).status_code == 200
    cluster.caught_up()
    began = time.monotonic()
    upgraded = cluster.job_json("upgrade", "observe", "--set", "quiet_gap_s=1", "--parallelism", "1")[0]
    print(f"upgraded in {time.monotonic() - began:.1f} s")
    assert upgraded["parallelism"] == 1
    for _, second in halves:
        assert cluster.post(second).status_code == 200
    cluster.caught_up()
    ids = sorted(set().union(*(trace_ids(first) for first, _ in halves)))
    fragments = "SELECT trace_id, uniqExact(fragment) AS n FROM traces_data WHERE trace_id IN {ids:Array(String)}"
    assert {row["n"] for row in cluster.rows(f"{fragments} GROUP BY trace_id", ids=ids)} == {1}
    cluster.deploy()


def _keep_sending(cluster: LocalCluster, salt: str, stop: threading.Event, sent: list[bytes]) -> None:
    while not stop.wait(0.2):
        sent += send(cluster, f"{salt}-{len(sent)}", 1)


def _halves(body: bytes) -> tuple[bytes, bytes]:
    """The same request as two, the first with one span of each scope."""
    first, second = ExportTraceServiceRequest.FromString(body), ExportTraceServiceRequest.FromString(body)
    for resource in first.resource_spans:
        for scope in resource.scope_spans:
            del scope.spans[1:]
    for resource in second.resource_spans:
        for scope in resource.scope_spans:
            del scope.spans[:1]
    return first.SerializeToString(), second.SerializeToString()


def test_a_revision_that_does_not_get_well_is_taken_back_by_itself(cluster):
    before = history(cluster)[0]
    began = time.monotonic()
    # Nobody answers there: with traffic coming, the job waits for its prices and falls behind.
    nowhere = ("--set", "quiet_gap_s=1", "--set", "store_url=http://127.0.0.1:9")
    stop, sent = threading.Event(), []
    sender = threading.Thread(target=_keep_sending, args=(cluster, "meanwhile", stop, sent))
    sender.start()
    try:
        failed = cluster.job("upgrade", "observe", *nowhere, "--timeout", "20", ok=False)
    finally:
        stop.set()
        sender.join()
    print(f"taken back after {time.monotonic() - began:.1f} s")
    assert failed.returncode == Exit.FAILED
    assert f"revision {before['revision']} runs again" in failed.stderr
    newest, old = history(cluster)[:2]
    assert (newest["state"], old["state"], old["revision"]) == ("failed", "running", before["revision"])
    bad = cluster.job("rollback", "observe", "--to", str(newest["revision"]), ok=False)
    assert bad.returncode == Exit.REFUSED and "never ran well" in bad.stderr
    all_there(cluster, sent)


def test_a_rollback_brings_back_the_settings_and_the_state_goes_on(cluster):
    ran = next(revision for revision in history(cluster) if revision["state"] == "running")
    cluster.job("upgrade", "observe", "--set", "quiet_gap_s=3")
    bodies = send(cluster, "rolled-back")
    hasty = cluster.job("rollback", "observe", "--to", str(ran["revision"]), "--timeout", "1", ok=False)
    assert hasty.returncode == Exit.FAILED and "runs again" in hasty.stderr
    assert [revision["state"] for revision in history(cluster)[:2]] == ["failed", "running"]
    back = cluster.job_json("rollback", "observe", "--to", str(ran["revision"]))[0]
    assert back["state"] == "running" and back["started_from"].startswith("file:")
    assert json.loads(cluster.job("plan", "observe", "--set", "quiet_gap_s=1", "-o", "json").stdout) == []
    all_there(cluster, bodies)


def test_a_plan_that_the_cluster_has_moved_away_from_is_refused(cluster, tmp_path):
    plan = tmp_path / "plan.json"
    cluster.job("plan", "observe", "--set", "quiet_gap_s=2", "--out", str(plan))
    cluster.job("upgrade", "observe", "--set", "quiet_gap_s=4")
    stale = cluster.job("upgrade", "observe", "--set", "quiet_gap_s=2", "--plan", str(plan), ok=False)
    assert stale.returncode == Exit.REFUSED and "stale" in stale.stderr
    cluster.job("plan", "observe", "--set", "quiet_gap_s=1", "--out", str(plan))
    cluster.job("upgrade", "observe", "--set", "quiet_gap_s=1", "--plan", str(plan))


def test_of_two_operators_who_deploy_at_once_one_is_refused(cluster):
    now = time.time_ns()
    with opened(cluster.running.control) as engine:
        lock = take_lock(engine, "observe", "ann@elsewhere", now, now + 60 * 10**9)
        refused = cluster.job("upgrade", "observe", "--set", "quiet_gap_s=2", ok=False)
        assert refused.returncode == Exit.REFUSED and "ann@elsewhere is changing the job" in refused.stderr
        release_lock(engine, lock)
    cluster.deploy()


def test_a_savepoint_that_is_not_ours_or_not_there_is_refused_with_what_to_do(cluster):
    cluster.job("stop", "observe")
    assert cluster.job("stop", "observe").returncode == 0
    for uri, code, reason in (
        ((SAVEPOINTS / "foreign").as_uri(), Exit.REFUSED, "it is a savepoint of another job"),
        ((SAVEPOINTS / "process-mode").as_uri(), Exit.REFUSED, "as Flink's process mode gives them"),
        ("file:///nowhere/savepoint-1", Exit.FAILED, "/nowhere/savepoint-1"),
    ):
        refused = cluster.job("deploy", "observe", "--set", "quiet_gap_s=1", "--from", uri, ok=False)
        assert refused.returncode == code and reason in refused.stderr
    again = cluster.deploy()
    assert again["state"] == "running" and again["started_from"].startswith("file:")


def test_several_gateways_write_one_topic_and_a_request_sent_to_both_counts_once(cluster, tmp_path):
    ports = {"http_port": free_port(), "grpc_port": free_port()}
    settings = json.loads((cluster.data / "gateway.json").read_text()) | ports
    (tmp_path / "second.json").write_text(json.dumps(settings))
    second = Child(
        "gateway",
        [sys.executable, "-m", "services.gateway", "--settings", str(tmp_path / "second.json")],
        tmp_path / "log",
    )
    second.start()
    try:
        second.wait_ready(60)
        bodies = send(cluster, "both", 5)
        headers = {"content-type": "application/x-protobuf"}
        others = [renamed(capture(_ANY)[0], f"second-{n}") for n in range(5)]
        for body in [*bodies, *others]:
            url = f"http://127.0.0.1:{ports['http_port']}/v1/traces"
            assert httpx2.post(url, content=body, headers=headers, timeout=30).status_code == 200
        all_there(cluster, [*bodies, *others])
        ids = sorted(set().union(*map(trace_ids, bodies)))
        twice = "SELECT count() AS n, uniqExact(span_id) AS d FROM spans WHERE trace_id IN {ids:Array(String)}"
        [row] = cluster.rows(twice, ids=ids)
        assert row["n"] == row["d"] > 0
    finally:
        second.stop()


def test_status_and_logs_say_how_the_job_is(cluster):
    cluster.caught_up()
    [status] = cluster.job_json("status", "observe")
    assert status["state"] == "running" and status["checkpoints"] > 0 and status["checkpoint_bytes"] > 0
    logs = cluster.job("logs", "observe", "-n", "3").stdout
    assert "jobmanager" in logs and "taskmanager" in logs


@pytest.mark.parametrize("release", RELEASES)
def test_the_savepoint_of_each_release_is_restored_with_its_traces(release, cluster):
    """What was not shown yet when it was taken comes out: from the folds, and from the requests in the batcher."""
    wanted = json.loads((SAVEPOINTS / f"{release}.json").read_text())
    cluster.job("stop", "observe")
    cluster.deploy("--from", (SAVEPOINTS / release).as_uri())
    shown = "SELECT trace_id, span_count, cost_nano FROM traces WHERE trace_id IN {ids:Array(String)}"
    deadline = time.monotonic() + 180
    while len(found := cluster.rows(shown, ids=list(wanted))) < len(wanted):
        assert time.monotonic() < deadline, "traces of the savepoint are missing"
        time.sleep(0.5)
    assert {row["trace_id"]: [row["span_count"], row["cost_nano"]] for row in found} == wanted
