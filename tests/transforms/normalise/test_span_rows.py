import json
from datetime import date
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from schemas.limits import LIMITS
from schemas.price_book import PriceBook, compile_book
from tests.transforms.records import NOW, START, pair, raw, request, span
from transforms.observe import Observed, observe

CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.input.messages": json.dumps(
        [{"role": "user", "parts": [{"type": "text", "content": "mail bob@example.com"}]}]
    ),
}


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return compile_book()


def rows_of(observed: Observed, table: str = "spans") -> list[dict[str, Any]]:
    return observed.tables[table].to_pylist()


def run(book: PriceBook, *spans: Span, redact: bool = False) -> list[dict[str, Any]]:
    observed = observe(raw([request(*spans)], redact=redact), book, LIMITS, "")
    assert observed.tables["dead_letters"].to_pylist() == []
    return rows_of(observed)


def test_a_call_is_priced_and_its_messages_are_taken_out_of_the_attributes(book: PriceBook):
    [row] = run(book, span(1, attributes=CALL | {"plain": "value"}))
    assert (row["kind"], row["provider"], row["input_tokens"], row["output_tokens"]) == ("llm", "openai", 1_000, 100)
    assert (row["cost_nano"], row["cost_status"]) == (3_500_000, "priced")
    attributes = dict(row["attributes"])
    assert attributes["plain"] == "value" and attributes["gen_ai.usage.input_tokens"] == "1000"
    assert "gen_ai.input.messages" not in attributes and len(row["input_hashes"]) == 1


def test_a_span_that_is_no_call_costs_nothing_and_says_so(book: PriceBook):
    [row] = run(book, span(1))
    assert (row["kind"], row["cost_nano"], row["cost_status"], row["price_id"]) == ("other", None, "none", "")


def test_a_failed_call_without_usage_does_not_bill(book: PriceBook):
    call = {key: value for key, value in CALL.items() if "usage" not in key}
    failed = span(1, attributes=call)
    failed.status.code = Status.STATUS_CODE_ERROR
    observed = observe(raw([request(failed, span(2, attributes=call), span(3))]), book, LIMITS, "")
    assert observed.skeletons["billable"].to_pylist() == [False, True, False]


def test_end_before_start_is_a_duration_of_zero_and_a_start_out_of_range_has_the_first_day(book: PriceBook):
    early, late, normal = run(
        book,
        span(1, end_time_unix_nano=START - 5),
        span(2, start_time_unix_nano=2**63 - 1, end_time_unix_nano=2**63 - 1),
        span(3),
    )
    assert (early["duration_ns"], early["flags"], early["day"]) == (0, ["end_before_start"], date(2026, 11, 23))
    assert (late["day"], late["flags"]) == (date(1970, 1, 1), ["time_out_of_range"])
    assert (normal["duration_ns"], normal["flags"]) == (5_000_000, [])


def test_plain_values_are_cut_and_message_bodies_are_not(book: PriceBook):
    body = "word " * 10_000
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": body}]}])
    observed = observe(
        raw([request(span(1, attributes=CALL | {"gen_ai.input.messages": messages, "note": "é" * 5_000}))]),
        book,
        LIMITS,
        "",
    )
    [row] = rows_of(observed)
    assert dict(row["attributes"])["note"] == "é" * 2_048 and row["flags"] == ["attribute_cut"]
    assert [body in message["body"] for message in rows_of(observed, "messages")] == [True]


def test_a_5_mb_attribute_and_10_000_attributes_do_not_harm_the_other_spans(book: PriceBook):
    rows = run(
        book,
        span(1, attributes={"big": "x" * 5_000_000}),
        span(2, attributes={f"key.{at}": at for at in range(10_000)}),
        span(3, attributes={"a": "b"}),
    )
    assert [row["flags"] for row in rows] == [["attribute_cut"], ["attributes_dropped"], []]
    assert [len(row["attributes"]) for row in rows] == [1, 1_024, 1]


