"""Every capture through the whole product: the sums over `usage` are what the provider really sent."""

import json
import secrets
import time

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from integration_tests.product import spanmill
from integration_tests.traffic import capture, expected, renamed, trace_ids

# Not sent by the library: nothing to compare (see `note` in EXPECTED.json).
_NOT_SENT = {
    "mlflow/embeddings",
    "openlit/anthropic_stream",
    *(name for name in expected() if name.endswith("_nousage")),
}
# Written by hand in the application: its usage bills, but no provider was called that could be compared with.
_NO_CALL = {"langfuse/manual_generation"}
_COUNTED = [name for name, entry in expected().items() if entry["files"] and name not in _NOT_SENT | _NO_CALL]
_SUMS = """
SELECT sum(input_tokens) AS input_tokens_total, sum(cache_read_tokens) AS cache_read_tokens,
       sum(cache_write_tokens) AS cache_write_tokens, sum(output_tokens) AS output_tokens_total,
       sum(reasoning_tokens) AS reasoning_tokens
FROM usage WHERE trace_id IN {ids:Array(String)}
"""


def sights() -> tuple[bytes, bytes]:
    """A framework's and a client's span of one call, side by side, neither with a response id."""
    now, trace_id = time.time_ns(), secrets.token_bytes(16)
    bodies = []
    for scope, late in (("a.framework", 0), ("a.client", 10**6)):
        request = ExportTraceServiceRequest()
        spans = request.resource_spans.add().scope_spans.add()
        spans.scope.name = scope
        span = spans.spans.add(trace_id=trace_id, span_id=secrets.token_bytes(8), name="chat gpt-4o")
        span.start_time_unix_nano, span.end_time_unix_nano = now - 10**9 + late, now - late
        for key, value in {"operation.name": "chat", "provider.name": "openai", "request.model": "gpt-4o"}.items():
            span.attributes.add(key=f"gen_ai.{key}", value=AnyValue(string_value=value))
        for key, count in {"input_tokens": 1_234, "output_tokens": 56}.items():
            span.attributes.add(key=f"gen_ai.usage.{key}", value=AnyValue(int_value=count))
        bodies.append(request.SerializeToString())
    return bodies[0], bodies[1]


@pytest.fixture(scope="module")
def posted(product):
    """All captures in one go, each with ids of its own; name -> its trace ids."""
    ids: dict[str, list[str]] = {}
    for name in _COUNTED:
        bodies = [renamed(body, name) for body in capture(name)]
        for body in bodies:
            assert product.post(body).status_code == 200
        ids[name] = sorted(set().union(*map(trace_ids, bodies)))
    product.caught_up()
    return ids


@pytest.mark.parametrize("name", _COUNTED)
def test_the_tokens_in_the_ledger_are_those_of_the_provider(product, posted, name):
    [sums] = product.rows(_SUMS, ids=posted[name])
    truth = expected()[name]["traced_totals"]
    found = {key: sums[key] or 0 for key in ("input_tokens_total", "output_tokens_total")}
    assert found == {key: truth[key] for key in found}


def test_every_cost_is_explained_to_the_nano_dollar(product, posted):
    [told] = product.rows(
        "SELECT count() AS entries, countIf(cost_nano IS NOT NULL) AS priced,"
        " countIf(cost_status = 'priced' AND abs(parts_nano - cost_nano) <= toDecimal64(0.5, 1)) AS explained,"
        " countIf(entry = 'reversal' AND reason = '') AS unreasoned FROM usage_explained"
    )
    [entries] = product.rows("SELECT count() AS n FROM usage")
    assert told["entries"] == entries["n"]
    assert told["explained"] == told["priced"] > 100
    assert told["unreasoned"] == 0


def test_explain_shows_sights_that_were_matched_without_a_response_id(product):
    outer, inner = sights()
    assert product.post(outer).status_code == product.post(inner).status_code == 200
    product.caught_up()
    [loser] = product.rows("SELECT * FROM usage WHERE startsWith(reason, 'duplicate, by its model')")
    winner = loser["reason"].split()[-1]
    for asked in (loser["span_id"], winner):
        done = spanmill("explain", asked, "--data", str(product.data))
        assert "2 of its spans" in done.stdout
        assert loser["reason"] in done.stdout
        assert f"span {winner} of trace" in done.stdout


def test_explain_shows_a_call_that_two_layers_saw_and_what_a_wrong_id_is(product, posted):
    ids = posted["traceloop-anthropic/anthropic_chat"]
    rows = product.rows("SELECT span_id, call_id, reason FROM usage WHERE trace_id IN {ids:Array(String)}", ids=ids)
    [duplicate] = [row for row in rows if row["reason"].startswith("duplicate of span")]
    done = spanmill("explain", duplicate["span_id"], "--data", str(product.data))
    assert done.returncode == 0, done.stderr
    for told in (duplicate["call_id"], "2 of its spans", duplicate["reason"], "gen_ai.usage.input_tokens", "price "):
        assert told in done.stdout
    listed = spanmill("explain", duplicate["call_id"], "--data", str(product.data), "-o", "json")
    entries = json.loads(listed.stdout)
    assert {row["span_id"] for row in entries} == {row["span_id"] for row in rows}
    unknown = spanmill("explain", "no-such-id", "--data", str(product.data))
    assert (unknown.returncode, "no span or call begins with no-such-id" in unknown.stderr) == (1, True)
    several = spanmill("explain", "", "--data", str(product.data))
    assert (several.returncode, "no id was given" in several.stderr) == (1, True)
