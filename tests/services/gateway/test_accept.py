import json
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from schemas.limits import Limits
from services.gateway.accept import Accepted, Record, accept
from services.gateway.signals import LOGS, METRICS, SIGNALS, TRACES
from services.shared.answers import Form, Refusal, Refused

CAPTURES = Path(__file__).parents[2] / "captures"
LIMITS = Limits()


def traces(*names: str, **fields: object) -> ExportTraceServiceRequest:
    """One span per name; `fields` are set on the first."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number, name in enumerate(names, start=1):
        scope.spans.add(trace_id=bytes([number] * 16), span_id=bytes([number] * 8), name=name)
    for name, value in fields.items():
        setattr(scope.spans[0], name, value)
    return request


def names(body: bytes) -> list[str]:
    return [span.name for span in TRACES.items_of(ExportTraceServiceRequest.FromString(body))]


def deep(levels: int) -> bytes:
    """A request whose span has an attribute nested `levels` arrays deep, built from the inside out."""
    parts, size = [], 0
    for field in [1, 5] * levels + [2, 9, 2, 2, 1]:
        head = bytes([field << 3 | 2]) + _varint(size)
        parts.append(head)
        size += len(head)
    return b"".join(reversed(parts))


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def refused(body: bytes, form: Form = Form.PROTOBUF, limits: Limits = LIMITS) -> Refused:
    with pytest.raises(Refused) as caught:
        accept(body, form, TRACES, limits)
    return caught.value


@pytest.mark.parametrize("file", sorted(CAPTURES.glob("*/*.binpb")), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_captured_request_is_written_as_it_came(file: Path) -> None:
    signal = LOGS if ".logs" in file.name else TRACES
    body = file.read_bytes()
    items = sum(1 for _ in signal.items_of(signal.request.FromString(body)))
    assert accept(body, Form.PROTOBUF, signal, LIMITS) == Accepted((Record(body),), items)


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
@pytest.mark.parametrize(("form", "body"), [(Form.PROTOBUF, b""), (Form.JSON, b"{}")])
def test_an_empty_request_is_accepted_and_writes_nothing(signal, form: Form, body: bytes) -> None:
    assert accept(body, form, signal, LIMITS) == Accepted()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("trace_id", b""),
        ("trace_id", b"\1" * 15),
        ("trace_id", bytes(16)),
        ("span_id", b""),
        ("span_id", b"\1" * 9),
        ("span_id", bytes(8)),
        ("parent_span_id", b"\1" * 7),
    ],
)
def test_a_span_with_an_invalid_id_is_forwarded_and_counted_as_rejected(field: str, value: bytes) -> None:
    body = traces("odd", "fine", **{field: value}).SerializeToString()
    accepted = accept(body, Form.PROTOBUF, TRACES, LIMITS)
    assert accepted.records == (Record(body),)
    assert (accepted.items, accepted.rejected) == (2, 1)
    assert "invalid trace, span or parent id" in accepted.message


def test_a_log_record_needs_no_ids() -> None:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(event_name="gen_ai.user.message")
    body = request.SerializeToString()
    assert accept(body, Form.PROTOBUF, LOGS, LIMITS) == Accepted((Record(body),), 1)


def test_spans_beyond_the_limit_are_rejected_and_the_first_ones_kept() -> None:
    body = traces("a", "b", "c").SerializeToString() + traces("d", "e").SerializeToString()
    accepted = accept(body, Form.PROTOBUF, TRACES, Limits(spans_per_request=4))
    assert [names(record.body) for record in accepted.records] == [["a", "b", "c", "d"]]
    assert (accepted.items, accepted.rejected) == (4, 1)
    assert accepted.message == "1 spans beyond the limit of 4 per request"


def test_a_request_of_millions_of_empty_groups_is_refused_before_it_is_decoded() -> None:
    assert refused(b"\n\0" * 1_000_000).refusal is Refusal.TOO_LARGE


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b + b"\n\x7f", lambda _: b"not otlp at all"])
def test_broken_frames_are_undecodable(spoil: Callable[[bytes], bytes]) -> None:
    assert refused(spoil(traces("a", "b").SerializeToString())).refusal is Refusal.UNDECODABLE


def test_a_span_that_is_not_utf_8_goes_to_the_log_alone_and_the_others_together() -> None:
    body = traces("a", "MARK", "c").SerializeToString().replace(b"MARK", b"\xff\xfe\xfd\xfc")
    accepted = accept(body, Form.PROTOBUF, TRACES, LIMITS)
    good, bad = accepted.records
    assert names(good.body) == ["a", "c"]
    assert good.bad == ""
    assert "UTF-8" in bad.bad
    with pytest.raises(DecodeError):
        ExportTraceServiceRequest.FromString(bad.body)
    assert b"\xff\xfe\xfd\xfc" in bad.body
    assert (accepted.items, accepted.rejected) == (3, 1)
    assert "1 spans cannot be decoded" in accepted.message


def test_a_request_whose_only_span_cannot_be_decoded_is_refused() -> None:
    body = traces("MARK").SerializeToString().replace(b"MARK", b"\xff\xfe\xfd\xfc")
    assert refused(body).refusal is Refusal.UNDECODABLE


@pytest.mark.parametrize("levels", [60, 200_000])
def test_a_value_nested_too_deep_costs_its_span_only(levels: int) -> None:
    assert refused(deep(levels)).refusal is Refusal.UNDECODABLE
    accepted = accept(deep(levels) + traces("a").SerializeToString(), Form.PROTOBUF, TRACES, LIMITS)
    assert names(accepted.records[0].body) == ["a"]
    assert (accepted.items, accepted.rejected) == (2, 1)


def test_ten_thousand_attributes_and_a_five_megabyte_one_are_forwarded() -> None:
    request = traces("many", "big")
    many, big = TRACES.items_of(request)
    for number in range(10_000):
        many.attributes.add(key=f"k{number}", value=AnyValue(string_value="v"))
    big.attributes.add(key="blob", value=AnyValue(string_value="x" * 5 * 2**20))
    body = request.SerializeToString()
    assert accept(body, Form.PROTOBUF, TRACES, LIMITS) == Accepted((Record(body),), 2)


def test_metrics_are_rejected_in_words_by_the_number_of_their_data_points() -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    metrics.add(name="a").sum.data_points.add()
    two = metrics.add(name="b").histogram.data_points
    two.add()
    two.add()
    metrics.add(name="without data")
    accepted = accept(request.SerializeToString(), Form.PROTOBUF, METRICS, LIMITS)
    assert (accepted.records, accepted.rejected) == ((), 3)
    assert "metrics are not taken" in accepted.message


def test_json_and_protobuf_of_one_request_write_the_same() -> None:
    span = {"traceId": "0a" * 16, "spanId": "0B" * 8, "name": "a", "startTimeUnixNano": "5"}
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    accepted = accept(json.dumps(document).encode(), Form.JSON, TRACES, LIMITS)
    expected = ExportTraceServiceRequest()
    expected.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"\x0a" * 16, span_id=b"\x0b" * 8, name="a", start_time_unix_nano=5
    )
    assert accepted == Accepted((Record(expected.SerializeToString()),), 1)


def test_a_malformed_json_span_is_rejected_alone() -> None:
    good = {"traceId": "0a" * 16, "spanId": "0b" * 8, "name": "good"}
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}, good]}]}]}
    accepted = accept(json.dumps(document).encode(), Form.JSON, TRACES, LIMITS)
    assert names(accepted.records[0].body) == ["good"]
    assert (accepted.items, accepted.rejected) == (1, 1)
    assert "traceId: not hex" in accepted.message


def test_json_spans_beyond_the_limit_are_rejected() -> None:
    spans = [{"traceId": "0a" * 16, "spanId": "0b" * 8, "name": str(i)} for i in range(5)]
    groups = [{"scopeSpans": [{"spans": spans[:3]}, {"spans": spans[3:]}]}]
    accepted = accept(json.dumps({"resourceSpans": groups}).encode(), Form.JSON, TRACES, Limits(spans_per_request=4))
    assert names(accepted.records[0].body) == ["0", "1", "2", "3"]
    assert (accepted.items, accepted.rejected) == (4, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"resourceSpans":{}}',
        b'{"resourceSpans":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    ],
)
def test_what_is_not_otlp_json_is_undecodable(body: bytes) -> None:
    assert refused(body, Form.JSON).refusal is Refusal.UNDECODABLE


def test_a_json_request_of_malformed_spans_only_is_refused() -> None:
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"0"}]}]}]}'
    assert "not hex" in refused(body, Form.JSON).message


@given(st.binary(max_size=400), st.sampled_from(SIGNALS), st.sampled_from(Form))
def test_any_bytes_are_accepted_or_refused(body: bytes, signal, form: Form) -> None:
    try:
        accept(body, form, signal, LIMITS)
    except Refused as refusal:
        assert refusal.refusal in (Refusal.UNDECODABLE, Refusal.TOO_LARGE)


@given(st.data())
def test_a_flipped_byte_never_loses_a_span_without_a_word(data: st.DataObject) -> None:
    body = bytearray(traces("first", "second", "third", start_time_unix_nano=7).SerializeToString())
    position = data.draw(st.integers(0, len(body) - 1))
    body[position] ^= data.draw(st.integers(1, 255))
    try:
        accepted = accept(bytes(body), Form.PROTOBUF, TRACES, LIMITS)
    except Refused:
        return
    kept = sum(len(names(record.body)) for record in accepted.records if not record.bad)
    assert kept + sum(1 for record in accepted.records if record.bad) == accepted.items