def test_private_data_is_redacted_in_every_column_and_every_table(book: PriceBook):
    mail = "bob@example.com"
    sent = span(
        1,
        name=f"by {mail}",
        attributes=CALL | {"user.id": mail, "session.id": mail, "note": mail, mail: [mail], "tags": [mail]},
        events=[Span.Event(name=mail, attributes=[pair("text", mail)])],
        links=[Span.Link(attributes=[pair("text", mail)])],
    )
    sent.status.code, sent.status.message = Status.STATUS_CODE_ERROR, f"no such user {mail}"
    bad = span(2, name=mail, trace_id=b"1")
    body = request(sent, bad, resource={"service.name": mail, "owner": mail})
    observed = observe(raw([body], redact=True), book, LIMITS, "")
    assert mail not in str({name: table.to_pylist() for name, table in observed.tables.items()})
    assert mail not in str(observed.skeletons.to_pylist())
    assert mail in str(rows_of(observe(raw([body]), book, LIMITS, "")))
    [row] = rows_of(observed)
    assert row["name"] == "by [redacted:email]" and row["user_id"] == "[redacted:email]"


def test_a_secret_that_straddles_the_cut_is_redacted_first(book: PriceBook):
    key = "ghp_" + "a1B2" * 9
    [row] = run(book, span(1, attributes={"note": "x" * (LIMITS.value_bytes - 10) + " " + key}), redact=True)
    assert "ghp_" not in dict(row["attributes"])["note"]


def test_of_two_sightings_the_richer_has_the_higher_version(book: PriceBook):
    event = Span.Event(name="e")
    sightings = [
        span(1, end_time_unix_nano=0),
        span(1, end_time_unix_nano=0, attributes={"a": 1, "b": 2}),
        span(1),
        span(1, attributes={"a": 1}),
        span(1, attributes={"a": 1}, events=[event]),
        span(1, attributes={"a": 1}, events=[event], links=[Span.Link()]),
    ]
    versions = [row["version"] for row in run(book, *sightings)]
    assert versions == sorted(versions) and len({version >> 40 for version in versions}) == len(sightings)


def test_equal_sightings_have_equal_versions_and_different_ones_do_not(book: PriceBook):
    sent = {"attributes": {"a": "x", "b": 1}}
    different = [
        {},
        {"name": "other"},
        {"parent_span_id": b"\x01" * 8},
        {"start_time_unix_nano": START + 1},
        {"end_time_unix_nano": START + 6},
        {"attributes": {"a": "y", "b": 1}},
        {"attributes": {"a": "x", "c": 1}},
        {"attributes": {"b": 1, "a": "x"}},
    ]
    versions = [run(book, span(1, **(sent | fields)))[0]["version"] for fields in different]
    assert len({version & (2**40 - 1) for version in versions}) == len(different)
    assert len({version >> 40 for version in versions}) == 1
    again = run(book, span(9), *(span(1, **(sent | fields)) for fields in different))
    assert [row["version"] for row in again[1:]] == versions
    later = observe(raw([request(span(1, **sent))], received_at=NOW + 1), book, LIMITS, "")
    assert rows_of(later)[0]["version"] == versions[0]


def test_the_request_id_of_a_reservation_is_kept_whatever_the_dialect(book: PriceBook):
    asked = {"spanmill.request_id": "req-7"}
    vercel = {"ai.operationId": "ai.generateText.doGenerate", "ai.model.id": "gpt-4o", "ai.model.provider": "openai"}
    spans = span(1, attributes=CALL | asked), span(2, attributes=vercel | asked), span(3, attributes=asked), span(4)
    observed = observe(raw([request(*spans)]), book, LIMITS, "")
    assert [row["request_id"] for row in rows_of(observed)] == ["req-7", "req-7", "req-7", ""]
    assert observed.skeletons["request_id"].to_pylist() == ["req-7", "req-7", "req-7", ""]
