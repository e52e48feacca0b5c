import base64

import pytest
from clickhouse_connect.driver.transform import extract_exception_with_tag

from services.store.protocol import EngineError, StoreError, Summary, exception_block, parse_call


def test_settings_parameters_and_protocol_words_are_told_apart():
    call = parse_call("POST", b"query=SELECT+%7Bx:String%7D&param_x=a%20b&max_threads=1&async_insert=1&database=d", {})
    assert (call.query, call.database) == ("SELECT {x:String}", "d")
    assert call.params == {"x": "a b"}
    assert call.settings == {"max_threads": "1"}
    assert not call.read_only


def test_a_get_may_only_read():
    assert parse_call("GET", b"", {}).read_only


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        (b"", {"authorization": "Basic " + base64.b64encode(b"me:secret").decode()}),
        (b"", {"x-clickhouse-user": "me", "x-clickhouse-key": "secret"}),
        (b"user=me&password=secret", {}),
    ],
)
def test_credentials_are_taken_from_every_place_that_clients_use(query: bytes, headers: dict[str, str]):
    call = parse_call("POST", query, headers)
    assert (call.user, call.password) == ("me", "secret")


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        (b"query=%ff", {}, 36),
        (b"session_timeout=soon", {}, 36),
        (b"compress=1", {}, 344),
        (b"decompress=1", {}, 344),
        (b"a%27b=1", {}, 115),
        (b"", {"content-type": "multipart/form-data; boundary=x"}, 344),
        (b"", {"authorization": "Basic ?"}, 516),
    ],
)
def test_what_cannot_be_read_or_is_not_spoken_is_refused(query: bytes, headers: dict[str, str], code: int):
    with pytest.raises(StoreError) as refusal:
        parse_call("POST", query, headers)
    assert refusal.value.code == code


@pytest.mark.parametrize(("code", "status"), [(62, 400), (60, 404), (516, 403), (202, 503), (159, 408), (241, 500)])
def test_an_error_code_has_the_status_of_the_real_server(code: int, status: int):
    assert StoreError(code, "NAME", "why").status == status


def test_the_engines_code_is_read_out_of_its_text():
    error = EngineError("Streaming insert finish failed: Code: 27. DB::Exception: Cannot parse (X) (version 1)")
    assert error.code == 27
    assert error.text == "Code: 27. DB::Exception: Cannot parse (X) (version 1)"
    assert EngineError("something else").code == 1002


def test_an_error_in_a_begun_answer_is_found_by_the_client():
    error = StoreError(395, "NAME", "it broke")
    assert "it broke" in (extract_exception_with_tag(b"rows" + exception_block(error, "a1b2"), "a1b2") or "")


def test_the_summary_holds_every_number_as_text():
    assert '"written_rows":"7"' in Summary(written_rows=7).header()
