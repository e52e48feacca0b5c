import gzip
import json
import os
import re
import zlib

import pytest
import zstandard
from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from services.control.keys import create_key, revoke_key
from services.control.organisations import create_org
from tests.services.gateway.harness import PROTOBUF, Gateway, span_request

NOW = 1_800_000_000_000_000_000
BODY = span_request().SerializeToString()


def new_records(gateway: Gateway, body: bytes) -> list[dict[str, str]]:
    """The headers of the records that hold `body`."""
    return [record.headers for record in gateway.records() if record.body == body]


def test_an_acknowledged_request_is_in_the_log_with_its_owner(gateway: Gateway) -> None:
    create_org(gateway.engine, "acme", "Acme", True, NOW)
    key, secret = create_key(gateway.engine, "acme", "search", "prod", NOW)
    body = span_request(3).SerializeToString()
    answer = gateway.post(body, authorization=f"Bearer {secret}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == PROTOBUF
    [headers] = new_records(gateway, body)
    assert int(headers.pop("received_at")) > 0
    assert headers == {"org": "acme", "team": "search", "key_id": key.key_id, "signal": "traces", "redact": "1"}


def test_without_a_key_a_request_on_loopback_belongs_to_local(gateway: Gateway) -> None:
    body = span_request().SerializeToString()
    assert gateway.post(body).status_code == 200
    [headers] = new_records(gateway, body)
    assert (headers["org"], headers["team"], headers["key_id"], headers["redact"]) == ("local", "", "", "0")


@pytest.mark.parametrize("compression", Compression)
def test_the_stock_exporter_is_served(gateway: Gateway, compression: Compression) -> None:
    exporter = OTLPSpanExporter(f"{gateway.http}/v1/traces", compression=compression)
    results: list[SpanExportResult] = []
    export = exporter.export
    exporter.export = lambda spans: results.append(export(spans)) or results[-1]  # type: ignore[method-assign]
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    name = os.urandom(8).hex()
    with provider.get_tracer("test").start_as_current_span(name):
        pass
    provider.shutdown()
    assert results == [SpanExportResult.SUCCESS]
    assert any(name.encode() in record.body for record in gateway.records())


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstandard.compress),
        ("identity", bytes),
        ("GZIP", gzip.compress),
    ],
)
def test_every_encoding_writes_the_plain_request(gateway: Gateway, encoding: str, pack) -> None:
    body = span_request().SerializeToString()
    assert gateway.post(pack(body), content_encoding=encoding).status_code == 200
    assert len(new_records(gateway, body)) == 1


def test_json_is_answered_in_json_and_written_as_protobuf(gateway: Gateway) -> None:
    request = span_request()
    span = request.resource_spans[0].scope_spans[0].spans[0]
    item = {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex(), "name": span.name}
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [item]}]}]}
    answer = gateway.post(json.dumps(document).encode(), content_type="application/json; charset=utf-8")
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["content-type"] == "application/json"
    assert len(new_records(gateway, request.SerializeToString())) == 1


def test_log_records_are_written_with_their_signal(gateway: Gateway) -> None:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(event_name=os.urandom(8).hex())
    answer = gateway.post(request.SerializeToString(), "/v1/logs")
    assert not ExportLogsServiceResponse.FromString(answer.content).HasField("partial_success")
    [headers] = new_records(gateway, request.SerializeToString())
    assert headers["signal"] == "logs"


@pytest.mark.parametrize(("content_type", "body"), [(PROTOBUF, b""), ("application/json", b"{}")])
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/v1/metrics"])
def test_an_empty_request_is_a_success(gateway: Gateway, path: str, content_type: str, body: bytes) -> None:
    answer = gateway.post(body, path, content_type=content_type)
    assert (answer.status_code, answer.content) == (200, body)


