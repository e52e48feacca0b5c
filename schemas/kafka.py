"""How Kafka clients reach and prove themselves to a broker, in the words of both client families.

The settings are few and neutral; librdkafka (gateway, command) and Kafka's Java client (Flink) get the same from them.
Certificates and keys are PEM files, which both read. Names: Kafka's documentation, "Security"; librdkafka,
CONFIGURATION.md.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

# Flink's connector brings Kafka's classes under names of its own.
_SHADED = "org.apache.flink.kafka.shaded."
_LOGIN = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


class KafkaAccess(BaseModel):
    """PLAINTEXT needs nothing; SSL takes `ca`, and for client certificates `certificate` and `key`; SASL an account.

    certificate and key are PEM files, the key unencrypted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str = ""
    password: str = ""

    @model_validator(mode="after")
    def _whole(self) -> "KafkaAccess":
        if self.protocol.startswith("SASL") and not (self.username and self.password):
            raise ValueError(f"{self.protocol} needs a username and a password")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self

    def librdkafka(self) -> dict[str, str]:
        """Settings of confluent-kafka."""
        found = {"security.protocol": self.protocol.lower()}
        if self.protocol.startswith("SASL"):
            found |= {"sasl.mechanism": self.mechanism, "sasl.username": self.username, "sasl.password": self.password}
        paths = {
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.key,
        }
        return found | {name: str(path) for name, path in paths.items() if path and self.protocol.endswith("SSL")}

    def java(self) -> dict[str, str]:
        """Settings of Kafka's Java client as Flink's connector brings it. Raises OSError for a file that is missing."""
        found = {"security.protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            account = f'username="{_quoted(self.username)}" password="{_quoted(self.password)}"'
            login = f"{_SHADED}{_LOGIN[self.mechanism]} required {account};"
            found |= {"sasl.mechanism": self.mechanism, "sasl.jaas.config": login}
        if self.protocol.endswith("SSL") and self.ca:
            found |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": self.ca.read_text()}
        if self.protocol.endswith("SSL") and self.certificate and self.key:
            chain, key = self.certificate.read_text(), self.key.read_text()
            found |= {"ssl.keystore.type": "PEM", "ssl.keystore.certificate.chain": chain, "ssl.keystore.key": key}
        return found


OPEN = KafkaAccess()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
