import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.transforms.records import request, span
from transforms.redact import texts as redact
from transforms.redact.request import redact_request
from transforms.redact.texts import may_be_private, redact_text


def redacted(*texts: str | None) -> list[str | None]:
    return redact_text(pl.Series(texts, dtype=pl.String), pl.Series([True] * len(texts))).to_list()


# put together here, so that no scanner takes them for keys that leaked
SECRETS = {
    "openai": "sk-" + "aB3d" * 12,
    "openai project": "sk-proj-" + "aB3_d-" * 8,
    "anthropic": "sk-ant-" + "api03-" + "x9Y_" * 10,
    "aws": "AKIA" + "ABCDEFGH12345678",
    "aws session": "ASIA" + "ABCDEFGH12345678",
    "github": "ghp_" + "a1B2" * 9,
    "github fine": "github_pat_" + "11ABC_" + "d4e5" * 8,
    "google": "AIza" + "Sy-_a" * 7,
    "slack": "xoxb-" + "123456789012-abcDEF",
    "ours": "sm_" + "abcdef012345" + "_" + "Ab1" * 15,
}
JWT = "eyJ" + "hbGciOiJIUzI1NiJ9" + "." + "eyJ" + "zdWIiOiIxMjM0In0" + "." + "s1gn-ature_"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc==\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize("name", SECRETS)
def test_api_keys_are_redacted_in_any_surroundings(name: str):
    key = SECRETS[name]
    assert redacted(key, f'{{"key":"{key}"}}', f"schlüssel={key}, und") == [
        "[redacted:api_key]",
        '{"key":"[redacted:api_key]"}',
        "schlüssel=[redacted:api_key], und",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"token {JWT}!", "token [redacted:token]!"),
        ("Authorization: Bearer abc.DEF-123_456~789+/==", "Authorization: [redacted:token]"),
        ("bearer  0123456789abcdef0123", "[redacted:token]"),
        (f"a\n{PEM}\nb", "a\n[redacted:private_key]\nb"),
        ("cut -----BEGIN PRIVATE KEY-----\nMIIE", "cut [redacted:private_key]"),
        ('"-----BEGIN EC PRIVATE KEY-----\\nMII\\n-----END EC PRIVATE KEY-----\\n"', '"[redacted:private_key]\\n"'),
        ("write to bob.smith+tag@mail.example.co.uk.", "write to [redacted:email]."),
        ("<用户@例子.公司>", "<[redacted:email]>"),
        ("jürgen@müller.de und x@y.io", "[redacted:email] und [redacted:email]"),
        ("card 4111 1111 1111 1111 exp", "card [redacted:card] exp"),
        ("4111-1111-1111-1111", "[redacted:card]"),
        ('{"pan":"5500005555555559"}', '{"pan":"[redacted:card]"}'),
        ("378282246310005", "[redacted:card]"),
        ("カード4012888888881881です", "カード[redacted:card]です"),
        ("call +49 (171) 123-4567 now", "call [redacted:phone] now"),
        ("+14155552671", "[redacted:phone]"),
        ("tel:+33612345678", "tel:[redacted:phone]"),
        ("(415) 555-2671 or 415-555-2671 or 415.555.2671", " or ".join(["[redacted:phone]"] * 3)),
        ("appelez 06 12 34 56 78", "appelez [redacted:phone]"),
        ("ring 020 7946 0958", "ring [redacted:phone]"),
        ("電話は+81-90-1234-5678。", "電話は[redacted:phone]。"),
    ],
)
def test_private_data_is_redacted_and_the_rest_stays(text: str, expected: str):
    assert redacted(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain words",
        "sk-learn and task-based-scheduling-of-everything",
        "sk-short",
        "AKIA",
        "the bearer of news",
        "eyJhbGciOiJIUzI1NiJ9",
        "a @ b, user@localhost, @types/node@18.0.0",
        "4111 1111 1111 1112",
        "1234567890123456",
        "call_4111111111111111",
        "chatcmpl-4111111111111111abc",
        "0.4111111111111111",
        "1795420716340682326",
        "1795420716340",
        "2026-08-21T10:15:30.123456+02:00",
        "2026-08-21 10:15:30 +1000 2026-08-22 10:15:30",
        "550e8400-e29b-41d4-a716-446655440000",
        "6e74728018d43bc9f053fe8f23f7f5ce",
        "127.0.0.1:8080, 192.168.100.200",
        "1,234,567,890 and 3.14159265358979",
        "1e+10000000000",
        "claude-sonnet-4-5-20250929",
        "gpt-4o-2024-08-06",
        "12 + 34567890123",
        "input 200 300 4000",
        "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----",
    ],
)
def test_ids_numbers_times_and_words_are_left_alone(text: str):
    assert redacted(text) == [text]