def test_metrics_are_answered_properly_and_not_taken(gateway: Gateway) -> None:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=os.urandom(8).hex())
    metric.gauge.data_points.add()
    answer = gateway.post(request.SerializeToString(), "/v1/metrics")
    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_data_points) == (200, 1)
    assert "metrics are not taken" in partial.error_message
    assert new_records(gateway, request.SerializeToString()) == []


def test_invalid_ids_are_rejected_in_words_and_the_request_written_whole(gateway: Gateway) -> None:
    body = span_request(2, trace_id=b"short").SerializeToString()
    answer = gateway.post(body)
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_spans) == (200, 1)
    assert len(new_records(gateway, body)) == 1


def test_a_span_that_is_not_utf_8_is_rejected_and_written_apart(gateway: Gateway) -> None:
    mark = os.urandom(4).hex()
    request = span_request(3, name=mark)
    bad_text = mark.encode()[:-1] + b"\xff"
    answer = gateway.post(request.SerializeToString().replace(mark.encode(), bad_text))
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_spans) == (200, 1)
    records = gateway.records()
    [bad] = [record for record in records if bad_text in record.body]
    assert "UTF-8" in bad.headers["bad"]
    first_id = request.resource_spans[0].scope_spans[0].spans[0].span_id
    [good] = [record for record in records if first_id in record.body]
    assert "bad" not in good.headers
    spans = ExportTraceServiceRequest.FromString(good.body).resource_spans[0].scope_spans[0].spans
    assert [span.name for span in spans] == ["span 0", "span 1"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (BODY[:-3], {}, 400, code_pb2.INVALID_ARGUMENT),
        (bytes(range(256)), {}, 400, code_pb2.INVALID_ARGUMENT),
        (BODY, {"content_encoding": "gzip"}, 400, code_pb2.INVALID_ARGUMENT),
        (gzip.compress(BODY)[:-4], {"content_encoding": "gzip"}, 400, code_pb2.INVALID_ARGUMENT),
        (b"{", {"content_type": "application/json"}, 400, code_pb2.INVALID_ARGUMENT),
        (b"[" * 200_000, {"content_type": "application/json"}, 400, code_pb2.INVALID_ARGUMENT),
        (BODY, {"authorization": "Bearer wrong"}, 401, code_pb2.UNAUTHENTICATED),
        (BODY, {"authorization": "Basic eDp5"}, 401, code_pb2.UNAUTHENTICATED),
        (BODY, {"x_api_key": "wrong"}, 401, code_pb2.UNAUTHENTICATED),
        (bytes(20 * 2**20 + 1), {}, 413, code_pb2.RESOURCE_EXHAUSTED),
        (gzip.compress(bytes(30 * 2**20)), {"content_encoding": "gzip"}, 413, code_pb2.RESOURCE_EXHAUSTED),
        (BODY, {"content_type": "text/plain"}, 415, code_pb2.UNIMPLEMENTED),
        (BODY, {"content_encoding": "br"}, 415, code_pb2.UNIMPLEMENTED),
    ],
    ids=[
        "cut off",
        "random bytes",
        "not gzip",
        "gzip cut off",
        "JSON cut off",
        "deep JSON",
        "a wrong bearer",
        "basic authorization",
        "a wrong API key",
        "too large",
        "a gzip bomb",
        "a wrong content type",
        "a wrong encoding",
    ],
)
def test_a_refusal_carries_a_status_in_the_content_type_of_the_request(
    gateway: Gateway, body: bytes, headers: dict[str, str], status: int, code: int
) -> None:
    answer = gateway.post(body, **headers)
    assert answer.status_code == status
    assert "retry-after" not in answer.headers
    if answer.headers["content-type"] == PROTOBUF:
        told = status_pb2.Status.FromString(answer.content)
    else:
        assert headers["content_type"] in ("application/json", "text/plain")
        told = json_format.Parse(answer.content, status_pb2.Status())
    assert told.code == code
    assert told.message
    assert len(told.details) == 0


