"""The three OTLP signals: their messages, and where their items lie."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


@dataclass(frozen=True)
class Signal:
    """One OTLP signal. groups, scopes, items: field names from the request down to its items."""

    name: str  # the record header `signal`, and the last part of the HTTP path
    service: str  # full name of the gRPC service
    request: type[Message]
    response: type[Message]
    groups: str
    scopes: str
    items: str
    noun: str  # of its items, in messages to people
    rejected: str  # field of the response's partial_success that counts rejected items

    def items_of(self, request: Any) -> Iterator[Any]:
        """The items of a parsed request, in order."""
        for group in getattr(request, self.groups):
            for scope in getattr(group, self.scopes):
                yield from getattr(scope, self.items)

    def answer(self, rejected: int, message: str) -> Message:
        """The response; partial_success stays unset when there is nothing to say."""
        response: Any = self.response()
        if rejected or message:
            setattr(response.partial_success, self.rejected, rejected)
            response.partial_success.error_message = message
        return response


TRACES = Signal(
    "traces",
    "opentelemetry.proto.collector.trace.v1.TraceService",
    trace_service_pb2.ExportTraceServiceRequest,
    trace_service_pb2.ExportTraceServiceResponse,
    "resource_spans",
    "scope_spans",
    "spans",
    "spans",
    "rejected_spans",
)
LOGS = Signal(
    "logs",
    "opentelemetry.proto.collector.logs.v1.LogsService",
    logs_service_pb2.ExportLogsServiceRequest,
    logs_service_pb2.ExportLogsServiceResponse,
    "resource_logs",
    "scope_logs",
    "log_records",
    "log records",
    "rejected_log_records",
)
METRICS = Signal(
    "metrics",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    metrics_service_pb2.ExportMetricsServiceRequest,
    metrics_service_pb2.ExportMetricsServiceResponse,
    "resource_metrics",
    "scope_metrics",
    "metrics",
    "data points",
    "rejected_data_points",
)
SIGNALS = (TRACES, LOGS, METRICS)
