"""What the commands ask of a Kafka cluster: topics, how far they go, how far a job has come."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource  # pyright: ignore[reportPrivateImportUsage]

from cli.exits import Exit, Failure
from schemas.kafka import OPEN, KafkaAccess

_TIMEOUT_S = 10


@dataclass(frozen=True)
class Brokers:
    """Bootstrap servers, host:port,..., and how to prove oneself to them. Methods raise Failure when none answers."""

    address: str
    access: KafkaAccess = OPEN

    def client(self) -> dict[str, str | int | float | bool]:
        """Settings of any client of librdkafka."""
        return {"bootstrap.servers": self.address, "log_level": 0, **self.access.librdkafka()}

    def partitions(self, topic: str) -> int:
        """How many partitions `topic` has, 0 when it is not there."""
        with self._asking():
            found = AdminClient(self.client()).list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        return 0 if found.error else len(found.partitions)

    def topic_settings(self, topic: str) -> dict[str, str]:
        """The settings of `topic`, by Kafka's names."""
        asked = ConfigResource(ConfigResource.Type.TOPIC, topic)
        with self._asking():
            client = AdminClient(self.client())  # its answers come while it lives
            found = client.describe_configs([asked], request_timeout=_TIMEOUT_S)[asked].result()
        return {name: entry.value for name, entry in found.items()}

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> the offset that the next record will get."""
        with self._consumer("spanmill-status") as client:
            return {
                partition: client.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S)[1]
                for partition in _partitions(client, topic)
            }

    def lag(self, topic: str, group: str) -> int:
        """Records in the topic that the group has not committed yet; all of them when it has committed nothing.

        A Flink job commits what a checkpoint covers, so that a job in good health is behind by its interval.
        """
        with self._consumer(group) as client:
            asked = [TopicPartition(topic, partition) for partition in _partitions(client, topic)]
            committed = {one.partition: one.offset for one in client.committed(asked, timeout=_TIMEOUT_S)}
            ranges = {one.partition: client.get_watermark_offsets(one, timeout=_TIMEOUT_S) for one in asked}
        return sum(high - max(low, committed.get(partition, 0)) for partition, (low, high) in ranges.items())

    @contextmanager
    def _consumer(self, group: str) -> Iterator[Consumer]:
        """A consumer that only asks: it joins no group. (librdkafka's admin call for offsets has crashed here.)"""
        client = Consumer({**self.client(), "group.id": group, "enable.auto.commit": False})
        try:
            with self._asking():
                yield client
        finally:
            client.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            what = f"Kafka at {self.address} did not answer: {error.args[0].str()}"
            raise Failure(what, "see whether it runs, and whether the account is right", Exit.CANNOT_CONNECT) from error


def brokers_of(address: str, access: Mapping[str, str]) -> Brokers:
    return Brokers(address, KafkaAccess.model_validate(dict(access)))


def _partitions(client: Consumer, topic: str) -> list[int]:
    return list(client.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions)
