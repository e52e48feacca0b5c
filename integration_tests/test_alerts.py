"""Alerts end to end: spans are sent, the job finds the incident, and the receiver of the rule hears of it once."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from integration_tests.listeners import Webhook, eventually
from integration_tests.product import Product, spanmill
from integration_tests.traffic import capture, renamed

RULES = """
org: local
receivers:
  - name: hook
    webhook: {{url: "{url}", secret: "${{ALERT_SECRET}}"}}
groups:
  - name: cost
    rules:
      - {{name: tokens, kind: threshold, metric: input_tokens, above: 3000, window: 5m, by: [model], receivers: [hook]}}
      - {{name: calls, kind: threshold, metric: calls, above: 100000, receivers: [hook]}}
"""


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Product]:
    monkeypatch.setenv("SPANMILL_ALERTS_ALLOW_NETWORKS", '["127.0.0.0/8"]')
    monkeypatch.setenv("ALERT_SECRET", "0123456789abcdef")
    product = Product(tmp_path / "data")
    product.up()
    yield product
    product.kill_all()


def _call(salt: str, tokens: int, age_s: float = 0) -> bytes:
    """A captured call that ended `age_s` ago, with so many input tokens."""
    [body] = capture("otel-genai-openai/chat")
    sent = ExportTraceServiceRequest.FromString(renamed(body, salt))
    for span in (span for r in sent.resource_spans for scope in r.scope_spans for span in scope.spans):
        took = span.end_time_unix_nano - span.start_time_unix_nano
        span.end_time_unix_nano = time.time_ns() - int(age_s * 10**9)
        span.start_time_unix_nano = span.end_time_unix_nano - took
        for pair in span.attributes:
            if pair.key == "gen_ai.usage.input_tokens":
                pair.value.int_value = tokens
            if pair.key == "gen_ai.response.id":
                pair.value.string_value = f"chatcmpl-alerts-{salt}"
    return sent.SerializeToString()


def test_an_incident_is_found_and_told_once_also_after_a_restart(watched: Product, tmp_path: Path):
    hook = Webhook()
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.format(url=hook.url))
    data = ["--data", str(watched.data)]
    planned = spanmill("alert", "apply", str(rules), "--dry-run", "-o", "json", *data)
    assert (planned.returncode, [row["name"] for row in json.loads(planned.stdout)]) == (
        3,
        ["cost/tokens", "cost/calls", "hook"],
    ), planned.stderr
    assert spanmill("alert", "apply", str(rules), *data).returncode == 0
    again = spanmill("alert", "apply", str(rules), "--dry-run", *data)
    assert (again.returncode, again.stdout) == (0, "")
    time.sleep(6)  # the job polls the rules

    watched.post(_call("old", 9_000, age_s=3_600))  # a backfill
    watched.post(_call("a", 2_000))
    watched.caught_up()
    assert hook.hits == []
    sent_at = time.time()
    watched.post(_call("b", 1_500))
    eventually(lambda: hook.hits, 60, lambda: watched.log.read_text()[-2000:])
    print(f"\nheard {hook.times[0] - sent_at:.1f} s after the span was sent")
    [alert] = hook.alerts()
    assert (alert["status"], alert["labels"]["alertname"], alert["labels"]["org"]) == ("firing", "cost/tokens", "local")
    assert alert["annotations"]["description"] == "input tokens in 5 min: 3,500, limit above 3,000"

    listed = json.loads(spanmill("alert", "list", "-o", "json", *data).stdout)
    assert {row["rule"]: row["state"] for row in listed} == {"cost/tokens": "firing", "cost/calls": "ok"}
    tested = json.loads(spanmill("alert", "test", "cost/tokens", "--over", "30m", "-o", "json", *data).stdout)

    watched.kill_all()
    watched.up()
    watched.post(_call("c", 1))
    watched.caught_up()
    eventually(lambda: json.loads(spanmill("alert", "incidents", "-o", "json", *data).stdout))
    [incident] = json.loads(spanmill("alert", "incidents", "-o", "json", *data).stdout)
    assert (incident["state"], incident["delivered"], len(hook.hits)) == ("firing", "hook:firing", 1)
    assert len(tested[0]["fired"]) <= 1

    gone = spanmill("alert", "delete", "cost/tokens", *data)
    assert gone.returncode == 0, gone.stderr
    eventually(lambda: len(hook.hits) == 2, 120)
    assert hook.alerts()[1]["status"] == "resolved"
    hook.close()
