import pytest

from pipelines.flink.source import Record, raw_table
from schemas.arrow import RAW

HEADERS = {
    "org": b"acme",
    "team": b"search",
    "key_id": b"k1",
    "signal": b"logs",
    "redact": b"0",
    "received_at": b"1767225600000000001",
}


def _row(headers, body: bytes | None = b"x"):
    table = raw_table("spans.raw", [Record(body, headers, 1_767_225_600_123, 2, 41)])
    assert table.schema == RAW
    return table.to_pylist()[0]


def test_headers_become_the_columns_of_a_raw_row():
    assert _row(HEADERS) == {
        "topic": "spans.raw",
        "partition": 2,
        "offset": 41,
        "org": "acme",
        "team": "search",
        "key_id": "k1",
        "signal": "logs",
        "redact": False,
        "received_at": 1_767_225_600_000_000_001,
        "body": b"x",
    }


@pytest.mark.parametrize("headers", [None, {}, {"org": None}, {"org": b"\xff\xfe"}])
def test_a_record_without_a_tenant_has_an_empty_org(headers):
    assert _row(headers)["org"] == ""


@pytest.mark.parametrize("received_at", [b"", b"soon", b"-5", b"9" * 19, b"1" * 40, "١٢".encode() + b"x"])
def test_a_record_without_a_sound_time_of_receipt_was_received_at_its_timestamp(received_at):
    assert _row(HEADERS | {"received_at": received_at})["received_at"] == 1_767_225_600_123_000_000


@pytest.mark.parametrize("redact", [b"1", b"", b"no", b"\xff"])
def test_redaction_is_off_only_when_the_header_says_so(redact):
    assert _row(HEADERS | {"redact": redact})["redact"] is True


def test_a_record_without_a_signal_holds_traces():
    assert _row({"org": b"acme"})["signal"] == "traces"


def test_a_record_without_a_value_has_an_empty_body():
    assert _row(HEADERS, None)["body"] == b""
