import gzip
import os
import threading

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from services.control.keys import create_key
from tests.services.gateway.harness import Gateway, span_request

NOW = 1_800_000_000_000_000_000
BODY = span_request().SerializeToString()


def refusal(gateway: Gateway, body: bytes, **options: object) -> tuple[grpc.StatusCode, status_pb2.Status | None]:
    """The code, and the google.rpc.Status in the trailers."""
    with pytest.raises(grpc.RpcError) as caught:
        gateway.call(body, **options)  # pyright: ignore[reportArgumentType]
    error: grpc.Call = caught.value  # pyright: ignore[reportAssignmentType]
    trailers = dict(error.trailing_metadata() or ())
    details = trailers.get("grpc-status-details-bin")
    return error.code(), None if details is None else status_pb2.Status.FromString(details)  # pyright: ignore


def test_an_acknowledged_call_is_in_the_log_with_its_owner(gateway: Gateway) -> None:
    key, secret = create_key(gateway.engine, "local", "search", "x", NOW)
    body = span_request(2).SerializeToString()
    answer = gateway.call(body, metadata=[("authorization", f"Bearer {secret}")])
    assert answer == b""
    [headers] = [record.headers for record in gateway.records() if record.body == body]
    assert (headers["org"], headers["team"], headers["key_id"]) == ("local", "search", key.key_id)


@pytest.mark.parametrize("compression", grpc.Compression)
def test_the_stock_exporter_is_served(gateway: Gateway, compression: grpc.Compression) -> None:
    exporter = OTLPSpanExporter(gateway.grpc, insecure=True, compression=compression)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    name = os.urandom(8).hex()
    with provider.get_tracer("test").start_as_current_span(name):
        pass
    provider.shutdown()
    assert any(name.encode() in record.body for record in gateway.records())


def test_logs_are_written_and_metrics_rejected_in_words(gateway: Gateway) -> None:
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(event_name=os.urandom(8).hex())
    assert gateway.call(logs.SerializeToString(), "logs.v1.LogsService") == b""
    assert any(record.body == logs.SerializeToString() for record in gateway.records())
    metrics = ExportMetricsServiceRequest()
    metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="m").gauge.data_points.add()
    answer = gateway.call(metrics.SerializeToString(), "metrics.v1.MetricsService")
    partial = ExportMetricsServiceResponse.FromString(answer).partial_success
    assert partial.rejected_data_points == 1
    assert "metrics are not taken" in partial.error_message


def test_an_empty_request_is_a_success_and_invalid_ids_a_partial_one(gateway: Gateway) -> None:
    assert gateway.call(b"") == b""
    answer = gateway.call(span_request(2, span_id=bytes(8)).SerializeToString())
    assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 1


@pytest.mark.parametrize(
    ("body", "options", "code"),
    [
        (BODY[:-3], {}, grpc.StatusCode.INVALID_ARGUMENT),
        (b"\x1f\x8b broken gzip", {}, grpc.StatusCode.INVALID_ARGUMENT),
        (BODY, {"metadata": [("x-api-key", "wrong")]}, grpc.StatusCode.UNAUTHENTICATED),
        (BODY, {"metadata": [("authorization", "Basic eDp5")]}, grpc.StatusCode.UNAUTHENTICATED),
        (gzip.compress(bytes(30 * 2**20)), {}, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (bytes(30 * 2**20), {"compression": grpc.Compression.Gzip}, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (bytes(30 * 2**20), {"compression": grpc.Compression.Deflate}, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=[
        "cut off",
        "broken gzip",
        "a wrong API key",
        "basic authorization",
        "a gzip bomb in the message",
        "a gzip bomb on the wire",
        "a deflate bomb on the wire",
    ],
)
def test_a_refusal_has_its_code_and_no_invitation_to_retry(
    gateway: Gateway, body: bytes, options: dict[str, object], code: grpc.StatusCode
) -> None:
    found, status = refusal(gateway, body, **options)
    assert found is code
    assert status is not None
    assert (status.code, len(status.details)) == (code.value[0], 0)


def test_a_message_over_the_limit_is_exhausted_without_an_invitation_to_retry(gateway: Gateway) -> None:
    code, status = refusal(gateway, bytes(20 * 2**20 + 1))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert status is None or not status.details


def test_a_passing_fault_is_unavailable_with_the_time_to_retry(start, tmp_path) -> None:
    gateway = start(guard_dir=str(tmp_path), min_free_bytes=2**60)
    code, status = refusal(gateway, BODY)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert status is not None
    retry = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(retry)
    assert retry.retry_delay.seconds > 0


def test_a_message_that_never_comes_is_given_up(start) -> None:
    gateway = start(body_timeout_s=0.3)
    never = threading.Event()
    with grpc.insecure_channel(gateway.grpc) as channel:
        export = channel.stream_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError) as caught:
            export(iter(never.wait, True), timeout=20)  # pyright: ignore[reportCallIssue]
        never.set()
    error: grpc.Call = caught.value  # pyright: ignore[reportAssignmentType]
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_another_bind_address_asks_for_a_key_over_grpc(start) -> None:
    gateway = start(grpc_host="0.0.0.0")
    gateway.grpc = gateway.grpc.replace("0.0.0.0", "127.0.0.1")
    assert refusal(gateway, BODY)[0] is grpc.StatusCode.UNAUTHENTICATED
    _, secret = create_key(gateway.engine, "local", "", "x", NOW)
    assert gateway.call(BODY, metadata=[("x-api-key", secret)]) == b""


def test_an_unknown_method_is_unimplemented(gateway: Gateway) -> None:
    assert refusal(gateway, BODY, service="profiles.v1.ProfilesService")[0] is grpc.StatusCode.UNIMPLEMENTED
