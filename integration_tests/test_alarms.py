"""The rules and alarms of deploy/prometheus on series that are made up: which alarm comes when, which does not."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy" / "prometheus"


def _alarms(file: str) -> dict[str, dict[str, Any]]:
    groups = YAML(typ="safe").load(DEPLOY / file)["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


ALARMS = _alarms("alerts.yaml")

_SPANS = 'flink_taskmanager_job_task_operator_spanmill_signal_status_items{job_name="observe",signal="traces"'
RECEIVED = 'llmops_gateway_spans_received_total{instance="g1",org="acme"}'
WRITTEN = [_SPANS + f',status="success",subtask_index="{n}",instance="t{n}"}}' for n in (0, 1)]
REFUSED = _SPANS + ',status="dead_letter",subtask_index="0",instance="t0"}'
LOG_UP = 'llmops_gateway_log_up{job="spanmill-gateway",instance="g1"}'
LAG = 'llmops_kafka_consumer_lag_records{instance="g1",topic="spans.raw",group="spanmill-observe",partition="0"}'
UP = 'up{job="spanmill-store",instance="s1"}'
TOOK = [
    f'flink_taskmanager_job_task_operator_spanmill_le_lag{{subtask_index="0",le="{le}"}}'
    for le in ("500", "2000", "30000", "60000", "Inf")
]
QUERY = [
    f'llmops_query_duration_seconds_bucket{{kind="select",instance="s1",le="{le}"}}'
    for le in ("0.05", "0.2", "0.3", "0.5", "+Inf")
]
ANSWERED, TURNED_AWAY = (
    f'llmops_gateway_requests_total{{instance="g1",transport="http",signal="traces",status="{status}"}}'
    for status in ("200", "503")
)
UPTIME, RESTARTS, FAILED, CHECKPOINT = (
    f'flink_jobmanager_job_{name}{{job_name="observe",job_id="1"}}'
    for name in ("uptime", "numRestarts", "numberOfFailedCheckpoints", "lastCheckpointCompletedTimestamp")
)
REPEATS = 'flink_taskmanager_job_task_operator_spanmill_table_insert_repeats{table="spans",subtask_index="0"}'
QUERY_ERRORS = 'llmops_query_errors_total{kind="select",status="500",instance="s1"}'
CPU, HEAP, HEAP_MAX = (
    f'flink_taskmanager_Status_JVM_{name}{{instance="t0"}}'
    for name in ("CPU_Load", "Memory_Heap_Used", "Memory_Heap_Max")
)
BUDGET_UPTIME = 'flink_jobmanager_job_uptime{job_name="budget",job_id="2"}'
BUDGET_LOG_UP = 'llmops_budget_log_up{job="spanmill-budget-service",instance="b1"}'
DECIDED = 'llmops_budget_decisions_total{instance="b1",method="Reserve",outcome="accepted"}'
UNDECIDED = 'llmops_budget_undecided_total{instance="b1",method="Reserve",policy="closed"}'
DECIDING = [
    f'llmops_budget_decision_seconds_bucket{{instance="b1",method="Reserve",le="{le}"}}' for le in ("0.1", "1", "+Inf")
]
HEARS = 'llmops_alert_up{instance="n1",part="log"}'
UNDELIVERED = 'llmops_alert_deliveries_waiting{instance="n1"}'
DISK_FREE, DISK = (f'llmops_store_disk_{name}_bytes{{instance="s1"}}' for name in ("free", "total"))

# Half an hour in which all is well, a sample each 5 s from second 0 on, in Prometheus' notation: begin+step x times.
WELL = {
    RECEIVED: "0+100x360",
    WRITTEN[0]: "0+40x360",
    WRITTEN[1]: "0+60x360",
    REFUSED: "0x360",
    LOG_UP: "1x360",
    LAG: "20000x360",
    UP: "1x360",
    TOOK[0]: "0+60x360",
    TOOK[1]: "0+95x360",
    TOOK[2]: "0+100x360",
    TOOK[3]: "0+100x360",
    TOOK[4]: "0+100x360",
    QUERY[0]: "0+50x360",
    QUERY[1]: "0+100x360",
    QUERY[2]: "0+100x360",
    QUERY[3]: "0+100x360",
    QUERY[4]: "0+100x360",
    ANSWERED: "0+10x360",
    TURNED_AWAY: "0x360",
    UPTIME: "0+5000x360",
    RESTARTS: "0x360",
    FAILED: "0+1x7 7x352",
    CHECKPOINT: "0+5000x360",
    REPEATS: "0x360",
    QUERY_ERRORS: "0x360",
    CPU: "0.5x360",
    HEAP: "600 700 500 550 600x356",
    HEAP_MAX: "1000x360",
    DISK_FREE: "50x360",
    DISK: "100x360",
    BUDGET_UPTIME: "0+5000x360",
    BUDGET_LOG_UP: "1x360",
    DECIDED: "0+100x360",
    UNDECIDED: "0x360",
    DECIDING[0]: "0+100x360",
    DECIDING[1]: "0+100x360",
    DECIDING[2]: "0+100x360",
    HEARS: "1x360",
    UNDELIVERED: "0x300 1x10 0x50",
}
GONE = "_x360"
SLOW_QUERIES = {QUERY[0]: "0x360", QUERY[1]: "0+10x360", QUERY[2]: "0+20x360"}

# What must be different for an alarm to come.
ILL: dict[str, dict[str, str]] = {
    "SpanmillIngestionBelowObjective": {WRITTEN[0]: "0+39x360"},
    "SpanmillStale": {TOOK[0]: "0x360", TOOK[1]: "0x360", TOOK[2]: "0+90x360"},
    "SpanmillNothingWritten": dict.fromkeys(WRITTEN, "0+50x120 6000x240"),
    "SpanmillQueriesSlow": SLOW_QUERIES,
    "SpanmillLogDown": {LOG_UP: "1x120 0x240"},
    "SpanmillGatewayRefuses": {TURNED_AWAY: "0+1x360"},
    "SpanmillJobNotRunning": {UPTIME: "0+5000x120 0x240"},
    "SpanmillJobRestarting": {RESTARTS: "0x240 1x20 2x20 3x80"},
    "SpanmillCheckpointOld": {CHECKPOINT: "0+5000x240 1200000x120"},
    "SpanmillCheckpointsFailing": {FAILED: "7x280 8+1x80"},
    "SpanmillDeadLetters": {REFUSED: "0x340 1x20"},
    "SpanmillStoreErrors": {REPEATS: "0x320 0+1x40"},
    "SpanmillQueryErrors": {QUERY_ERRORS: "0x340 0+1x20"},
    "SpanmillBudgetLogDown": {BUDGET_LOG_UP: "1x120 0x240"},
    "SpanmillBudgetJobNotRunning": {BUDGET_UPTIME: "0+5000x120 0x240"},
    "SpanmillBudgetUndecided": {UNDECIDED: "0+1x360"},
    "SpanmillBudgetSlow": {DECIDING[0]: "0+90x360"},
    "SpanmillNotifierDeaf": {HEARS: "1x240 0x120"},
    "SpanmillNotificationsWaiting": {UNDELIVERED: "0x200 3x160"},
    "SpanmillTargetDown": {UP: "1x240 0x120"},
    "SpanmillNotMeasured": {LAG: GONE},
    "SpanmillLagHigh": {LAG: "120000x360"},
    "SpanmillQueriesNeedCapacity": SLOW_QUERIES,
    "SpanmillProcessorsBusy": {CPU: "0.8x360"},
    "SpanmillMemoryFull": {HEAP: "850x360"},
    "SpanmillDiskFilling": {DISK_FREE: "15x360"},
    "SpanmillCouldScaleDown": {CPU: "0.1x360", HEAP: "300x360", LAG: "10x360"},
}


def _promtool(folder: Path, series: dict[str, str], *asked: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """`promtool test rules`: evaluates both files over `series` and compares the answers of `asked`."""
    test = {
        "rule_files": [str(DEPLOY / "rules.yaml"), str(DEPLOY / "alerts.yaml")],
        "evaluation_interval": "5s",
        "tests": [
            {
                "interval": "5s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": list(asked),
            }
        ],
    }
    with (folder / "test.yaml").open("w") as out:
        YAML().dump(test, out)
    command = ["promtool", "test", "rules", str(folder / "test.yaml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def _answers(expr: str, value: float | None, at: str = "30m", labels: str = "{}") -> dict[str, Any]:
    samples = [] if value is None else [{"labels": labels, "value": value}]
    return {"expr": expr, "eval_time": at, "exp_samples": samples}


def _firing(alarm: str) -> str:
    return f'count(ALERTS{{alertstate="firing",alertname=~"{alarm}"}} > 0)'


def test_promtool_finds_nothing_wrong_with_the_rules_the_alarms_and_the_example(tmp_path):
    rules = [DEPLOY / name for name in ("rules.yaml", "objectives.yaml", "alerts.yaml")]
    for command in (["rules", *rules], ["config", DEPLOY / "prometheus.yaml"]):
        done = subprocess.run(["promtool", "check", *map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_alarm_comes_while_all_is_well(tmp_path):
    moments = ("1m", "5m", "15m", "30m")
    done = _promtool(tmp_path, WELL, *(_answers(_firing(".*"), None, at) for at in moments))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alarm_has_an_example_of_what_it_is_for():
    assert set(ILL) == set(ALARMS)


@pytest.mark.parametrize("alarm", ILL)
def test_an_alarm_comes_when_it_should(alarm, tmp_path):
    done = _promtool(tmp_path, WELL | ILL[alarm], _answers(_firing(alarm), 1))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alarm_names_a_runbook_that_the_operations_guide_has():
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    anchors = {f"docs/operations.md#{heading.lower().replace(' ', '-')}" for heading in headings}
    for name, rule in (ALARMS | _alarms("objectives.yaml")).items():
        assert rule["annotations"]["runbook"] in anchors, name
        assert rule["annotations"]["summary"], name
        assert rule["labels"]["severity"] in ("page", "ticket", "scaling"), name


@pytest.mark.parametrize(
    ("restarted", "written"),
    [
        # The job begins again: its counters are away for a minute, and begin at 0.
        ({WRITTEN[0]: "0+40x180 _x12 0+40x168", WRITTEN[1]: "0+60x180 _x12 0+60x168"}, 100 * 348),
        # The same, but the scrape of one TaskManager sees it six samples later.
        ({WRITTEN[0]: "0+40x180 _x12 0+40x168", WRITTEN[1]: "0+60x186 _x6 0+60x168"}, 100 * 348 + 60 * 6),
        # A single scrape of one TaskManager fails.
        ({WRITTEN[0]: "0+40x180 _ 7280+40x179"}, 100 * 360),
    ],
    ids=["together", "one after the other", "a missed scrape"],
)
def test_a_counter_that_begins_again_adds_what_it_counted_and_no_more(restarted, written, tmp_path):
    total = 'llmops_spans_processed_total{status="success"}'
    # As x times gives one sample more than that, each part that begins again counts its own zero.
    done = _promtool(
        tmp_path, WELL | restarted, _answers(f"abs({total} - {written}) <= bool 200", 1, labels='{status="success"}')
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_success_rate_of_the_objectives_is_one_while_every_span_is_written(tmp_path):
    query = 'rate(llmops_spans_processed_total{status="success"}[1h]) / rate(llmops_spans_received_total[1h])'
    done = _promtool(tmp_path, WELL, _answers(query, 1, labels='{status="success"}'))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lag_is_its_quantile_in_seconds_and_absent_while_nothing_is_received(tmp_path):
    asked = []
    for quantile, seconds in (("0.95", 2), ("0.5", 0.4166666666666667)):
        lag = f'llmops_ingestion_lag_seconds{{quantile="{quantile}"}}'
        asked.append(_answers(lag, seconds, labels=lag))
    done = _promtool(tmp_path, WELL, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    idle = dict.fromkeys(TOOK, "0x360")
    done = _promtool(tmp_path, WELL | idle, _answers("count(llmops_ingestion_lag_seconds)", None))
    assert done.returncode == 0, done.stdout + done.stderr
