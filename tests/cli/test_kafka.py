import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from cli.exits import Exit, Failure
from cli.kafka import Brokers
from cli.local.broker import Broker
from cli.topics import bring
from pipelines.ports import free_port
from schemas.topics import Topic
from services.shared.log import Log
from tests.services.gateway.harness import running_broker


class Generous(Broker):
    """A broker that makes each topic that is asked for, as Kafka does unless told otherwise."""

    def properties(self) -> str:
        return super().properties().replace("auto.create.topics.enable=false", "auto.create.topics.enable=true")


@pytest.fixture
def generous(tmp_path: Path) -> Iterator[Brokers]:
    with running_broker(tmp_path, Generous) as broker:
        yield Brokers(broker.address)


def test_nothing_but_migrate_makes_a_topic(generous: Brokers):
    """A topic that a broker made for the asking has one partition and takes no large record."""
    assert generous.partitions("never") == 0
    assert generous.topic("never") is None
    assert generous.end_offsets("never") == {}

    async def probe() -> None:
        log = Log(generous.address, "never", 2**20, 2**20, 5)
        await asyncio.sleep(3)
        assert not log.up
        await log.close(5)

    asyncio.run(probe())
    bring(generous, Topic("made", 3))
    assert generous.partitions("made") == 3
    admin = AdminClient(generous.client())
    assert {name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")} == {"made"}


def test_a_broker_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cli.kafka._TIMEOUT_S", 0.5)
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(Failure, match=f"Kafka at {address} did not answer") as caught:
        Brokers(address).partitions("spans.raw")
    assert caught.value.code is Exit.CANNOT_CONNECT


def test_what_a_broker_refuses_is_told(broker: Broker):
    with pytest.raises(Failure, match="refused: .*[Rr]eplication factor") as caught:
        Brokers(broker.address).create_topic("too.many", 1, 5, {})
    assert caught.value.code is Exit.REFUSED
