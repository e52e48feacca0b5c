import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from schemas.limits import LIMITS
from tests.transforms.records import (
    START,
    any_value,
    pair,
    raw,
    request,
    span,
)
from transforms.otlp.decode import decode, decode_logs


def logs_request(*records: LogRecord) -> bytes:
    group = ResourceLogs(scope_logs=[ScopeLogs(log_records=records)])
    return ExportLogsServiceRequest(resource_logs=[group]).SerializeToString()


def letters_of(decoded) -> list[tuple]:
    return [(row["offset"], row["position"], row["error"]) for row in decoded.bad.to_pylist()]


def counts_of(decoded) -> list[tuple]:
    return [(row["received"], row["written"], row["dead_lettered"]) for row in decoded.requests.to_pylist()]


def test_only_records_of_the_signal_are_decoded():
    assert decode(raw([request(span(1))], signal="logs"), LIMITS).requests.num_rows == 0
    assert decode_logs(raw([logs_request(LogRecord())]), LIMITS).requests.num_rows == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('say "hi" ä', '"say \\"hi\\" ä"'),
        ({"a": [1, {"b": None}], "c": "d"}, '{"a":[1,{"b":null}],"c":"d"}'),
        ([1, 2.5, True], "[1,2.5,true]"),
        (17, "17"),
        (True, "true"),
        (float("nan"), None),
        (b"\x00\xff", '"AP8="'),
        (None, None),
    ],
)
def test_the_body_of_a_log_record_is_json(value, text: str | None):
    body = logs_request(LogRecord(body=any_value(value), time_unix_nano=START))
    assert decode_logs(raw([body], signal="logs"), LIMITS).records["body_text"].to_list() == [text]


def test_log_records_take_the_time_and_the_event_name_that_they_have():
    records = [
        LogRecord(time_unix_nano=5, observed_time_unix_nano=9, event_name="named", trace_id=b"\x01" * 16),
        LogRecord(observed_time_unix_nano=9, attributes=[pair("event.name", "by attribute")], span_id=bytes(8)),
    ]
    decoded = decode_logs(raw([logs_request(*records)], signal="logs"), LIMITS)
    assert decoded.records.select("time_ns", "event", "trace_id", "span_id").rows() == [
        (5, "named", "01" * 16, ""),
        (9, "by attribute", "", ""),
    ]


def test_a_bad_log_record_is_a_dead_letter_and_the_others_are_kept():
    body = logs_request(LogRecord(), LogRecord(trace_id=b"1"), LogRecord(span_id=b"1"), LogRecord(time_unix_nano=2**63))
    decoded = decode_logs(raw([body, b"\xff"], signal="logs"), LIMITS)
    assert letters_of(decoded) == [
        (1, -1, "WireError"),
        (0, 1, "InvalidTraceId"),
        (0, 2, "InvalidSpanId"),
        (0, 3, "TimeOutOfRange"),
    ]
    assert counts_of(decoded) == [(4, 1, 3), (1, 0, 1)]