def test_a_body_in_chunks_is_taken_and_one_without_end_refused_at_the_limit(gateway: Gateway) -> None:
    body = span_request().SerializeToString()
    chunks = (body[at : at + 7] for at in range(0, len(body), 7))
    answer = gateway.client.post(f"{gateway.http}/v1/traces", content=chunks, headers={"content-type": PROTOBUF})
    assert answer.status_code == 200
    assert len(new_records(gateway, body)) == 1
    endless = (bytes(2**20) for _ in range(40))
    answer = gateway.client.post(f"{gateway.http}/v1/traces", content=endless, headers={"content-type": PROTOBUF})
    assert answer.status_code == 413


def test_a_revoked_key_is_refused_after_its_time_to_live(start) -> None:
    gateway = start(key_ttl_s=0.2)
    key, secret = create_key(gateway.engine, "local", "", "x", NOW)
    assert gateway.post(BODY, x_api_key=secret).status_code == 200
    revoke_key(gateway.engine, key.key_id, NOW)
    refused = gateway.post(BODY, x_api_key=secret)
    for _ in range(1000):
        if refused.status_code == 401:
            break
        refused = gateway.post(BODY, x_api_key=secret)
    assert refused.status_code == 401


def test_an_organisation_above_its_rate_is_told_when_to_come_back(start) -> None:
    gateway = start(org_bytes_per_s=1, org_burst_bytes=1)
    assert gateway.post(BODY).status_code == 200
    refused = gateway.post(BODY)
    assert (refused.status_code, int(refused.headers["retry-after"]) > 1) == (429, True)


def test_any_other_bind_address_asks_for_a_key(start) -> None:
    gateway = start(http_host="0.0.0.0", grpc_host="127.0.0.1")
    gateway.http = gateway.http.replace("0.0.0.0", "127.0.0.1")
    refused = gateway.post(BODY)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    _, secret = create_key(gateway.engine, "local", "", "x", NOW)
    assert gateway.post(BODY, x_api_key=secret).status_code == 200


def test_requests_are_counted_by_organisation_and_answer(start) -> None:
    gateway = start()
    gateway.post(span_request(7).SerializeToString())
    gateway.post(b"\xff")
    page = gateway.client.get(f"{gateway.http}/metrics").text
    assert 'llmops_gateway_spans_received_total{org="local"} 7.0' in page
    assert re.search(r'llmops_gateway_requests_total\{[^}]*status="400"[^}]*\} 1\.0', page)
    assert 'llmops_gateway_acknowledgement_seconds_count{transport="http"} 1.0' in page
    assert "llmops_gateway_inflight_bytes 0.0" in page


def test_health_readiness_and_unknown_pages(gateway: Gateway) -> None:
    assert gateway.client.get(f"{gateway.http}/healthz").status_code == 200
    assert gateway.client.get(f"{gateway.http}/readyz").text == "ready\n"
    assert gateway.client.get(f"{gateway.http}/v1/traces").status_code == 405
    assert gateway.client.post(f"{gateway.http}/v2/traces").status_code == 404


def test_a_browser_of_a_listed_origin_may_post_and_no_other(start) -> None:
    gateway = start(cors_origins=["https://app.example"])
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    allowed = gateway.client.options(f"{gateway.http}/v1/traces", headers={"origin": "https://app.example", **ask})
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    other = gateway.client.options(f"{gateway.http}/v1/traces", headers={"origin": "https://evil.example", **ask})
    assert "access-control-allow-origin" not in other.headers


def test_a_full_disk_is_a_503_that_names_the_folder(start, tmp_path) -> None:
    gateway = start(guard_dir=str(tmp_path), min_free_bytes=2**60)
    answer = gateway.post(BODY)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    status = status_pb2.Status.FromString(answer.content)
    assert str(tmp_path) in status.message
    retry = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(retry)
    assert retry.retry_delay.seconds > 0
    assert gateway.client.get(f"{gateway.http}/readyz").status_code == 503
