from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from schemas.limits import LIMITS
from tests.transforms.records import (
    NOW,
    START,
    captures,
    deep_span,
    field,
    pair,
    raw,
    request,
    span,
    with_bad_name,
)
from transforms.otlp.decode import Decoded, decode


def attributes_of(decoded: Decoded, row: int = 0) -> dict[str, str]:
    found = decoded.attributes
    own = np.flatnonzero(found.owner == row)
    texts = found.text.to_pylist()
    return {found.keys[found.code[at]]: texts[at] for at in own}


def flags_of(decoded: Decoded, row: int = 0) -> set[str]:
    return set(decoded.flags.filter(pl.col("span") == row)["flag"])


def letters_of(decoded) -> list[tuple]:
    return [(row["offset"], row["position"], row["error"]) for row in decoded.bad.to_pylist()]


def counts_of(decoded) -> list[tuple]:
    return [(row["received"], row["written"], row["dead_lettered"]) for row in decoded.requests.to_pylist()]


def test_all_spans_of_all_captures_come_out_as_protobuf_reads_them():
    bodies = [path.read_bytes() for path in captures()]
    decoded = decode(raw(bodies), LIMITS)
    expected = []
    for row, body in enumerate(bodies):
        items = [
            (group, scope.scope, item)
            for group in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in group.scope_spans
            for item in scope.spans
        ]
        for position, (group, scope, item) in enumerate(items):
            service = next((a.value.string_value for a in group.resource.attributes if a.key == "service.name"), "")
            expected.append(
                {
                    "request": row,
                    "position": position,
                    "trace_id": item.trace_id.hex(),
                    "span_id": item.span_id.hex(),
                    "parent_span_id": item.parent_span_id.hex(),
                    "otel_kind": item.kind,
                    "start_ns": item.start_time_unix_nano,
                    "end_ns": item.end_time_unix_nano,
                    "status_code": item.status.code,
                    "name": item.name,
                    "scope": scope.name,
                    "scope_version": scope.version,
                    "service": service,
                    "attributes": len({attribute.key for attribute in item.attributes}),
                    "events": len(item.events),
                }
            )
    counts = {
        "attributes": np.bincount(decoded.attributes.owner, minlength=decoded.spans.height),
        "events": np.bincount(decoded.events["span"].to_numpy(), minlength=decoded.spans.height),
    }
    assert decoded.spans.with_columns(**counts).select(list(expected[0])).to_dicts() == expected
    assert decoded.bad.num_rows == 0
    assert sum(decoded.requests["written"].to_pylist()) == len(expected)


def test_owner_and_receipt_come_from_the_record_and_redaction_is_on_when_unknown():
    records = raw([request(span(1))])
    unknown = records.set_column(records.schema.get_field_index("redact"), "redact", [[None]])
    [row] = decode(unknown.cast(records.schema), LIMITS).spans.to_dicts()
    assert (row["org"], row["team"], row["key_id"], row["received_at"], row["redact"]) == (
        "acme",
        "search",
        "k1",
        NOW,
        True,
    )


def test_no_records_and_empty_requests_give_empty_tables_of_the_same_columns():
    full = decode(raw([request(span(1, attributes={"a": 1}))]), LIMITS)
    for records in (raw([]), raw([b""]), raw([request()])):
        empty = decode(records, LIMITS)
        assert empty.spans.schema == full.spans.schema
        assert empty.events.schema == full.events.schema and empty.links.schema == full.links.schema
        assert empty.spans.height == 0 and empty.attributes.owners == 0
        assert empty.requests.num_rows == records.num_rows


