"""Spans for tests: the captures, and spans written by hand, decoded and normalised as the job does it."""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from schemas.arrow import RAW
from schemas.limits import LIMITS
from transforms.normalise.spans import normalise
from transforms.otlp.decode import Decoded, decode

CAPTURES = Path(__file__).parents[1] / "captures"
START = 1_795_420_716_000_000_000
MS = 1_000_000


@dataclass(frozen=True)
class Sent:
    """A span as a library sends it: attributes of Python values, events as (name, ms after the start, attributes)."""

    attributes: dict[str, Any] = field(default_factory=dict)
    scope: str = "some.library"
    name: str = "chat"
    duration_ms: float = 1_000
    failed: bool = False
    message: str = ""
    events: tuple[tuple[str, float, dict[str, Any]], ...] = ()


def any_value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
    return AnyValue(string_value=value)


def key_values(attributes: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def request(*sent: Sent) -> bytes:
    """An ExportTraceServiceRequest with the spans, in order."""
    scopes = []
    for number, one in enumerate(sent, 1):
        span = Span(
            trace_id=bytes(15) + b"\1",
            span_id=number.to_bytes(8, "big"),
            name=one.name,
            start_time_unix_nano=START,
            end_time_unix_nano=START + int(one.duration_ms * MS),
            attributes=key_values(one.attributes),
            status=Status(
                code=Status.STATUS_CODE_ERROR if one.failed else Status.STATUS_CODE_UNSET, message=one.message
            ),
            events=[
                Span.Event(name=name, time_unix_nano=START + int(ms * MS), attributes=key_values(attributes))
                for name, ms, attributes in one.events
            ],
        )
        scope = ScopeSpans(spans=[span])
        scope.scope.name = one.scope
        scopes.append(scope)
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=scopes)]).SerializeToString()


def decoded(*bodies: bytes) -> Decoded:
    count = len(bodies)
    columns = {
        "topic": pa.array(["spans.raw"] * count),
        "partition": pa.array([0] * count, pa.int32()),
        "offset": pa.array(range(count), pa.int64()),
        **{name: pa.array([""] * count) for name in ("org", "team", "key_id")},
        "signal": pa.array(["traces"] * count),
        "redact": pa.array([False] * count),
        "received_at": pa.array([START] * count, pa.int64()),
        "body": pa.array(bodies, pa.binary()),
    }
    return decode(pa.table(columns, schema=RAW), LIMITS)


def facts(*sent: Sent) -> list[dict[str, Any]]:
    """The normalised row of each span."""
    return normalise(decoded(request(*sent))).to_dicts()


def fact(sent: Sent) -> dict[str, Any]:
    return facts(sent)[0]


@cache
def expected() -> dict[str, Any]:
    """capture -> what is true of it; captures that exported nothing are left out."""
    entries = json.loads((CAPTURES / "EXPECTED.json").read_text())["captures"]
    return {name: entry for name, entry in entries.items() if entry["files"]}


@cache
def captured(name: str) -> dict[str, dict[str, Any]]:
    """The normalised rows of a capture by span id, with the span's name, scope and failure."""
    batch = decoded(*[(CAPTURES / file).read_bytes() for file in expected()[name]["files"]])
    spans = batch.spans.select("span_id", "name", "scope", failed=pl.col("status_code") == 2)
    return {row["span_id"]: row for row in pl.concat([spans, normalise(batch)], how="horizontal").to_dicts()}


def counted_spans(name: str) -> list[dict[str, Any]]:
    """The rows of a capture that its truth says to count, each once."""
    ids = dict.fromkeys(span["span_id"] for span in expected()[name]["llm_spans"])
    return [captured(name)[span_id] for span_id in ids]
