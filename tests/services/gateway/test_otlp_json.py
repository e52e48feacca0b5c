import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.gateway.otlp_json import read_json
from services.gateway.signals import LOGS, TRACES
from services.shared.answers import Refused

NESTING = 100
text = st.text(max_size=8)
plain = st.one_of(
    st.builds(lambda v: {"string_value": v}, text),
    st.builds(lambda v: {"bool_value": v}, st.booleans()),
    st.builds(lambda v: {"int_value": v}, st.integers(-(2**63), 2**63 - 1)),
    st.builds(lambda v: {"double_value": v}, st.floats(allow_nan=False)),
    st.builds(lambda v: {"bytes_value": v}, st.binary(max_size=8)),
)
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.builds(lambda v: {"array_value": {"values": v}}, st.lists(inner, max_size=3)),
        st.builds(
            lambda v: {"kvlist_value": {"values": v}},
            st.lists(st.fixed_dictionaries({"key": text, "value": inner}), max_size=3),
        ),
    ),
    max_leaves=8,
)
attributes = st.lists(st.fixed_dictionaries({"key": text, "value": values}), max_size=4)
u64 = st.integers(0, 2**64 - 1)
spans = st.fixed_dictionaries(
    {},
    optional={
        "trace_id": st.binary(min_size=16, max_size=16),
        "span_id": st.binary(min_size=8, max_size=8),
        "parent_span_id": st.binary(min_size=8, max_size=8),
        "name": text,
        "kind": st.integers(0, 5),
        "start_time_unix_nano": u64,
        "end_time_unix_nano": u64,
        "flags": st.integers(0, 2**32 - 1),
        "attributes": attributes,
        "events": st.lists(st.fixed_dictionaries({"time_unix_nano": u64, "name": text}), max_size=2),
        "links": st.lists(st.fixed_dictionaries({"span_id": st.binary(min_size=8, max_size=8)}), max_size=2),
        "status": st.fixed_dictionaries({"message": text, "code": st.integers(0, 2)}),
    },
)


def to_otlp_json(message: Any) -> bytes:
    """The oracle: protobuf's own JSON printer, with its base64 ids turned into hex."""

    def hexed(node: Any) -> Any:
        if isinstance(node, list):
            return [hexed(part) for part in node]
        if not isinstance(node, dict):
            return node
        ids = ("traceId", "spanId", "parentSpanId")
        return {k: base64.b64decode(v).hex() if k in ids else hexed(v) for k, v in node.items()}

    return json.dumps(hexed(json_format.MessageToDict(message, use_integers_for_enums=True))).encode()


def one_span(**fields: Any) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}).encode()


def read_span(**fields: Any) -> Any:
    read = read_json(one_span(**fields), TRACES, 10, NESTING)
    assert read.refused == ()
    return next(TRACES.items_of(read.message))


def refusal(**fields: Any) -> str:
    read = read_json(one_span(**fields), TRACES, 10, NESTING)
    assert list(TRACES.items_of(read.message)) == []
    return read.refused[0]


@given(st.lists(spans, max_size=3), attributes)
def test_any_trace_request_comes_back_from_json_as_it_was(some: list[dict], resource: list[dict]) -> None:
    group: Any = {"resource": {"attributes": resource}, "scope_spans": [{"scope": {"name": "s"}, "spans": some}]}
    request = ExportTraceServiceRequest(resource_spans=[group])
    read = read_json(to_otlp_json(request), TRACES, 10, NESTING)
    assert (read.message, read.cut, read.refused) == (request, 0, ())


@given(values, text)
def test_any_log_record_comes_back_from_json_as_it_was(body: dict, event: str) -> None:
    record = {"body": body, "event_name": event, "severity_number": 9, "trace_id": b"\1" * 16}
    group: Any = {"scope_logs": [{"log_records": [record]}]}
    request = ExportLogsServiceRequest(resource_logs=[group])
    assert read_json(to_otlp_json(request), LOGS, 10, NESTING).message == request


def test_64_bit_numbers_are_taken_as_text_and_as_numbers() -> None:
    assert read_span(startTimeUnixNano="18446744073709551615").start_time_unix_nano == 2**64 - 1
    assert read_span(startTimeUnixNano=1700000000000000001).start_time_unix_nano == 1700000000000000001


def test_an_enum_is_taken_as_a_number_and_by_its_name() -> None:
    assert read_span(kind=3).kind == 3
    assert read_span(kind="SPAN_KIND_CLIENT").kind == 3


def test_unknown_fields_nulls_and_snake_case_names_are_ignored() -> None:
    span = read_span(name="a", newField={"x": [1]}, status=None, trace_id="zz")
    assert (span.name, span.HasField("status"), span.trace_id) == ("a", False, b"")


def test_bytes_are_base64_of_either_alphabet() -> None:
    attribute = {"key": "k", "value": {"bytesValue": "-_8"}}
    assert read_span(attributes=[attribute]).attributes[0].value.bytes_value == b"\xfb\xff"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1.5", 1.5, 2])
def test_a_double_is_a_number_or_its_text(number: str | float) -> None:
    value = read_span(attributes=[{"key": "k", "value": {"doubleValue": number}}]).attributes[0].value
    assert str(value.double_value) == str(float(number))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"traceId": "0"}, "traceId: not hex"),
        ({"spanId": "zz"}, "spanId: not hex"),
        ({"spanId": "0a 0b"}, "spanId: not hex"),
        ({"traceId": 5}, "traceId: must be a string"),
        ({"name": ["a"]}, "name: must be a string"),
        ({"startTimeUnixNano": True}, "startTimeUnixNano: must be a whole number"),
        ({"startTimeUnixNano": "1_0"}, "startTimeUnixNano: must be a whole number"),
        ({"startTimeUnixNano": 1.5}, "startTimeUnixNano: must be a whole number"),
        ({"startTimeUnixNano": "-1"}, ""),
        ({"startTimeUnixNano": "18446744073709551616"}, ""),
        ({"kind": "NO_SUCH_KIND"}, "kind: must be a whole number"),
        ({"kind": [1]}, "kind: "),
        ({"attributes": {}}, "attributes must be an array"),
        ({"attributes": [5]}, "KeyValue must be an object"),
        ({"status": []}, "Status must be an object"),
        ({"attributes": [{"value": {"boolValue": "true"}}]}, "boolValue: must be true or false"),
        ({"attributes": [{"value": {"bytesValue": "*"}}]}, "bytesValue: "),
        ({"attributes": [{"value": {"doubleValue": "x"}}]}, "doubleValue: "),
    ],
)
def test_a_span_that_breaks_the_mapping_says_where(fields: dict, complaint: str) -> None:
    assert complaint in refusal(**fields)


def test_what_is_nested_as_deep_as_allowed_is_taken_and_one_level_more_refused() -> None:
    def nested(levels: int) -> bytes:
        value: dict = {"stringValue": "x"}
        for _ in range(levels):
            value = {"arrayValue": {"values": [value]}}
        return one_span(attributes=[{"key": "k", "value": value}])

    # Request, group, scope, span, key-value and value are 6 levels, each array and the value in it two more.
    deepest = read_json(nested(47), TRACES, 10, NESTING)
    assert deepest.refused == ()
    ExportTraceServiceRequest.FromString(deepest.message.SerializeToString())
    assert "nested deeper than 100" in read_json(nested(48), TRACES, 10, NESTING).refused[0]


def test_a_fault_outside_the_spans_refuses_the_request() -> None:
    with pytest.raises(Refused, match="attributes must be an array"):
        read_json(b'{"resourceSpans":[{"resource":{"attributes":5}}]}', TRACES, 10, NESTING)
