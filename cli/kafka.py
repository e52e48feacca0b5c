"""What the commands ask of a Kafka cluster: topics, how far they go, how far a job has come."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

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

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> the offset that the next record will get."""
        client = Consumer({**self.client(), "group.id": "spanmill-status"})
        try:
            with self._asking():
                found = client.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions
                return {p: client.get_watermark_offsets(TopicPartition(topic, p), timeout=_TIMEOUT_S)[1] for p in found}
        finally:
            client.close()

    def lag(self, topic: str, group: str) -> int | None:
        """Records that the group has not committed yet, over all partitions; None while it has committed nothing.

        A Flink job commits what a checkpoint covers, so that a job in good health is behind by its interval.
        """
        ends = self.end_offsets(topic)
        asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition) for partition in ends])]
        with self._asking():
            try:
                answer = AdminClient(self.client()).list_consumer_group_offsets(asked)[group].result(_TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.COORDINATOR_LOAD_IN_PROGRESS:  # of a group's first commit
                    return None
                raise
        found = answer.topic_partitions or []
        committed = {one.partition: one.offset for one in found if one.offset >= 0}
        return sum(max(0, end - committed.get(p, 0)) for p, end in ends.items()) if committed else None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            what = f"Kafka at {self.address} did not answer: {reason.str()}"
            raise Failure(what, "see whether it runs, and whether the account is right", Exit.CANNOT_CONNECT) from error


def brokers_of(address: str, access: Mapping[str, str]) -> Brokers:
    return Brokers(address, KafkaAccess.model_validate(dict(access)))
