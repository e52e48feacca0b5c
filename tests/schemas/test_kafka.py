"""KafkaAccess: what each client family is told, and what is refused. Files here only look like certificates."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.kafka import OPEN, KafkaAccess, UnusableAccess

_CA = "-----BEGIN CERTIFICATE-----\nauthority\n-----END CERTIFICATE-----\n"
_CHAIN = "-----BEGIN CERTIFICATE-----\nclient\n-----END CERTIFICATE-----\n"
_KEY = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name, text in (("ca", _CA), ("certificate", _CHAIN), ("key", _KEY)):
        found[name] = tmp_path / f"{name}.pem"
        found[name].write_text(text)
    return found


def account(**changes: object) -> KafkaAccess:
    asked = {"protocol": "SASL_SSL", "username": "spanmill", "password": "secret"}
    return KafkaAccess.model_validate(asked | changes)


def test_without_settings_nothing_is_proved():
    assert OPEN.librdkafka() == {"security.protocol": "plaintext"}
    assert OPEN.java() == {"security.protocol": "PLAINTEXT"}


def test_an_account_over_tls(files):
    access = account(ca=files["ca"])
    assert access.librdkafka() == {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "spanmill",
        "sasl.password": "secret",
        "ssl.ca.location": str(files["ca"]),
    }
    assert access.java() == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule "
        'required username="spanmill" password="secret";',
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": _CA,
    }


def test_tls_and_a_client_certificate_need_no_account(files):
    access = KafkaAccess(protocol="SSL", **files)
    assert access.librdkafka() == {
        "security.protocol": "ssl",
        "ssl.ca.location": str(files["ca"]),
        "ssl.certificate.location": str(files["certificate"]),
        "ssl.key.location": str(files["key"]),
    }
    assert access.java() == {
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": _CA,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.certificate.chain": _CHAIN,
        "ssl.keystore.key": _KEY,
    }


def test_tls_without_files_trusts_what_the_machine_trusts():
    assert KafkaAccess(protocol="SSL").librdkafka() == {"security.protocol": "ssl"}
    assert KafkaAccess(protocol="SSL").java() == {"security.protocol": "SSL"}


def test_files_are_of_no_account_without_tls(files):
    access = account(protocol="SASL_PLAINTEXT", mechanism="PLAIN", **files)
    assert not any(name.startswith("ssl") for name in access.librdkafka() | access.java())


@pytest.mark.parametrize(
    ("mechanism", "module"), [("PLAIN", "PlainLoginModule"), ("SCRAM-SHA-256", "ScramLoginModule")]
)
def test_each_mechanism_has_its_login(mechanism, module):
    assert f".{module} required " in account(mechanism=mechanism).java()["sasl.jaas.config"]


def _unquoted(jaas: str) -> list[str]:
    """The strings of a JAAS line, as Java's StreamTokenizer reads them."""
    return [re.sub(r"\\(.)", r"\1", text, flags=re.S) for text in re.findall(r'"((?:[^"\\]|\\.)*)"', jaas, re.S)]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_any_name_and_password_arrive_as_they_are(text):
    access = account(username=text, password=f'{text}"\\')
    assert _unquoted(access.java()["sasl.jaas.config"]) == [text, f'{text}"\\']
    assert access.librdkafka()["sasl.password"] == f'{text}"\\'


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"password": ""}, "needs a username and a password"),
        ({"username": ""}, "needs a username and a password"),
        ({"protocol": "SASL_PLAINTEXT", "password": ""}, "needs a username and a password"),
        ({"certificate": "client.pem"}, "certificate and key go together"),
        ({"key": "client.key"}, "certificate and key go together"),
        ({"protocol": "TLS"}, "protocol"),
        ({"mechanism": "GSSAPI"}, "mechanism"),
        ({"truststore": "x.jks"}, "truststore"),
        ({"password": "two\nlines"}, "control character"),
        ({"username": "a\x00b"}, "control character"),
    ],
)
def test_what_is_missing_or_unknown_is_refused_by_its_name(changes, told):
    with pytest.raises(ValidationError, match=told):
        account(**changes)


def test_neither_a_refusal_nor_a_trace_prints_the_password():
    with pytest.raises(ValidationError) as caught:
        account(username="", password="hunter2")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(account(password="hunter2"))


@pytest.mark.parametrize("client", ["java", "librdkafka"])
def test_a_file_that_is_missing_or_no_pem_is_named(files, client):
    for name in files:
        with pytest.raises(UnusableAccess, match="nowhere.pem cannot be read"):
            getattr(KafkaAccess(protocol="SSL", **{**files, name: Path("/nowhere.pem")}), client)()
    files["ca"].write_bytes(b"\xff\xfe")
    with pytest.raises(UnusableAccess, match="ca.pem cannot be read"):
        getattr(KafkaAccess(protocol="SSL", ca=files["ca"]), client)()


@pytest.mark.parametrize("client", ["java", "librdkafka"])
@pytest.mark.parametrize("kind", ["EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
def test_a_key_that_java_cannot_read_is_refused_with_the_command_that_turns_it(files, client, kind):
    files["key"].write_text(_KEY.replace("PRIVATE KEY", kind))
    with pytest.raises(UnusableAccess, match="openssl pkcs8 -topk8 -nocrypt -in .*key.pem"):
        getattr(KafkaAccess(protocol="SSL", **files), client)()
