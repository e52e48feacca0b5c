"""How Kafka clients reach and prove themselves to a broker, in the words of both client families.

The settings are few and neutral; librdkafka (gateway, command) and Kafka's Java client (Flink) get the same from them.
Certificates and keys are PEM files, which both read. Names: Kafka's documentation, "Security"; librdkafka,
CONFIGURATION.md.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Flink's connector brings Kafka's classes under names of its own.
_SHADED = "org.apache.flink.kafka.shaded."
_LOGIN = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


class UnusableAccess(Exception):
    """A file of the access cannot be read, or is not what Kafka's clients take."""


class KafkaAccess(BaseModel):
    """PLAINTEXT needs nothing; SSL takes `ca`, and for client certificates `certificate` and `key`; SASL an account.

    certificate and key are PEM files, the key unencrypted and in PKCS #8 (BEGIN PRIVATE KEY), as Java reads no other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str = ""
    password: str = Field(default="", repr=False)

    @model_validator(mode="after")
    def _whole(self) -> "KafkaAccess":
        if self.protocol.startswith("SASL") and not (self.username and self.password):
            raise ValueError(f"{self.protocol} needs a username and a password")
        if any(character < " " or character == "\x7f" for character in self.username + self.password):
            raise ValueError("username or password holds a control character, such as a secret file's last newline")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self

    def librdkafka(self) -> dict[str, str]:
        """Settings of confluent-kafka. Raises UnusableAccess."""
        found = {"security.protocol": self.protocol.lower()}
        if self.protocol.startswith("SASL"):
            found |= {"sasl.mechanism": self.mechanism, "sasl.username": self.username, "sasl.password": self.password}
        if not self.protocol.endswith("SSL"):
            return found
        for name, file, kind in (
            ("ssl.ca.location", self.ca, "CERTIFICATE"),
            ("ssl.certificate.location", self.certificate, "CERTIFICATE"),
            ("ssl.key.location", self.key, "PRIVATE KEY"),
        ):
            if file:
                _read(file, kind)  # librdkafka would not say which one is wrong
                found[name] = str(file)
        return found

    def java(self) -> dict[str, str]:
        """Settings of Kafka's Java client as Flink's connector brings it. Raises UnusableAccess."""
        found = {"security.protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            account = f'username="{_quoted(self.username)}" password="{_quoted(self.password)}"'
            login = f"{_SHADED}{_LOGIN[self.mechanism]} required {account};"
            found |= {"sasl.mechanism": self.mechanism, "sasl.jaas.config": login}
        if self.protocol.endswith("SSL") and self.ca:
            found |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": _read(self.ca, "CERTIFICATE")}
        if self.protocol.endswith("SSL") and self.certificate and self.key:
            chain, key = _read(self.certificate, "CERTIFICATE"), _read(self.key, "PRIVATE KEY")
            found |= {"ssl.keystore.type": "PEM", "ssl.keystore.certificate.chain": chain, "ssl.keystore.key": key}
        return found


OPEN = KafkaAccess()


def _read(file: Path, kind: str) -> str:
    """A PEM file that holds a `kind`. Raises UnusableAccess."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableAccess(f"{file} cannot be read: {error}") from error
    if f"-----BEGIN {kind}-----" not in text:
        cure = f": openssl pkcs8 -topk8 -nocrypt -in {file} writes one" if kind == "PRIVATE KEY" else ""
        raise UnusableAccess(f"{file} holds no PEM block {kind}{cure}")
    return text


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
