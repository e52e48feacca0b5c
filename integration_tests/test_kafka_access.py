"""All that touches Kafka against a broker that wants TLS and an account or a certificate; what lies in a record."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cli.exits import Exit, Failure
from cli.kafka import Brokers
from integration_tests.ground import TOPIC, Ground, Job, laid, wait_for
from integration_tests.secured import PASSWORD, SecuredBroker
from integration_tests.traffic import all_files, renamed, span_count
from schemas.kafka import OPEN, KafkaAccess
from services.shared.log import Log

HEADERS = {"org": b"acme", "signal": b"traces", "redact": b"0"}


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Iterator[Ground]:
    with laid(tmp_path_factory.mktemp("ground"), SecuredBroker) as made:
        yield made


@pytest.fixture(scope="module")
def broker(ground: Ground) -> SecuredBroker:
    return cast(SecuredBroker, ground.process)


@pytest.fixture(scope="module")
def job(ground: Ground, broker: SecuredBroker, tmp_path_factory) -> Iterator[Job]:
    """The observe job behind the account listener."""
    made = Job(ground, tmp_path_factory.mktemp("job"), **settings(broker.account_address, broker.by_account()))
    made.start()
    yield made
    made.end()


def settings(address: str, access: KafkaAccess) -> dict[str, Any]:
    return {"brokers": address, "kafka": access.model_dump(mode="json")}


def doors(broker: SecuredBroker) -> dict[str, tuple[str, KafkaAccess]]:
    """The ways in: name -> (address, access)."""
    account = broker.account_address
    return {
        "PLAIN": (account, broker.by_account("PLAIN")),
        "SCRAM-SHA-256": (account, broker.by_account("SCRAM-SHA-256")),
        "SCRAM-SHA-512": (account, broker.by_account("SCRAM-SHA-512")),
        "certificate": (broker.certificate_address, broker.by_certificate()),
    }


DOORS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "certificate")


@pytest.mark.parametrize("door", DOORS)
def test_the_gateway_writes_and_the_command_reads_end_offsets(broker: SecuredBroker, door: str):
    address, access = doors(broker)[door]
    brokers = Brokers(address, access)

    async def write() -> None:
        log = Log(address, TOPIC, 2**20, 2**20, 8, access)
        async with asyncio.timeout(30):
            while not log.up:
                await asyncio.sleep(0.01)
        await log.append([(b"", HEADERS), (b"", HEADERS)])
        await log.close(5)

    before = sum(brokers.end_offsets(TOPIC).values())
    asyncio.run(write())
    assert sum(brokers.end_offsets(TOPIC).values()) == before + 2
    assert brokers.partitions(TOPIC) == 2


def test_a_stranger_is_told_what_is_wrong(broker: SecuredBroker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cli.kafka._TIMEOUT_S", 3)
    right, certificate = broker.by_account(), broker.by_certificate()
    cases = [
        (broker.account_address, broker.by_account("PLAIN", "wrong"), "[Aa]uthentication failed"),
        (broker.account_address, broker.by_account("SCRAM-SHA-512", "wrong"), "[Aa]uthentication failed"),
        (broker.account_address, right.model_copy(update={"username": "nobody"}), "[Aa]uthentication failed"),
        (broker.account_address, right.model_copy(update={"ca": broker.file("stranger")}), "certificate verify failed"),
        (broker.certificate_address, certificate.model_copy(update={"certificate": None, "key": None}), "certificate"),
        (broker.account_address, OPEN, "did not answer"),
    ]
    for address, access, told in cases:
        with pytest.raises(Failure, match=told) as caught:
            Brokers(address, access).end_offsets(TOPIC)
        assert caught.value.code is Exit.CANNOT_CONNECT
    address, access, told = cases[0]
    with pytest.raises(Failure, match=told):
        Brokers(address, access).partitions(TOPIC)


def test_a_file_that_is_not_there_is_named(broker: SecuredBroker):
    access = broker.by_account().model_copy(update={"ca": Path("/nowhere/ca.pem")})
    with pytest.raises(Failure, match="/nowhere/ca.pem"):
        Brokers(broker.account_address, access).end_offsets(TOPIC)


@pytest.mark.parametrize("compression", ["none", "zstd", "lz4", "gzip", "snappy"])
def test_the_job_reads_records_of_each_compression(ground: Ground, job: Job, compression: str):
    bodies = [renamed(path.read_bytes(), compression) for path in all_files()]
    before = ground.number("SELECT sum(written) FROM requests")
    ground.send(*bodies, compression_type=compression, linger_ms=50)
    wait_for(lambda: ground.number("SELECT sum(written) FROM requests") == before + sum(map(span_count, bodies)))


BOMBS = {
    "30 MiB of zeros": lambda: bytes(30 * 2**20),
    "30 MiB of ones": lambda: b"\x01" * (30 * 2**20),
    "a gzip of 300 MiB": lambda: gzip.compress(bytes(300 * 2**20), 6),
    "a gzip of a sound request": lambda: gzip.compress(renamed(all_files()[0].read_bytes(), "gzip")),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_value_that_is_no_request_is_a_dead_letter_and_its_neighbours_arrive(ground: Ground, job: Job, bomb: str):
    value = BOMBS[bomb]()
    around = [renamed(path.read_bytes(), bomb) for path in all_files()[:4]]
    before = ground.number("SELECT sum(written) FROM requests")
    dead = ground.number("SELECT count() FROM dead_letters")
    large: dict[str, Any] = {"compression_type": "zstd", "message_max_bytes": 64 * 2**20}
    ground.send(*around[:2], value, *around[2:], **large)
    wait_for(lambda: ground.number("SELECT sum(written) FROM requests") == before + sum(map(span_count, around)), 120)
    wait_for(lambda: ground.number("SELECT count() FROM dead_letters") == dead + 1)
    (row,) = ground.rows("SELECT length(raw) AS size, error FROM dead_letters ORDER BY received_at DESC LIMIT 1")
    assert row["error"] == "WireError"
    assert row["size"] == len(value)
    assert job.process.poll() is None


def test_the_job_goes_on_through_another_door_and_keeps_the_password_to_itself(
    ground: Ground, broker: SecuredBroker, job: Job
):
    file = job.folder / "settings.json"
    for door in ("PLAIN", "certificate"):
        job.process.terminate()
        assert job.process.wait(60) == 0
        file.write_text(json.dumps(json.loads(file.read_text()) | settings(*doors(broker)[door])))
        job.start()
        bodies = [renamed(path.read_bytes(), door) for path in all_files()]
        before = ground.number("SELECT sum(written) FROM requests")
        ground.send(*bodies)
        wait_for(lambda: ground.number("SELECT sum(written) FROM requests") == before + sum(map(span_count, bodies)))  # noqa: B023
    logs = [path for path in job.folder.rglob("*") if path.is_file() and path.suffix in (".log", ".out")]
    assert len(logs) >= 2
    key = broker.file("client.key").read_text().splitlines()[1]
    for log in logs:
        text = log.read_text(errors="replace")
        assert PASSWORD not in text
        assert key not in text