def test_duplicates_in_a_batch_are_kept():
    body = request(span(1))
    assert decode(raw([body, body + body]), LIMITS).spans["span_id"].to_list() == ["0000000000000001"] * 3


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"trace_id": b"1" * 15}, "InvalidTraceId"),
        ({"trace_id": b""}, "InvalidTraceId"),
        ({"trace_id": bytes(16)}, "InvalidTraceId"),
        ({"span_id": b"1" * 9}, "InvalidSpanId"),
        ({"span_id": bytes(8)}, "InvalidSpanId"),
        ({"parent_span_id": b"123"}, "InvalidParentSpanId"),
        ({"start_time_unix_nano": 2**63}, "TimeOutOfRange"),
        ({"end_time_unix_nano": 2**64 - 1}, "TimeOutOfRange"),
    ],
)
def test_a_span_that_cannot_be_stored_is_a_dead_letter_and_the_rest_is_kept(fields: dict, error: str):
    good, bad = request(span(7)), span(2, **fields)
    decoded = decode(raw([good, request(span(1), bad, span(3)), good]), LIMITS)
    assert letters_of(decoded) == [(1, 1, error)]
    assert counts_of(decoded) == [(1, 1, 0), (3, 2, 1), (1, 1, 0)]
    assert decoded.spans.select("request", "position", "name").rows() == [
        (0, 0, "span 7"),
        (1, 0, "span 1"),
        (1, 2, "span 3"),
        (2, 0, "span 7"),
    ]
    [letter] = decoded.bad.to_pylist()
    replayed = ExportTraceServiceRequest.FromString(letter["raw"])
    assert [item for group in replayed.resource_spans for scope in group.scope_spans for item in scope.spans] == [bad]
    assert letter["message"] and letter["step"] == "decode" and letter["org"] == "acme"


def test_a_parent_of_zeros_is_no_parent():
    assert decode(raw([request(span(1, parent_span_id=bytes(8)))]), LIMITS).spans["parent_span_id"][0] == ""


def test_a_span_that_cannot_be_decoded_is_a_dead_letter_and_positions_stay_true():
    body = with_bad_name(request(span(1), span(2, name="broken"), span(3), span(4, trace_id=b"1")), "broken")
    decoded = decode(raw([request(span(9)), body]), LIMITS)
    assert letters_of(decoded) == [(1, 1, "DecodeError"), (1, 3, "InvalidTraceId")]
    assert decoded.spans.select("name", "position").rows() == [("span 9", 0), ("span 1", 0), ("span 3", 2)]
    assert counts_of(decoded) == [(1, 1, 0), (4, 2, 2)]


def test_a_request_with_broken_framing_is_one_dead_letter_and_other_requests_are_kept():
    bodies = [request(span(1)), request(span(2))[:-4], b"\xff\xff", request(span(3))]
    decoded = decode(raw(bodies), LIMITS)
    assert letters_of(decoded) == [(1, -1, "WireError"), (2, -1, "WireError")]
    assert decoded.bad["raw"].to_pylist() == bodies[1:3]
    assert decoded.spans["name"].to_list() == ["span 1", "span 3"]
    assert counts_of(decoded) == [(1, 1, 0), (1, 0, 1), (1, 0, 1), (1, 1, 0)]


def test_a_value_nested_200_000_deep_is_a_dead_letter():
    body = request(span(1)) + field(1, field(2, field(2, deep_span(2, 200_000))))
    decoded = decode(raw([body]), LIMITS)
    assert letters_of(decoded) == [(0, 1, "DecodeError")]
    assert decoded.spans["name"].to_list() == ["span 1"]


def test_a_value_nested_as_deep_as_the_limit_allows_is_kept():
    body = field(1, field(2, field(2, deep_span(2, 40))))
    decoded = decode(raw([body]), LIMITS)
    assert attributes_of(decoded)["deep"] == "[" * 40 + '"x"' + "]" * 40


def test_a_dead_letter_of_an_organisation_that_redacts_holds_no_private_text_and_can_be_replayed():
    bad = span(2, trace_id=b"1", name="of bob@example.com", attributes={"key": ["sk-ant-" + "a1B2" * 8]})
    [letter] = decode(raw([request(bad)], redact=True), LIMITS).bad.to_pylist()
    assert b"bob@" not in letter["raw"] and b"sk-ant" not in letter["raw"]
    replayed = ExportTraceServiceRequest.FromString(letter["raw"]).resource_spans[0].scope_spans[0].spans[0]
    assert replayed.name == "of [redacted:email]" and replayed.trace_id == b"1"
    [broken] = decode(raw([b"\xff bob@example.com"], redact=True), LIMITS).bad.to_pylist()
    assert b"bob@" not in broken["raw"]


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({}, set()),
        ({"end_time_unix_nano": START - 1}, {"end_before_start"}),
        ({"end_time_unix_nano": 0}, {"no_end_time"}),
        ({"start_time_unix_nano": 0}, {"time_out_of_range"}),
        ({"start_time_unix_nano": NOW - LIMITS.past_ns - 1}, {"time_out_of_range"}),
        ({"start_time_unix_nano": NOW - LIMITS.past_ns}, set()),
        ({"start_time_unix_nano": NOW + LIMITS.future_ns, "end_time_unix_nano": 2**63 - 1}, set()),
        ({"start_time_unix_nano": 2**63 - 1, "end_time_unix_nano": 2**63 - 1}, {"time_out_of_range"}),
        ({"name": "ä" * 600}, {"name_cut"}),
        ({"status": Status(message="x" * 2_000)}, {"name_cut"}),
        ({"attributes": {"k" * 300: "v"}}, {"attribute_cut"}),
        ({"attributes": [("a", 1), ("a", 2)]}, {"duplicate_attribute"}),
        ({"events": [Span.Event(name="e")] * 129}, {"events_dropped"}),
        ({"links": [Span.Link()] * 129}, {"links_dropped"}),
        ({"events": [Span.Event(attributes=[pair("k" * 300, 1)])]}, {"attribute_cut"}),
    ],
)
def test_what_was_cut_or_does_not_add_up_is_flagged(fields: dict, flags: set[str]):
    decoded = decode(raw([request(span(5), span(1, **fields))]), LIMITS)
    assert decoded.bad.num_rows == 0
    assert flags_of(decoded, 1) == flags and flags_of(decoded, 0) == set()


