"""A broker that takes nobody at their word: TLS with an authority of the test's own, accounts, client certificates."""

from pathlib import Path
from typing import Literal

import trustme
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from cryptography.hazmat.primitives import serialization

from cli.local.broker import Broker
from pipelines.ports import free_port
from schemas.kafka import KafkaAccess

USER = "spanmill"
# What must be quoted in JAAS, in SQL, in a template or on a line of `name=value`.
PASSWORD = "p\"a\\s's{w}0;=r d"
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_LISTENERS = """\
listeners=PLAINTEXT://127.0.0.1:{broker.port},CONTROLLER://127.0.0.1:{broker.controller},{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker.port},{listeners}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
controller.quorum.voters=1@127.0.0.1:{broker.controller}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.ssl.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={broker.folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={broker.folder}/ca.pem
"""


class SecuredBroker(Broker):
    """Has a plain listener for the test, one for accounts (SASL_SSL) and one for client certificates (SSL)."""

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.controller, self.account_port, self.certificate_port = free_port(), free_port(), free_port()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        trustme.CA().cert_pem.write_to_path(str(self.folder / "stranger.pem"))
        for name, identity in (("server", "127.0.0.1"), ("client", "client@example.org")):
            _write(authority.issue_cert(identity), self.folder / name)
        super().start()

    def properties(self) -> str:
        """Java takes the last of several lines of one name."""
        backslashes = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        return super().properties() + _LISTENERS.format(
            broker=self,
            listeners=f"SASL_SSL://127.0.0.1:{self.account_port},SSL://127.0.0.1:{self.certificate_port}",
            login="org.apache.kafka.common.security",
            user=USER,
            password=backslashes.replace("\\", "\\\\"),
        )

    def wait_ready(self, timeout: float) -> str:
        """Makes the accounts too."""
        line = super().wait_ready(timeout)
        admin = AdminClient({"bootstrap.servers": self.address})
        for kind in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            wanted = UserScramCredentialUpsertion(USER, ScramCredentialInfo(kind, 4096), PASSWORD.encode())
            admin.alter_user_scram_credentials([wanted])[USER].result(30)
        return line

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def by_account(self, mechanism: Mechanism = "SCRAM-SHA-512", password: str = PASSWORD) -> KafkaAccess:
        return KafkaAccess(
            protocol="SASL_SSL", ca=self.file("ca"), mechanism=mechanism, username=USER, password=password
        )

    def by_certificate(self) -> KafkaAccess:
        return KafkaAccess(
            protocol="SSL", ca=self.file("ca"), certificate=self.file("client.chain"), key=self.file("client.key")
        )

    @property
    def account_address(self) -> str:
        return f"127.0.0.1:{self.account_port}"

    @property
    def certificate_address(self) -> str:
        return f"127.0.0.1:{self.certificate_port}"


def _write(certificate: trustme.LeafCert, stem: Path) -> None:
    """`stem`.key.pem in PKCS #8, `stem`.chain.pem, and `stem`.pem with both."""
    read = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = read.private_bytes(pem, form, serialization.NoEncryption())
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    for name, content in (("key.pem", key), ("chain.pem", chain), ("pem", key + chain)):
        stem.with_name(f"{stem.name}.{name}").write_bytes(content)
