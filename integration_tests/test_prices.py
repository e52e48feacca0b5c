"""A price that changes while the job runs."""

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from integration_tests.product import Product, spanmill
from integration_tests.traffic import capture, renamed, trace_ids
from tests.transforms.spans import key_values

CAPTURE, TERMS = "otel-genai-openai/chat", ["--provider", "openai", "--model", "gpt-4"]
COUNTS = {"gen_ai.usage.input_tokens": 1_000, "gen_ai.usage.output_tokens": 200}


def _request(salt: str) -> bytes:
    """A captured call with ids of its own, as one of a model that no other test uses."""
    [body] = capture(CAPTURE)
    sent = ExportTraceServiceRequest.FromString(renamed(body, salt))
    named = {"gen_ai.request.model": "gpt-4", "gen_ai.response.model": "gpt-4"}
    for span in (span for r in sent.resource_spans for scope in r.scope_spans for span in scope.spans):
        kept = [pair for pair in span.attributes if not pair.key.startswith(("gen_ai.usage.", *named))]
        del span.attributes[:]
        span.attributes.extend([*kept, *key_values(named | COUNTS | {"gen_ai.response.id": f"chatcmpl-prices-{salt}"})])
    return sent.SerializeToString()


def _billed(product: Product, body: bytes) -> dict[str, Any]:
    """The one ledger entry of the call, with the price that it names."""
    assert product.post(body).status_code == 200
    product.caught_up()
    [entry] = product.rows(
        "SELECT usage.*, prices.input AS dollars FROM usage LEFT JOIN prices USING (price_id)"
        " WHERE trace_id IN {ids:Array(String)}",
        ids=sorted(trace_ids(body)),
    )
    return entry


def test_a_running_job_takes_a_new_price_and_what_was_priced_before_keeps_its_own(product):
    first = _request("before")
    before = _billed(product, first)
    # 30 and 60 dollars a million tokens
    assert (before["cost_status"], before["cost_nano"]) == ("priced", 1_000 * 30_000 + 200 * 60_000)
    ids = product.running.pids
    new = ["--input", "2.5", "--output", "10", "--from", "2020-01-01", "--reason", "contract", "--org", "local"]
    done = spanmill("price", "set", *TERMS, *new, "--data", str(product.data))
    assert done.returncode == 0, done.stderr
    after = _billed(product, _request("after"))
    assert after["cost_nano"] == 1_000 * 2_500 + 200 * 10_000
    assert after["price_id"] != before["price_id"]
    assert (float(after["dollars"]), float(before["dollars"])) == (2.5, 30)
    assert product.running.pids == ids
    # the client sends the first again, as it never got the answer
    assert _billed(product, first) == before