def test_names_are_cut_between_characters():
    name = decode(raw([request(span(1, name="x" + "ä" * 600))]), LIMITS).spans["name"][0]
    assert name == "x" + "ä" * 511


def test_of_10_000_attributes_the_first_1_024_are_kept():
    decoded = decode(raw([request(span(1, attributes={f"key.{i}": i for i in range(10_000)}))]), LIMITS)
    assert attributes_of(decoded) == {f"key.{i}": str(i) for i in range(1_024)}
    assert flags_of(decoded) == {"attributes_dropped"}


def test_of_equal_keys_the_last_value_stays_also_when_cutting_made_them_equal():
    pairs = [("a", 1), ("b", 2), ("a", "x"), ("k" * 256, 3), ("k" * 300, 4)]
    decoded = decode(raw([request(span(1, attributes=pairs), span(2, attributes={"a": 5}))]), LIMITS)
    assert attributes_of(decoded) == {"b": "2", "a": "x", "k" * 256: "4"}
    assert attributes_of(decoded, 1) == {"a": "5"}
    assert flags_of(decoded) == {"duplicate_attribute", "attribute_cut"}


def test_a_5_mb_attribute_is_kept_whole_and_a_longer_one_than_any_body_is_cut():
    text = "prompt ä" * 700_000
    decoded = decode(raw([request(span(1, attributes={"input": text}))]), LIMITS)
    assert attributes_of(decoded) == {"input": text} and flags_of(decoded) == set()
    small = replace(LIMITS, message_bytes=10)
    cut = decode(raw([request(span(1, attributes={"input": "é" * 41, "n": 1}))]), small)
    assert attributes_of(cut) == {"input": "é" * 40, "n": "1"} and flags_of(cut) == {"attribute_cut"}


def test_what_was_cut_of_a_resource_is_flagged_on_each_of_its_spans():
    body = request(span(1), span(2), resource={"service.name": "web", "k" * 300: "v"})
    decoded = decode(raw([request(span(3)), body]), LIMITS)
    assert [flags_of(decoded, row) for row in range(3)] == [set(), {"attribute_cut"}, {"attribute_cut"}]
    assert decoded.spans["service"].to_list() == ["web"] * 3


def test_events_and_links_come_with_their_attributes():
    events = [Span.Event(time_unix_nano=5, name="first", attributes=[pair("n", 1)]), Span.Event(name="second")]
    links = [Span.Link(trace_id=b"\x01" * 16, span_id=b"\x02" * 8, attributes=[pair("why", "because")])]
    decoded = decode(raw([request(span(1), span(2, events=events, links=links))]), LIMITS)
    assert decoded.events.rows() == [(1, 5, "first"), (1, 0, "second")]
    assert decoded.links.rows() == [(1, "01" * 16, "02" * 8)]
    assert decoded.event_attributes.owner.tolist() == [0] and decoded.event_attributes.integer.to_pylist() == [1]
    assert decoded.link_attributes.text.to_pylist() == ["because"]


def test_a_wide_request_decodes_as_its_parts_do():
    bodies = [path.read_bytes() for path in captures()[:20]]
    apart = [decode(raw([body]), LIMITS).spans.drop("request", "position", "resource") for body in bodies]
    joined = decode(raw([b"".join(bodies)]), LIMITS).spans.drop("request", "position", "resource")
    assert joined.equals(pl.concat(apart))
