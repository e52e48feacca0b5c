"""deploy/prometheus/objectives.yaml on series that are made up: which burning raises which alarm."""

import subprocess
from itertools import accumulate
from pathlib import Path

import pytest
from ruamel.yaml import YAML

RULES = Path(__file__).parent.parent / "deploy" / "prometheus" / "objectives.yaml"

RECEIVED, WRITTEN = 'llmops_spans_received_total{status="success"}', 'llmops_spans_processed_total{status="success"}'
FRESH, ALL = (
    f'flink_taskmanager_job_task_operator_spanmill_le_lag{{subtask_index="0",le="{le}"}}' for le in ("30000", "Inf")
)
FAST, ASKED = (
    f'llmops_query_duration_seconds_bucket{{kind="select",instance="s1",le="{le}"}}' for le in ("0.2", "+Inf")
)
FAILED = 'llmops_query_errors_total{kind="select",status="500",instance="s1"}'

# Growth of each in five minutes, the time between two samples, while all is well.
WELL = {RECEIVED: 10000, WRITTEN: 10000, FRESH: 9900, ALL: 10000, FAST: 990, ASKED: 1000, FAILED: 0}
HOUR = 12  # steps
BURNING, LEAKING = "SpanmillErrorBudgetBurning", "SpanmillErrorBudgetLeaking"


# (series, its growth while it burns, for how many hours, and how many hours ago that ended) -> alarms
CASES = {
    "1 % of the spans lost for two hours": ((WRITTEN, 9900, 2, 0), {(BURNING, "ingestion"), (LEAKING, "ingestion")}),
    "0.4 % lost for seven hours": ((WRITTEN, 9960, 7, 0), {(BURNING, "ingestion"), (LEAKING, "ingestion")}),
    "0.2 % lost for nine hours": ((WRITTEN, 9980, 9, 0), {(LEAKING, "ingestion")}),
    "0.08 % lost for half a day": ((WRITTEN, 9992, 12, 0), {(LEAKING, "ingestion")}),
    "0.04 % lost for half a day, as is allowed": ((WRITTEN, 9996, 12, 0), set()),
    "1 % lost for half an hour, half an hour ago": ((WRITTEN, 9900, 0.5, 0.5), set()),
    "stale for two hours": ((FRESH, 1000, 2, 0), {(BURNING, "freshness"), (LEAKING, "freshness")}),
    "slow for two hours": ((FAST, 200, 2, 0), {(BURNING, "query_latency"), (LEAKING, "query_latency")}),
    "2 % of the queries failed for two hours": (
        (FAILED, 20, 2, 0),
        {(BURNING, "query_availability"), (LEAKING, "query_availability")},
    ),
}


def _grown(growth: int, burning: int = 0, hours: float = 0, ago: float = 0) -> str:
    """Samples of twelve hours that grow by `growth`, but by `burning` for `hours`, which ended `ago` hours ago."""
    steps = [growth] * (12 * HOUR)
    until = len(steps) - round(ago * HOUR)
    steps[until - round(hours * HOUR) : until] = [burning] * round(hours * HOUR)
    return " ".join(map(str, accumulate(steps, initial=0)))


def _raised(folder: Path, series: dict[str, str], expected: set[tuple[str, str]]) -> subprocess.CompletedProcess[str]:
    """`promtool test rules`: the alarms that fire at the end of the twelve hours."""
    firing = 'group by (alertname, objective) (ALERTS{alertstate="firing"})'
    samples = [{"labels": f'{{alertname="{name}", objective="{what}"}}', "value": 1} for name, what in expected]
    # Evaluated each time that there is a new sample: ten times as fast as at the file's own interval.
    (folder / "objectives.yaml").write_text(RULES.read_text().replace("interval: 30s", "interval: 5m"))
    test = {
        "rule_files": ["objectives.yaml"],
        "evaluation_interval": "5m",
        "tests": [
            {
                "interval": "5m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": firing, "eval_time": "12h", "exp_samples": samples}],
            }
        ],
    }
    with (folder / "test.yaml").open("w") as out:
        YAML().dump(test, out)
    command = ["promtool", "test", "rules", str(folder / "test.yaml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize("case", CASES)
def test_a_budget_that_burns_raises_its_alarm_and_no_other(case, tmp_path):
    (burning, *how), expected = CASES[case]
    series = {name: _grown(growth) for name, growth in WELL.items()}
    done = _raised(tmp_path, series | {burning: _grown(WELL[burning], *how)}, expected)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_received_and_nothing_asked_burns_nothing(tmp_path):
    done = _raised(tmp_path, dict.fromkeys(WELL, _grown(0)), set())
    assert done.returncode == 0, done.stdout + done.stderr
