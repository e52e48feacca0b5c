"""Bad input through the whole product: a clear answer or a dead letter, and the rest of the request arrives."""

import gzip
import json
import os
import secrets
import time

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from integration_tests.product import spanmill
from integration_tests.traffic import trace_ids


def _request(names: list[str]) -> ExportTraceServiceRequest:
    """One trace with a chat span per name, all now."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    trace_id, now = secrets.token_bytes(16), time.time_ns()
    for name in names:
        span = scope.spans.add(trace_id=trace_id, span_id=secrets.token_bytes(8), name=name)
        span.start_time_unix_nano, span.end_time_unix_nano = now - 10**9, now
        span.attributes.add(key="gen_ai.operation.name", value=AnyValue(string_value="chat"))
        span.attributes.add(key="gen_ai.provider.name", value=AnyValue(string_value="openai"))
        span.attributes.add(key="gen_ai.request.model", value=AnyValue(string_value="gpt-4o"))
        span.attributes.add(key="gen_ai.usage.input_tokens", value=AnyValue(int_value=10))
        span.attributes.add(key="gen_ai.usage.output_tokens", value=AnyValue(int_value=5))
    return request


def _spans(request: ExportTraceServiceRequest):
    return request.resource_spans[0].scope_spans[0].spans


def _outcome(product, request: ExportTraceServiceRequest, body: bytes | None = None):
    """Posts and waits; (status, spans rows by name, dead letters of this request's spans, partial success)."""
    before = product.rows("SELECT count() AS n FROM dead_letters")[0]["n"]
    answer = product.post(request.SerializeToString() if body is None else body)
    product.caught_up()
    ids = [t for t in trace_ids(request.SerializeToString()) if len(t) == 32]
    rows = product.rows("SELECT * FROM spans WHERE trace_id IN {ids:Array(String)} ORDER BY name", ids=ids)
    dead = product.rows("SELECT *, hex(raw) AS raw_hex FROM dead_letters ORDER BY received_at DESC, offset DESC")
    partial = (
        ExportTraceServiceResponse.FromString(answer.content).partial_success if answer.status_code == 200 else None
    )
    return answer.status_code, rows, dead[: len(dead) - before], partial


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("trace_id", b"short", "InvalidTraceId"),
        ("trace_id", b"\0" * 16, "InvalidTraceId"),
        ("span_id", b"x" * 9, "InvalidSpanId"),
        ("parent_span_id", b"x" * 7, "InvalidParentSpanId"),
        ("start_time_unix_nano", 2**63 + 5, "TimeOutOfRange"),
    ],
)
def test_a_span_that_cannot_be_kept_is_a_dead_letter_and_the_others_arrive(product, field, value, error):
    request = _request(["a good", "b bad", "c good"])
    setattr(_spans(request)[1], field, value)
    status, rows, dead, _ = _outcome(product, request)
    assert status == 200
    assert [row["name"] for row in rows] == ["a good", "c good"]
    assert [letter["error"] for letter in dead] == [error]
    kept = ExportTraceServiceRequest.FromString(bytes.fromhex(dead[0]["raw_hex"]))
    assert [span.name for span in _spans(kept)] == ["b bad"]


def test_text_that_is_not_utf_8_costs_its_own_span_only_and_the_sender_is_told(product):
    request = _request(["a good", "MARK", "c good"])
    body = request.SerializeToString().replace(b"MARK", b"\xff\xfe\xfd\xfc")
    status, rows, dead, partial = _outcome(product, request, body)
    assert status == 200
    assert partial is not None and partial.rejected_spans == 1
    assert [row["name"] for row in rows] == ["a good", "c good"]
    assert len(dead) == 1


@pytest.mark.parametrize(
    "body", [b"\x0a\x7fshort", os.urandom(400), b"not otlp at all"], ids=["truncated", "random", "text"]
)
def test_bytes_that_are_not_otlp_are_refused_with_400(product, body):
    assert product.post(body).status_code == 400


def test_a_wrong_content_type_is_refused_with_415(product):
    assert product.post(b"", content_type="text/plain").status_code == 415


def test_a_gzip_bomb_is_refused_with_413(product):
    bomb = gzip.compress(b"\0" * (64 * 2**20), 9)
    assert product.post(bomb, content_encoding="gzip").status_code == 413


def test_ten_thousand_attributes_are_cut_at_the_limit_and_said_so(product):
    request = _request(["a many", "b plain"])
    for i in range(10_000):
        _spans(request)[0].attributes.add(key=f"k{i:05d}", value=AnyValue(string_value="v"))
    status, rows, dead, _ = _outcome(product, request)
    assert (status, dead) == (200, [])
    assert len(rows[0]["attributes"]) <= 1_024
    assert "attributes_dropped" in rows[0]["flags"]
    assert rows[1]["flags"] == []


def test_an_attribute_of_five_megabytes_is_cut_and_said_so(product):
    request = _request(["a big", "b plain"])
    _spans(request)[0].attributes.add(key="blob", value=AnyValue(string_value="x" * 5 * 2**20))
    status, rows, dead, _ = _outcome(product, request)
    assert (status, dead) == (200, [])
    assert len(rows[0]["attributes"]["blob"]) <= 4_096
    assert "attribute_cut" in rows[0]["flags"]


def test_strange_attribute_keys_are_kept_as_they_are_and_of_equal_ones_the_last(product):
    request = _request(["a strange", "b plain"])
    strange = {"__proto__": "p", "gen_ai.prompt.__proto__.x": "q", "nul\0key": "nul\0value", "": "empty"}
    for key, value in [*strange.items(), ("twice", "first"), ("twice", "last"), ("k" * 2**20, "long")]:
        _spans(request)[0].attributes.add(key=key, value=AnyValue(string_value=value))
    status, rows, dead, _ = _outcome(product, request)
    assert (status, dead) == (200, [])
    found = rows[0]["attributes"]
    assert {key: found.get(key) for key in [*strange, "twice"]} == {**strange, "twice": "last"}
    assert found["k" * 256] == "long"
    assert rows[1]["flags"] == []


