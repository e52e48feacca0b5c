import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from schemas.arrow import MESSAGES, RAW, SPAN_LOGS
from schemas.limits import LIMITS, Limits
from transforms.messages.logs import span_logs
from transforms.otlp.decode import decode_logs

CAPTURES = Path(__file__).parents[2] / "captures"
NOW = 1_795_420_000 * 10**9
DETAILS = "gen_ai.client.inference.operation.details"


def any_value(value: Any) -> AnyValue:
    if isinstance(value, dict):
        made = AnyValue(kvlist_value=KeyValueList())
        for key, item in value.items():
            made.kvlist_value.values.add(key=key).value.CopyFrom(any_value(item))
        return made
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(string_value=value)


def request(records: list[dict[str, Any]]) -> bytes:
    """records: event, body, attributes, and any other field of a LogRecord."""
    sent = ExportLogsServiceRequest()
    scope = sent.resource_logs.add().scope_logs.add()
    for given in records:
        fields = {"trace_id": b"\1" * 16, "span_id": b"\2" * 8, "time_unix_nano": NOW} | given.get("fields", {})
        record = scope.log_records.add(event_name=given["event"], **fields)
        if "body" in given:
            record.body.CopyFrom(any_value(given["body"]))
        for key, value in given.get("attributes", {}).items():
            record.attributes.add(key=key).value.CopyFrom(any_value(value))
    return sent.SerializeToString()


def read(bodies: list[bytes], redact: bool = False, limits: Limits = LIMITS) -> list[dict[str, Any]]:
    """The rows, with bodies in place of hashes."""
    rows = [
        {
            "topic": "spans.raw",
            "partition": 0,
            "offset": number,
            "org": "acme",
            "team": "",
            "key_id": "k",
            "signal": "logs",
            "redact": redact,
            "received_at": NOW,
            "body": body,
        }
        for number, body in enumerate(bodies)
    ]
    table, messages = span_logs(decode_logs(pa.Table.from_pylist(rows, schema=RAW), limits), limits)
    assert table.schema == SPAN_LOGS and messages.schema == MESSAGES
    said = {row["hash"]: orjson.loads(row["body"]) for row in messages.to_pylist()}
    return [
        {
            **row,
            "inputs": [said[item] for item in row["input_hashes"]],
            "outputs": [said[item] for item in row["output_hashes"]],
            "attributes": dict(row["attributes"]),
        }
        for row in table.to_pylist()
    ]


