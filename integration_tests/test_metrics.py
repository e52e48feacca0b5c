"""A real Prometheus over a real cluster: the objectives' queries as they stand, and every metric that a rule names."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # pyright: ignore[reportPrivateImportUsage]
    AdminClient,
    AlterConfigOpType,  # pyright: ignore[reportPrivateImportUsage]
    ConfigEntry,  # pyright: ignore[reportPrivateImportUsage]
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
)
from ruamel.yaml import YAML

from cli.local.process import Child
from integration_tests.ground import wait_for
from integration_tests.local_cluster import LocalCluster
from integration_tests.product import spanmill
from integration_tests.traffic import all_files, renamed, span_count
from pipelines.ports import free_port

DEPLOY = Path(__file__).parent.parent / "deploy" / "prometheus"
SUCCESS_RATE = 'rate(llmops_spans_processed_total{status="success"}[1h]) / rate(llmops_spans_received_total[1h])'
QUERY_LATENCY = "histogram_quantile(0.95, rate(llmops_query_duration_seconds_bucket[1h]))"
RECEIVED = "llmops_spans_received_total"
SUCCESS, DEAD = (f'llmops_spans_processed_total{{status="{status}"}}' for status in ("success", "dead_letter"))
FRESHNESS = 'llmops_ingestion_lag_seconds{quantile="0.95"}'

_FILES = all_files()[::4]


class Prometheus(Child):
    """Debian's Prometheus with the example configuration, the targets replaced by those of a running cluster.

    targets: how many of them there are.
    """

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.targets = len(targets)
        configuration = YAML(typ="safe").load(DEPLOY / "prometheus.yaml")
        for job in configuration["scrape_configs"]:
            kind = job["job_name"].removeprefix("spanmill-")
            flink = [name for name in targets if name.startswith(("jobmanager", "taskmanager"))]
            pages = [targets[name] for name in (flink if kind == "flink" else [kind])]
            job["static_configs"] = [{"targets": [page.removeprefix("http://").split("/")[0] for page in pages]}]
        configuration["rule_files"] = [str(DEPLOY / name) for name in configuration["rule_files"]]
        with (folder / "prometheus.yaml").open("w") as out:
            YAML().dump(configuration, out)
        command = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
        ]
        command += [f"--web.listen-address={self.url.removeprefix('http://')}", "--log.level=warn"]
        super().__init__("prometheus", command, folder / "prometheus.log")

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of each series; NaN left out."""
        answer = httpx2.get(f"{self.url}/api/v1/query", params={"query": query}).raise_for_status().json()
        found = [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]
        return [(labels, value) for labels, value in found if value == value]

    def number(self, query: str) -> float | None:
        """The value of the only series, None when there is none."""
        found = self.ask(query)
        assert len(found) < 2, found
        return found[0][1] if found else None

    def names(self) -> set[str]:
        return set(httpx2.get(f"{self.url}/api/v1/label/__name__/values").raise_for_status().json()["data"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[LocalCluster]:
    running = LocalCluster(tmp_path_factory.mktemp("metrics") / "data", "--task-managers", "3")
    try:
        running.up()
        running.deploy()
        running.job("deploy", "budget")
        yield running
    finally:
        running.kill_all()


@pytest.fixture(scope="module")
def prometheus(cluster, tmp_path_factory) -> Iterator[Prometheus]:
    """Saw the cluster idle, then captures, a record without a tenant, some queries."""
    process = Prometheus(tmp_path_factory.mktemp("prometheus"), cluster.running.metrics)
    try:
        process.start()
        # A rate counts from the first value that Prometheus has.
        wait_for(lambda: process.alive and _up(process) and _has(process, RECEIVED, SUCCESS, DEAD), 180)
        for number in range(4):
            for path in _FILES:
                assert cluster.post(renamed(path.read_bytes(), f"metrics-{number}")).status_code == 200
            time.sleep(5)  # spread over several scrapes, as a rate needs
        _send_bad(cluster)
        cluster.caught_up()
        for _ in range(20):
            cluster.rows("SELECT count() FROM spans")
        yield process
    finally:
        process.stop()


def _up(process: Prometheus) -> bool:
    try:
        return len(process.ask("up == 1")) == process.targets
    except httpx2.HTTPError:
        return False


def _has(process: Prometheus, *metrics: str) -> bool:
    return all(process.number(metric) is not None for metric in metrics)


def _send_bad(cluster: LocalCluster) -> None:
    """A record that came past the gateway without a tenant: a dead letter."""
    producer = Producer({"bootstrap.servers": cluster.running.broker})
    producer.produce(cluster.running.topic, b"\xff", headers=[("signal", b"traces")])
    assert producer.flush(30) == 0


def _sent() -> int:
    return 4 * sum(span_count(path.read_bytes()) for path in _FILES)


def test_the_totals_are_what_was_sent_and_what_the_store_says(cluster, prometheus):
    told = {RECEIVED: _sent(), SUCCESS: _sent(), DEAD: 1}
    wait_for(lambda: {metric: prometheus.number(metric) for metric in told} == told, 120)
    [row] = cluster.rows("SELECT sum(written) AS written FROM requests WHERE signal = 'traces'")
    assert row["written"] == _sent()
    by_step = {labels["step"]: n for labels, n in prometheus.ask("sum by (step) (llmops_dead_letters_total)")}
    assert by_step == {"source": 1}
    rows = {labels["table"]: n for labels, n in prometheus.ask("sum by (table) (llmops_store_insert_rows_total)")}
    assert rows["spans"] == _sent()
    assert rows["traces"] > 0


def test_the_success_rate_of_the_objectives_answers_as_it_stands(prometheus):
    wait_for(lambda: (prometheus.number(SUCCESS_RATE) or 0) > 0.98, 60)
    assert prometheus.number(SUCCESS_RATE) == pytest.approx(1, abs=0.02)


def test_the_query_latency_of_the_objectives_answers_as_it_stands(prometheus):
    wait_for(lambda: bool(prometheus.ask(QUERY_LATENCY)), 30)
    by_kind = {labels["kind"]: seconds for labels, seconds in prometheus.ask(QUERY_LATENCY)}
    assert {"select", "insert"} <= set(by_kind)
    assert all(0 < seconds < 30 for seconds in by_kind.values())


def test_the_freshness_of_the_objectives_answers_as_it_stands(prometheus):
    wait_for(lambda: prometheus.number(FRESHNESS) is not None, 30)
    lag = [prometheus.number(f'llmops_ingestion_lag_seconds{{quantile="{q}"}}') or 0 for q in ("0.5", "0.95", "0.99")]
    assert 0 < lag[0] <= lag[1] <= lag[2] < 60


def test_the_lag_of_the_log_is_told_by_partition_and_falls_to_nothing(prometheus):
    lag = "llmops_kafka_consumer_lag_records"
    wait_for(lambda: prometheus.number(f"sum({lag})") == 0, 60)
    labels = [labels for labels, _ in prometheus.ask(lag)]
    assert {one["partition"] for one in labels} == {"0", "1", "2", "3"}
    assert {(one["topic"], one["group"]) for one in labels} == {("spans.raw", "spanmill-observe")}


def test_every_metric_that_a_rule_or_an_alarm_names_is_there(prometheus):
    named: set[str] = set()
    for file in ("rules.yaml", "alerts.yaml"):
        for group in YAML(typ="safe").load(DEPLOY / file)["groups"]:
            for rule in group["rules"]:
                named |= {rule["record"]} if "record" in rule else set()
                named |= set(re.findall(r"\b(?:llmops_|flink_|spanmill:)[\w:]*|\bup\b", rule["expr"]))
    assert len(named) > 40
    wait_for(lambda: named <= prometheus.names(), 60)


def test_no_alarm_for_a_page_is_raised_by_a_healthy_cluster(prometheus):
    raised = prometheus.ask('ALERTS{severity="page",alertstate="firing"}')
    assert not raised


def test_the_lag_grows_and_alarms_are_raised_while_the_job_is_away(cluster, prometheus):
    cluster.job("stop", "observe")
    before = prometheus.number(SUCCESS)
    for path in _FILES:
        assert cluster.post(renamed(path.read_bytes(), "away")).status_code == 200
    wait_for(lambda: (prometheus.number("sum(spanmill:kafka_consumer_lag_records:group)") or 0) >= len(_FILES), 60)
    wait_for(lambda: bool(prometheus.ask('ALERTS{alertname="SpanmillJobNotRunning"}')), 60)
    cluster.deploy()
    cluster.caught_up()
    wait_for(lambda: not prometheus.ask('ALERTS{alertname="SpanmillJobNotRunning"}'), 60)
    # What the new job counted before it was seen for the first time is in no rate.
    wait_for(lambda: (prometheus.number(SUCCESS) or 0) >= (before or 0), 60)


def test_the_script_that_installs_prometheus_is_posix_and_content_with_what_is_there():
    done = subprocess.run(["sh", str(DEPLOY / "install")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def _doctor(cluster: LocalCluster, *options: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = spanmill("doctor", "--data", str(cluster.data), "-o", "json", *options)
    return done.returncode, {check["check"]: check for check in json.loads(done.stdout)}


def test_the_doctor_follows_a_span_of_its_own_through_every_hop_of_a_cluster(cluster):
    code, checks = _doctor(cluster)
    assert code == 0, checks
    hops = [name for name in checks if name.startswith("hop: ")]
    assert hops == ["hop: gateway", "hop: log", "hop: spans", "hop: traces", "hop: SQL"]
    assert all(re.search(r" after [\d.]+ (ms|s)", checks[hop]["found"]) for hop in hops)
    looked_at = {"store schema", "control schema", "topic spans.raw: retention", "topic spans.raw: record", "Flink",
                 "checkpoint folder", "job observe", "newest checkpoint"}  # fmt: skip
    assert looked_at <= set(checks)
    [row] = cluster.rows("SELECT org, name FROM spans WHERE service = 'spanmill-doctor'")
    assert row == {"org": "local", "name": "spanmill doctor"}
    assert not cluster.rows("SELECT * FROM usage WHERE service = 'spanmill-doctor'")


def test_the_doctor_says_what_to_do_when_a_span_does_not_arrive_or_the_topic_is_too_small(cluster):
    running = cluster.running
    small = ConfigEntry("max.message.bytes", "1000000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, running.topic, incremental_configs=[small])
    admin = AdminClient({"bootstrap.servers": running.broker})
    admin.incremental_alter_configs([resource])[resource].result(30)
    cluster.job("stop", "observe")
    code, checks = _doctor(cluster)
    assert code == 1
    failed = {name: check["cure"] for name, check in checks.items() if check["ok"] == "FAILED"}
    assert set(failed) == {"topic spans.raw: record", "job observe", "hop: spans"}
    assert "max.message.bytes" in failed["topic spans.raw: record"]
    assert failed["job observe"] == "spanmill job deploy observe"
    assert checks["hop: log"]["found"].startswith("partition ")
    assert "hop: traces" not in checks
    code, checks = _doctor(cluster, "--no-send")
    assert not [name for name in checks if name.startswith("hop")]