@pytest.mark.parametrize(
    ("start", "end", "flag"),
    [
        (10**9, 2 * 10**9, "time_out_of_range"),  # 1970
        (9_223_286_400 * 10**9, 9_223_286_401 * 10**9, "time_out_of_range"),  # April 2262
        (None, 5, "end_before_start"),
    ],
    ids=["1970", "2262", "end before start"],
)
def test_impossible_times_are_flagged_and_the_span_is_kept(product, start, end, flag):
    request = _request(["a odd", "b plain"])
    odd = _spans(request)[0]
    if start is not None:
        odd.start_time_unix_nano = start
    odd.end_time_unix_nano = end
    status, rows, dead, _ = _outcome(product, request)
    assert (status, dead) == (200, [])
    assert flag in rows[0]["flags"]
    assert rows[0]["duration_ns"] >= 0


@pytest.mark.parametrize(
    "value",
    [
        AnyValue(int_value=-5),
        AnyValue(int_value=2**62),
        AnyValue(double_value=float("nan")),
        AnyValue(string_value="many"),
        AnyValue(string_value="1e999"),
    ],
    ids=["negative", "absurd", "nan", "text", "infinite"],
)
def test_a_token_count_that_cannot_be_true_is_flagged_and_never_charged(product, value):
    request = _request(["a odd", "b plain"])
    for attribute in _spans(request)[0].attributes:
        if attribute.key == "gen_ai.usage.input_tokens":
            attribute.value.CopyFrom(value)
    status, rows, dead, _ = _outcome(product, request)
    assert (status, dead) == (200, [])
    assert rows[0]["input_tokens"] is None
    assert "bad_token_count" in rows[0]["token_flags"]
    [row] = product.rows(
        "SELECT sum(input_tokens) AS tokens, sum(cost_nano) AS cost FROM usage WHERE trace_id = {t:String}",
        t=rows[0]["trace_id"],
    )
    assert row["tokens"] == 10
    assert row["cost"] >= 0


def test_json_nested_too_deep_is_refused_with_400(product):
    body = b'{"resourceSpans":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    assert product.post(body, content_type="application/json").status_code == 400


def test_a_value_nested_200_000_deep_costs_at_most_its_span(product):
    inner = b""
    # AnyValue{array_value{values[...]}} from the inside out, bounded by what a varint length takes
    for _ in range(20_000):
        inner = b"\x2a" + _varint(len(inner) + 1 + len(_varint(len(inner)))) + b"\x0a" + _varint(len(inner)) + inner
    attribute = b"\x0a\x01k\x12" + _varint(len(inner)) + inner
    span = b"\x4a" + _varint(len(attribute)) + attribute
    scope = b"\x12" + _varint(len(span)) + span
    resource = b"\x12" + _varint(len(scope)) + scope
    assert product.post(b"\x0a" + _varint(len(resource)) + resource).status_code in (200, 400)
    assert product.post(_request(["alive"]).SerializeToString()).status_code == 200


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def test_a_trace_whose_spans_name_each_other_as_parents_is_shown_whole(product):
    request = _request(["a", "b", "c"])
    a, b, c = _spans(request)
    a.parent_span_id, b.parent_span_id, c.parent_span_id = b.span_id, a.span_id, b"orphan!!"
    _, rows, _, _ = _outcome(product, request)
    assert len(rows) == 3
    [trace] = product.rows("SELECT * FROM traces WHERE trace_id = {t:String}", t=rows[0]["trace_id"])
    assert sorted(trace["names"]) == ["a", "b", "c"]
    assert (trace["span_count"], trace["orphan_count"]) == (3, 1)
    assert trace["cycle_count"] >= 1
    assert trace["call_count"] >= 1


def test_every_export_sent_three_times_gives_the_rows_of_one(product):
    request = _request(["a", "b"])
    body = request.SerializeToString()
    for _ in range(3):
        assert product.post(body).status_code == 200
    _, rows, _, _ = _outcome(product, request)
    assert [row["name"] for row in rows] == ["a", "b"]
    [trace] = product.rows(
        "SELECT span_count, cost_nano FROM traces WHERE trace_id = {t:String}", t=rows[0]["trace_id"]
    )
    [sums] = product.rows(
        "SELECT count() AS n, sum(cost_nano) AS cost FROM usage WHERE trace_id = {t:String}",
        t=rows[0]["trace_id"],
    )
    assert (trace["span_count"], sums["n"], sums["cost"]) == (2, 2, trace["cost_nano"])


def test_a_broken_invariant_is_counted_by_dialect_in_the_status(product):
    request = _request(["a total that is off", "b plain"])
    _spans(request)[0].attributes.add(key="gen_ai.usage.total_tokens", value=AnyValue(int_value=99))
    _, rows, _, _ = _outcome(product, request)
    assert [row["token_flags"] for row in rows] == [["total_mismatch"], []]
    done = spanmill("status", "--data", str(product.data), "-o", "json")
    breaches = [one for row in json.loads(done.stdout) for one in row["breaches"]]
    rule = "input and output add up to the total"
    [counted] = [one for one in breaches if (one["dialect"], one["invariant"]) == ("gen_ai", rule)]
    [there] = product.rows(
        "SELECT count() AS n FROM spans WHERE dialect = 'gen_ai' AND has(token_flags, 'total_mismatch')"
    )
    assert counted["spans"] == there["n"] >= 1
    assert rule in spanmill("status", "--data", str(product.data)).stdout
