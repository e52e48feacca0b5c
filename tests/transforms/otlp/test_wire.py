import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from tests.transforms.records import captures, deep_span, field, head, request, span, with_bad_name
from transforms.otlp import wire
from transforms.otlp.signals import TRACES
from transforms.otlp.wire import WireError, count_items, salvage, salvage_logs, split


def spans_of(body: bytes) -> list:
    parsed = ExportTraceServiceRequest.FromString(body)
    return [item for group in parsed.resource_spans for scope in group.scope_spans for item in scope.spans]


def test_splitting_every_capture_keeps_each_span_with_its_resource_and_scope():
    for path in captures():
        body = path.read_bytes()
        ones = split(body)
        assert count_items(body) == len(ones)
        for one, original in zip(ones, _with_surroundings(body), strict=True):
            assert _with_surroundings(one) == [original]


def _with_surroundings(body: bytes) -> list:
    parsed = ExportTraceServiceRequest.FromString(body)
    return [
        (group.resource, group.schema_url, scope.scope, scope.schema_url, item)
        for group in parsed.resource_spans
        for scope in group.scope_spans
        for item in scope.spans
    ]


def test_a_good_request_is_salvaged_as_it_is():
    for signal, rescue in (("traces", salvage), ("logs", salvage_logs)):
        for path in captures(signal):
            body = path.read_bytes()
            assert rescue(body) == wire.Salvaged(body, ())


def test_a_span_name_with_invalid_utf8_is_set_aside_and_the_others_are_kept():
    body = with_bad_name(request(span(1), span(2, name="broken"), span(3)), "broken")
    found = salvage(body)
    assert [item.name for item in spans_of(found.good)] == ["span 1", "span 3"]
    [(position, raw, reason)] = found.bad
    assert position == 1 and "invalid UTF-8" in reason
    assert count_items(raw) == 1 and b"\xffroken" in raw and b"service.name" in raw


def test_a_truncated_span_is_set_aside_and_the_others_are_kept():
    broken = span(2).SerializeToString()[:-3]
    body = request(span(1)) + field(1, field(2, field(2, broken))) + request(span(3))
    found = salvage(body)
    assert [item.name for item in spans_of(found.good)] == ["span 1", "span 3"]
    assert [position for position, _, _ in found.bad] == [1]


def test_a_value_nested_200_000_deep_is_refused_without_recursion():
    body = request(span(1)) + field(1, field(2, field(2, deep_span(2, 200_000))))
    found = salvage(body)
    assert [item.name for item in spans_of(found.good)] == ["span 1"]
    [(position, _, reason)] = found.bad
    assert position == 1 and "nested deeper than 100" in reason


def test_groups_nested_200_000_deep_are_refused_without_recursion():
    nest = b"\xfb\x3e" * 200_000 + b"\xfc\x3e" * 200_000
    body = request(span(1)) + field(1, field(2, field(2, span(2).SerializeToString() + nest)))
    assert [position for position, _, _ in salvage(body).bad] == [1]
    beside = request(span(1)) + nest
    assert count_items(beside) == 1
    assert salvage(beside) == wire.Salvaged(request(span(1)), ())
    with pytest.raises(WireError, match="no span in it"):
        salvage(nest)


def test_spans_under_a_resource_that_cannot_be_decoded_are_all_set_aside():
    bad = with_bad_name(request(span(1), span(2), resource={"service.name": "broken"}), "broken")
    found = salvage(bad + request(span(3)))
    assert [item.name for item in spans_of(found.good)] == ["span 3"]
    assert [position for position, _, _ in found.bad] == [0, 1]


def test_a_bad_log_record_is_set_aside():
    records = [LogRecord(event_name=name) for name in ("good", "broken")]
    group = ResourceLogs(scope_logs=[ScopeLogs(log_records=records)])
    body = with_bad_name(ExportLogsServiceRequest(resource_logs=[group]).SerializeToString(), "broken")
    found = salvage_logs(body)
    kept = ExportLogsServiceRequest.FromString(found.good).resource_logs[0].scope_logs[0].log_records
    assert [record.event_name for record in kept] == ["good"]
    assert [position for position, _, _ in found.bad] == [1]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"\x0a\x05abc",
        request(span(1))[:-4],
        b"\x0a" + b"\xff" * 10,
        b"\x0c",
        b"\xfb\x3e",
        b"\x0d\x01",
        b"\x00\x00",
    ],
)
def test_broken_framing_above_the_spans_is_refused(body: bytes):
    for function in (count_items, split, salvage, salvage_logs):
        with pytest.raises(WireError):
            function(body)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_taken_apart_or_refused_and_nothing_else(body: bytes):
    try:
        found = salvage(body)
    except WireError:
        return
    assert TRACES.parse([found.good]).bad == []


@settings(deadline=None)
@given(st.data())
def test_a_request_with_a_flipped_byte_loses_nothing_unless_it_is_refused(data: st.DataObject):
    body = bytearray(request(*(span(number) for number in range(1, 5))))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        total = count_items(bytes(body))
        found = salvage(bytes(body))
    except WireError:
        return
    assert count_items(found.good) + len(found.bad) == total


def test_many_spans_under_a_huge_resource_do_not_multiply_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wire, "ISOLATED_BYTES", 10_000)
    body = request(*(span(number) for number in range(1, 101)), resource={"service.name": "x" * 4_000})
    ones = split(body)
    assert sum(map(len, ones)) < 30_000
    assert [spans_of(one)[0].name for one in ones] == [f"span {number}" for number in range(1, 101)]


def test_the_length_of_a_field_may_take_several_bytes():
    assert head(1, 300) == b"\x0a\xac\x02"
    assert count_items(request(span(1, name="x" * 70_000))) == 1
