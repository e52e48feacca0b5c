"""What a newcomer does: send with a stock exporter, look, ask, stop, start again."""

import json
import secrets
import time

import pytest
from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from cli.exits import Exit
from integration_tests.product import spanmill


def _chat(exporter, service: str) -> str:
    """An agent span over one priced call, as an application makes them; the trace's id."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span(
        "invoke_agent helper", attributes={"gen_ai.operation.name": "invoke_agent"}
    ) as root:
        call = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
            "gen_ai.response.id": "chatcmpl-" + secrets.token_hex(8),
            "gen_ai.usage.input_tokens": 1_000,
            "gen_ai.usage.output_tokens": 200,
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]),
        }
        with tracer.start_as_current_span("chat gpt-4o-mini", kind=otel.SpanKind.CLIENT, attributes=call):
            pass
    provider.shutdown()
    return f"{root.get_span_context().trace_id:032x}"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_stock_exporter_sees_its_call_as_a_priced_trace(product, protocol):
    running = product.running
    exporter = (
        HttpExporter(endpoint=f"{running.gateway}/v1/traces")
        if protocol == "http"
        else GrpcExporter(endpoint=running.grpc, insecure=True)
    )
    trace_id = _chat(exporter, f"app-{protocol}")
    product.caught_up()
    [row] = product.rows("SELECT * FROM traces WHERE trace_id = {t:String}", t=trace_id)
    assert (row["org"], row["root_name"], row["span_count"], row["call_count"]) == (
        "local",
        "invoke_agent helper",
        2,
        1,
    )
    assert (row["input_tokens"], row["output_tokens"]) == (1_000, 200)
    # gpt-4o-mini: 0.15 and 0.60 dollars a million tokens
    assert row["cost_nano"] == 1_000 * 150 + 200 * 600
    assert row["names"] == ["invoke_agent helper", "chat gpt-4o-mini"]
    [entry] = product.rows("SELECT * FROM usage WHERE trace_id = {t:String}", t=trace_id)
    assert (entry["entry"], entry["cost_nano"], entry["cost_status"]) == (
        "charge",
        row["cost_nano"],
        "priced",
    )
    [span] = product.rows("SELECT * FROM spans WHERE trace_id = {t:String} AND kind = 'llm'", t=trace_id)
    assert span["service"] == f"app-{protocol}"
    [message] = product.rows("SELECT body FROM messages WHERE hash = {h:String}", h=span["input_hashes"][0])
    assert json.loads(message["body"])["parts"][0]["content"] == "hello"
    shown = spanmill("trace", trace_id[:12], "--data", str(product.data))
    assert shown.returncode == 0
    assert "chat gpt-4o-mini" in shown.stdout


def test_status_waits_until_caught_up_and_prints_the_completeness_of_each_organisation(product):
    done = spanmill("status", "--data", str(product.data), "--until-caught-up", "--timeout", "60")
    assert done.returncode == 0, done.stderr
    assert "caught up" in done.stderr
    assert "local" in done.stdout


def test_status_fails_loudly_when_nothing_runs(tmp_path):
    done = spanmill("status", "--data", str(tmp_path), "--until-caught-up", "--timeout", "1")
    assert done.returncode == 6
    assert "nothing runs" in done.stderr


@pytest.mark.parametrize(
    ("form", "expected"),
    [("json", '[{"n":3}]\n'), ("jsonl", '{"n":3}\n'), ("csv", "n\n3\n")],
    ids=["json", "jsonl", "csv"],
)
def test_sql_prints_the_form_that_was_asked_for(product, form, expected):
    done = spanmill("sql", "SELECT toUInt8(3) AS n", "-o", form, "--data", str(product.data))
    assert (done.returncode, done.stdout.replace("\r\n", "\n")) == (0, expected)


def test_a_query_that_fails_says_why_and_exits_with_1(product):
    done = spanmill("sql", "SELECT nothing FROM nowhere", "--data", str(product.data))
    assert done.returncode == 1
    assert "nowhere" in done.stderr


def test_a_key_decides_the_owner_and_a_revoked_key_is_refused(product):
    data = ("--data", str(product.data))
    assert spanmill("org", "create", "acme", *data).returncode == 0
    assert spanmill("org", "create", "acme", *data).returncode == 0
    made = spanmill("key", "create", "acme", "--team", "search", "-o", "json", *data)
    assert made.returncode == 0, made.stderr
    [key] = json.loads(made.stdout)
    trace_id = _chat(
        HttpExporter(
            endpoint=f"{product.running.gateway}/v1/traces", headers={"authorization": f"Bearer {key['key']}"}
        ),
        "keyed",
    )
    product.caught_up()
    owners = product.rows("SELECT DISTINCT org, team, key_id FROM spans WHERE trace_id = {t:String}", t=trace_id)
    assert owners == [{"org": "acme", "team": "search", "key_id": key["key_id"]}]
    assert key["key"] not in (product.data / "control.db").read_bytes().decode("latin-1")
    assert spanmill("key", "revoke", key["key_id"], *data).returncode == 0
    deadline = time.monotonic() + 180
    while product.post(b"", authorization=f"Bearer {key['key']}").status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_doctor_follows_a_span_of_its_own_through_every_hop(product):
    done = spanmill("doctor", "--data", str(product.data), "-o", "json")
    checks = {check["check"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0, checks
    hops = [name for name in checks if name.startswith("hop: ")]
    assert hops == ["hop: gateway", "hop: log", "hop: spans", "hop: traces", "hop: SQL"]
    assert {"store schema", "control schema", "topic spans.raw: record", "newest checkpoint"} <= set(checks)
    assert product.rows("SELECT count() AS n FROM spans WHERE service = 'spanmill-doctor'") == [{"n": 1}]


def test_the_doctor_sends_nothing_when_told_so_and_refuses_no_machine_without_an_instance(product, tmp_path):
    done = spanmill("doctor", "--no-send", "--data", str(product.data))
    assert done.returncode == 0, done.stdout
    assert "hop:" not in done.stdout
    alone = spanmill("doctor", "--data", str(tmp_path), "-o", "json")
    assert {"instance", "disk"} <= {check["check"] for check in json.loads(alone.stdout)}


def test_the_doctor_names_the_hop_at_which_a_wrong_key_stops(product):
    done = spanmill("doctor", "--data", str(product.data), "--key", "sm_wrong", "-o", "json")
    assert done.returncode == 1
    [failed] = [check for check in json.loads(done.stdout) if check["ok"] == "FAILED"]
    assert (failed["check"], failed["found"][:8]) == ("hop: gateway", "HTTP 401")


def test_a_wrong_key_is_refused_even_on_loopback(product):
    assert product.post(b"", authorization="Bearer sm_wrong").status_code == 401


def test_a_second_up_continues_where_the_first_stopped(new_product):
    product = new_product()
    product.up()
    first = _chat(HttpExporter(endpoint=f"{product.running.gateway}/v1/traces"), "before")
    assert product.down() == 0
    product.up()
    second = _chat(HttpExporter(endpoint=f"{product.running.gateway}/v1/traces"), "after")
    product.caught_up()
    found = {row["trace_id"] for row in product.rows("SELECT trace_id FROM traces")}
    assert found == {first, second}
    again = spanmill("up", "--data", str(product.data), "--http-port", "0", "--grpc-port", "0", "--sql-port", "0",
                     "--no-budgets")  # fmt: skip
    assert again.returncode == 4
    assert "already" in again.stderr


def test_the_demo_prints_traces_a_tree_and_costs_and_leaves_nothing_running():
    done = spanmill("demo")
    assert done.returncode == 0, done.stderr
    for word in ("recent traces", "cost and tokens by model", "gpt-4o", "claude", "$0."):
        assert word in done.stdout, word


def test_a_command_for_a_cluster_says_so_on_an_embedded_instance(product):
    refused = spanmill("job", "list", "--data", str(product.data))
    assert refused.returncode == Exit.REFUSED and "embedded" in refused.stderr