def test_only_enabled_rows_are_redacted_and_unknown_counts_as_enabled():
    mail = "bob@example.com"
    values = pl.Series([mail, mail, mail, None])
    assert redact_text(values, pl.Series([True, False, None, True])).to_list() == [
        "[redacted:email]",
        mail,
        "[redacted:email]",
        None,
    ]
    assert values.to_list() == [mail, mail, mail, None]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(), st.text("0123456789 +-()@.:skeyJ", max_size=60)), max_size=8))
def test_a_column_gives_what_each_text_gives_alone_and_a_second_pass_changes_nothing(texts: list[str | None]):
    together = redacted(*texts)
    assert together == [redacted(text)[0] for text in texts]
    assert redacted(*together) == together


def test_a_rule_that_raises_fails_closed_on_the_texts_that_it_was_to_clean(monkeypatch: pytest.MonkeyPatch):
    def broken(texts: pl.Series) -> pl.Series:
        raise RuntimeError("planted")

    monkeypatch.setattr(redact, "_RULES", (("secret", broken), *redact._RULES))
    assert redacted("a secret of bob@example.com", "bob@example.com", "harmless") == [
        "[redaction failed]",
        "[redacted:email]",
        "harmless",
    ]


def test_a_long_text_without_private_data_is_the_same_text():
    text = "lorem ipsum 12 dolor, " * 50_000
    assert redacted(text, text + "x@y.io") == [text, text + "[redacted:email]"]


def test_an_encoded_request_is_redacted_in_every_text_and_stays_decodable():
    mail = "bob@example.com"
    body = request(
        span(1, name=mail, attributes={mail: {"a": [mail, 5, {"b": mail}]}, "n": 1}), resource={"service.name": mail}
    )
    cleaned = redact_request(body, "traces")
    assert b"bob@" not in cleaned
    before, after = ExportTraceServiceRequest.FromString(body), ExportTraceServiceRequest.FromString(cleaned)
    assert after.resource_spans[0].scope_spans[0].spans[0].trace_id == (1).to_bytes(16, "big")
    assert str(after) == str(before).replace(mail, "[redacted:email]")


PRIVATE = [
    *SECRETS.values(),
    JWT,
    PEM,
    "Bearer\tabc.DEF-123_456~789",
    "bob@example.com",
    "4111 1111 1111 1111",
    "+14155552671",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text('\n\t"\\/ a9é\0', max_size=4) | st.sampled_from(PRIVATE), max_size=6).map("".join))
def test_json_that_is_said_to_hold_nothing_private_holds_nothing_that_redaction_changes(text: str):
    document = orjson.dumps({"parts": [{"content": text}]}).decode()
    changed = redacted(text) != [text]
    assert may_be_private(pl.Series([document])).to_list()[0] >= changed


def test_json_without_any_mark_is_not_looked_into():
    assert may_be_private(pl.Series(['{"role":"user","parts":[]}', '{"a":"bob@example.com"}'])).to_list() == [
        False,
        True,
    ]