def text(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def test_events_of_one_call_are_rows_with_their_messages():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    rows = read(
        [
            request(
                [
                    {"event": "gen_ai.system.message", "body": {"content": "terse"}},
                    {"event": "gen_ai.user.message", "body": {"content": "hi"}},
                    {"event": "gen_ai.assistant.message", "body": {"tool_calls": [call]}},
                    {"event": "gen_ai.tool.message", "body": {"id": "c1", "content": '{"sky": "rain"}'}},
                    {
                        "event": "gen_ai.choice",
                        "body": {"index": 0, "message": {"role": "assistant", "content": "yes"}},
                        "attributes": {"gen_ai.system": "openai"},
                    },
                ]
            )
        ]
    )
    part = {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}
    answer = {"type": "tool_call_response", "id": "c1", "response": '{"sky": "rain"}'}
    assert [row["inputs"] for row in rows] == [
        [text("system", "terse")],
        [text("user", "hi")],
        [{"role": "assistant", "parts": [part]}],
        [{"role": "tool", "parts": [answer]}],
        [],
    ]
    assert rows[4]["outputs"] == [text("assistant", "yes")]
    assert rows[4]["attributes"] == {"gen_ai.system": "openai"}
    assert {(row["trace_id"], row["span_id"]) for row in rows} == {("01" * 16, "02" * 8)}
    assert {row["day"].isoformat() for row in rows} == {"2026-11-23"}
    assert len({row["id"] for row in rows}) == 5


def test_a_whole_call_in_structured_attributes_is_one_row_joined_by_response_id():
    attributes = {
        "gen_ai.response.id": "resp_1",
        "gen_ai.system_instructions": [{"type": "text", "content": "terse"}],
        "gen_ai.input.messages": [text("user", "hi")],
        "gen_ai.output.messages": [{**text("assistant", "yes"), "finish_reason": "stop"}],
        "gen_ai.usage.input_tokens": 7,
    }
    no_ids = {"trace_id": b"", "span_id": b""}
    (row,) = read([request([{"event": DETAILS, "attributes": attributes, "fields": no_ids}])])
    assert row["inputs"] == [text("system", "terse"), text("user", "hi")]
    assert row["outputs"] == [text("assistant", "yes")]
    assert (row["trace_id"], row["span_id"], row["response_id"]) == ("", "", "resp_1")
    assert row["attributes"] == {"gen_ai.response.id": "resp_1", "gen_ai.usage.input_tokens": "7"}


def test_records_that_are_no_genai_events_give_no_row():
    others = [{"event": "", "body": "a line"}, {"event": "http.request", "body": {"content": "x"}}]
    assert read([request(others)]) == []
    rows = read([request([others[0], {"event": "gen_ai.user.message", "body": {"content": "hi"}}, others[1]])])
    assert [row["inputs"] for row in rows] == [[text("user", "hi")]]


def test_the_same_record_twice_has_one_id_and_another_time_another():
    record = {"event": "gen_ai.user.message", "body": {"content": "hi"}}
    later = {**record, "fields": {"time_unix_nano": NOW + 1}}
    first, again, other = read([request([record]), request([record]), request([later])])
    assert first["id"] == again["id"] != other["id"]
    assert first["input_hashes"] == other["input_hashes"]


def test_redaction_covers_messages_and_what_stays_an_attribute():
    card = "4111 1111 1111 1111"
    sent = request(
        [
            {"event": "gen_ai.user.message", "body": {"content": f"card\n{card}"}, "attributes": {"note": card}},
            {"event": "gen_ai.evaluation.result", "body": {"why": card}, "attributes": {card: 1}},
        ]
    )
    assert card in json.dumps(read([sent]), default=str)
    hidden = json.dumps(read([sent], redact=True), default=str)
    assert "1111" not in hidden and "redacted" in hidden


def test_a_body_that_is_no_message_stays_as_an_attribute():
    rows = read(
        [
            request(
                [
                    {"event": "gen_ai.evaluation.result", "body": {"score": 1}},
                    {"event": "gen_ai.user.message", "body": {"odd": "x"}},
                    {"event": "gen_ai.user.message", "body": "plain"},
                    {"event": "gen_ai.user.message"},
                ]
            )
        ]
    )
    assert json.loads(rows[0]["attributes"]["body"]) == {"score": 1}
    assert json.loads(rows[1]["attributes"]["body"]) == {"odd": "x"}
    assert rows[2]["inputs"] == [text("user", "plain")] and rows[2]["attributes"] == {}
    assert rows[3]["inputs"] == [] and rows[3]["attributes"] == {}


def test_long_attributes_are_cut_to_the_limits():
    small = replace(LIMITS, value_bytes=40, key_bytes=20)
    record = {"event": "gen_ai.choice", "attributes": {"k" * 99: "é" * 99}}
    (row,) = read([request([record])], limits=small)
    ((key, value),) = row["attributes"].items()
    assert 0 < len(key.encode()) <= 20 and 0 < len(value.encode()) <= 40


@pytest.mark.parametrize(("time", "day"), [(1, "1970-01-01"), (2**63 - 1, "1970-01-01"), (NOW, "2026-11-23")])
def test_a_record_far_from_its_receipt_lies_in_the_first_partition(time, day):
    record = {"event": "gen_ai.user.message", "body": {"content": "hi"}, "fields": {"time_unix_nano": time}}
    (row,) = read([request([record])])
    assert row["day"].isoformat() == day and row["inputs"] == [text("user", "hi")]


def test_an_empty_batch_gives_no_rows():
    assert read([]) == []


@pytest.mark.parametrize(
    "path", sorted(CAPTURES.glob("*/*.logs*.binpb")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_every_record_of_every_capture_gives_a_row_with_content(path):
    rows = read([path.read_bytes()])
    sent = ExportLogsServiceRequest.FromString(path.read_bytes())
    assert len(rows) == sum(len(scope.log_records) for group in sent.resource_logs for scope in group.scope_logs) > 0
    assert all(row["inputs"] or row["outputs"] for row in rows)
    assert all(row["span_id"] or row["response_id"] for row in rows)
