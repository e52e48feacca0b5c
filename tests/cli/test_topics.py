from dataclasses import replace
from typing import Any, cast

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewTopic

from cli.exits import Exit, Failure
from cli.kafka import Brokers, FoundTopic
from cli.local.broker import Broker
from cli.topics import bring, look
from schemas.topics import SPANS, Topic
from tests.services.gateway.harness import until


class Fake:
    """Brokers that hold what they are told to."""

    address = "kafka:9092"

    def __init__(self, count: int, found: FoundTopic | None) -> None:
        self._count, self._found = count, found
        self.created: list[tuple] = []
        self.raised: list[int] = []

    def count(self) -> int:
        return self._count

    def topic(self, name: str) -> FoundTopic | None:
        return self._found

    def partitions(self, name: str) -> int:
        return self._found.partitions if self._found else 0

    def create_topic(self, name: str, partitions: int, replicas: int, settings: dict[str, str]) -> None:
        self.created.append((name, partitions, replicas, settings))
        self._found = FoundTopic(partitions, replicas, settings)

    def raise_partitions(self, topic: str, partitions: int) -> None:
        assert self._found
        self.raised.append(partitions)
        self._found = replace(self._found, partitions=partitions)


def held(replicas: int = 1, partitions: int = 4, **changes: str) -> FoundTopic:
    settings = SPANS.settings(replicas) | {name.replace("_", "."): value for name, value in changes.items()}
    return FoundTopic(partitions, replicas, settings)


def fake(count: int, found: FoundTopic | None) -> Any:
    return cast(Any, Fake(count, found))


@pytest.mark.parametrize(("count", "replicas", "in_sync"), [(1, 1, "1"), (2, 2, "2"), (3, 3, "2"), (9, 3, "2")])
def test_a_new_topic_lies_on_as_many_brokers_as_there_are_up_to_three(count, replicas, in_sync):
    brokers = fake(count, None)
    assert bring(brokers, SPANS).rows() == [
        {
            "schema": "topic",
            "migration": "spans.raw",
            "state": "pending",
            "note": f"create with 4 partitions, replication factor {replicas}",
        }
    ]
    ((name, partitions, found, settings),) = brokers.created
    assert (name, partitions, found, settings["min.insync.replicas"]) == ("spans.raw", 4, replicas, in_sync)
    assert settings["retention.ms"] == "604800000"
    assert settings["max.message.bytes"] == "33554432"
    assert settings.get("flush.messages") == ("1" if count == 1 else None)
    assert [row["state"] for row in look(brokers, SPANS).rows()] == ["applied"]


def test_a_broker_that_is_down_for_a_moment_makes_nothing_differ():
    assert look(fake(1, held(3)), SPANS).rows() == look(fake(3, held(3)), SPANS).rows()


def test_too_few_replicas_differ():
    settings = held(3).settings
    (row,) = look(fake(3, FoundTopic(4, 1, settings)), SPANS).rows()
    assert (row["migration"], row["state"]) == ("spans.raw replication factor", "differs")
    assert row["note"].startswith("is 1, wanted 3: kafka-reassign-partitions.sh")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("retention.ms", "3600000"),
        ("max.message.bytes", "1048588"),
        ("message.timestamp.type", "CreateTime"),
        ("min.insync.replicas", "1"),
        ("cleanup.policy", ""),
    ],
)
def test_a_setting_that_differs_is_shown_with_the_command_that_mends_it_and_left_alone(setting, value):
    found = held(3)
    brokers = fake(3, replace(found, settings={**found.settings, setting: value}))
    (row,) = bring(brokers, SPANS).rows()
    wanted = SPANS.settings(3)[setting]
    assert (row["migration"], row["state"]) == (f"spans.raw {setting}", "differs")
    assert row["note"] == (
        f"is {value}, wanted {wanted}: kafka-configs.sh --bootstrap-server kafka:9092 --alter --entity-type topics "
        f"--entity-name spans.raw --add-config {setting}={wanted}"
    )
    assert not brokers.created
    assert not brokers.raised


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_a_compacted_topic_is_refused(policy):
    brokers = fake(3, held(3, cleanup_policy=policy))
    with pytest.raises(Failure, match="cleanup.policy is compact") as caught:
        bring(brokers, SPANS, 8)
    assert caught.value.code is Exit.REFUSED
    assert not brokers.raised


def test_more_partitions_than_usual_are_right_and_fewer_are_shown():
    assert [row["state"] for row in look(fake(1, held(partitions=9)), SPANS).rows()] == ["applied"]
    (row,) = look(fake(1, held(partitions=1)), SPANS).rows()
    assert (row["migration"], row["state"]) == ("spans.raw partitions", "differs")
    assert row["note"] == "is 1, wanted at least 4: spanmill migrate --partitions 4"


def test_fewer_partitions_than_there_are_are_refused():
    brokers = fake(1, held(partitions=8))
    with pytest.raises(Failure, match="partitions is 8, wanted 4") as caught:
        bring(brokers, SPANS, 4)
    assert caught.value.code is Exit.REFUSED
    assert "Kafka takes no partition away" in caught.value.hint


def test_a_real_broker_makes_the_topic_as_it_is_wanted_and_more_partitions_when_asked(broker: Broker):
    brokers, topic = Brokers(broker.address), Topic("made.here", 2)
    assert bring(brokers, topic).todo == "create with 2 partitions, replication factor 1"
    assert look(brokers, topic).rows() == [
        {"schema": "topic", "migration": "made.here", "state": "applied", "note": None}
    ]
    assert bring(brokers, topic).todo == ""
    assert bring(brokers, topic, 5).todo == "2 partitions become 5"
    assert brokers.partitions("made.here") == 5
    assert brokers.count() == 1


def test_settings_of_a_real_topic_are_read(broker: Broker):
    admin = AdminClient(Brokers(broker.address).client())
    admin.create_topics([NewTopic("made.elsewhere", 4, 1)])["made.elsewhere"].result()
    changed = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, "made.elsewhere", incremental_configs=[changed])
    admin.incremental_alter_configs([resource])[resource].result()

    def shown() -> bool:
        (row,) = look(Brokers(broker.address), Topic("made.elsewhere")).rows()
        return row["migration"] == "made.elsewhere retention.ms" and "is 1000, wanted 604800000: " in row["note"]

    until(shown)
