"""Raw records for the tests: from built requests, or from the captures."""

from pathlib import Path

import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from schemas.arrow import RAW

CAPTURES = Path(__file__).parents[1] / "captures"
NOW = 1_795_420_800_000_000_000
START = NOW - 10**9


def raw(bodies: list[bytes], signal: str = "traces", redact: bool = False, received_at: int = NOW) -> pa.Table:
    """A table of schema RAW, one record per body, offsets from 0."""
    rows = [
        {
            "topic": "spans.raw",
            "partition": 0,
            "offset": offset,
            "org": "acme",
            "team": "search",
            "key_id": "k1",
            "signal": signal,
            "redact": redact,
            "received_at": received_at,
            "body": body,
        }
        for offset, body in enumerate(bodies)
    ]
    return pa.Table.from_pylist(rows, RAW)


def span(number: int = 1, **fields) -> Span:
    """A valid span with ids made from `number`; `attributes` may be a dict."""
    attributes = fields.pop("attributes", {})
    known = {
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "name": f"span {number}",
        "start_time_unix_nano": START,
        "end_time_unix_nano": START + 5_000_000,
    }
    pairs = [pair(key, value) for key, value in (attributes.items() if isinstance(attributes, dict) else attributes)]
    return Span(**(known | fields), attributes=pairs)


def pair(key: str, value) -> KeyValue:
    return KeyValue(key=key, value=any_value(value))


def any_value(value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=[pair(key, item) for key, item in value.items()]))
    names = {str: "string_value", int: "int_value", float: "double_value", bytes: "bytes_value"}
    return AnyValue() if value is None else AnyValue(**{names[type(value)]: value})


def request(*spans: Span, resource: dict | None = None, scope: str = "test") -> bytes:
    group = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    group.scope_spans[0].scope.name = scope
    group.resource.attributes.extend(pair(key, value) for key, value in (resource or {"service.name": "web"}).items())
    return ExportTraceServiceRequest(resource_spans=[group]).SerializeToString()


def with_bad_name(body: bytes, name: str) -> bytes:
    """`body` with the first byte of the span name `name` made invalid UTF-8."""
    assert name.encode() in body
    return body.replace(name.encode(), b"\xff" + name.encode()[1:])


def captures(signal: str = "traces") -> list[Path]:
    """The files of one signal."""
    return [path for path in sorted(CAPTURES.glob("*/*.binpb")) if (".logs." in path.name) == (signal == "logs")]


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return head(number, len(payload)) + payload


def head(number: int, size: int) -> bytes:
    encoded = bytearray([number << 3 | 2])
    while size >= 0x80:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(encoded) + bytes([size])


def deep_value(levels: int) -> bytes:
    """An encoded AnyValue: arrays nested `levels` deep around a text, built without recursion."""
    heads: list[bytes] = []
    size = 3
    for _ in range(levels):
        for number in (1, 5):
            heads.append(head(number, size))
            size += len(heads[-1])
    return b"".join(reversed(heads)) + b"\x0a\x01x"


def deep_span(number: int, levels: int) -> bytes:
    """An encoded span with an attribute that nests `levels` deep."""
    return span(number).SerializeToString() + field(9, field(1, b"deep") + field(2, deep_value(levels)))
