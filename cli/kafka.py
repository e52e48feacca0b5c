"""What the commands ask of a Kafka cluster: topics, how far they go, how far a job has come."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._metadata import TopicMetadata
from confluent_kafka.cimpl import NewPartitions, NewTopic

from cli.exits import Exit, Failure
from schemas.kafka import OPEN, KafkaAccess, UnusableAccess

_TIMEOUT_S = 10
# What says more than that a request was not answered.
_TELLING = (KafkaError._AUTHENTICATION, KafkaError._SSL)
_ABSENT = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE)
# What asking again does not change; all else may be a broker that fails over.
_FINAL = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.POLICY_VIOLATION,
    KafkaError.INVALID_CONFIG,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.INVALID_REPLICATION_FACTOR,
)


@dataclass(frozen=True)
class FoundTopic:
    """A topic as it is. replicas: of the partition that has fewest. settings: all, with the broker's defaults."""

    partitions: int
    replicas: int
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Brokers:
    """Bootstrap servers, host:port,..., and how to prove oneself to them. Methods raise Failure when none answers."""

    address: str
    access: KafkaAccess = OPEN

    def client(self) -> dict[str, Any]:
        """Settings of any client of librdkafka: one that asks for a topic never makes it."""
        usual = {"bootstrap.servers": self.address, "log_level": 0, "allow.auto.create.topics": False}
        return {**usual, **self.access.librdkafka()}

    def count(self) -> int:
        """How many brokers there are."""
        with self._admin() as admin:
            return len(admin.list_topics(timeout=_TIMEOUT_S).brokers)

    def partitions(self, topic: str) -> int:
        """How many partitions `topic` has, 0 when it is not there."""
        with self._admin() as admin:
            found = _named(admin, topic)
        return len(found.partitions) if found else 0

    def topic(self, name: str) -> FoundTopic | None:
        """The topic `name`, None when it is not there."""
        with self._admin() as admin:
            found = _named(admin, name)
            if found is None:
                return None
            asked = ConfigResource(ConfigResource.Type.TOPIC, name)
            entries = admin.describe_configs([asked], request_timeout=_TIMEOUT_S)[asked].result()
        replicas = min((len(partition.replicas) for partition in found.partitions.values()), default=0)
        settings = {key: entry.value for key, entry in entries.items() if entry.value is not None}
        return FoundTopic(len(found.partitions), replicas, settings)

    def create_topic(self, name: str, partitions: int, replicas: int, settings: Mapping[str, str]) -> None:
        """Creates the topic unless somebody has by now."""
        new = NewTopic(name, partitions, replicas, config=dict(settings))
        with self._admin() as admin:
            try:
                admin.create_topics([new], request_timeout=_TIMEOUT_S)[name].result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def raise_partitions(self, topic: str, partitions: int) -> None:
        """Gives the topic `partitions` partitions, more than it has."""
        with self._admin() as admin:
            admin.create_partitions([NewPartitions(topic, partitions)], request_timeout=_TIMEOUT_S)[topic].result()

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> the offset that the next record will get."""
        with self._consumer("spanmill-status") as client:
            found = _named(client, topic)
            ids = found.partitions if found else ()
            return {p: client.get_watermark_offsets(TopicPartition(topic, p), timeout=_TIMEOUT_S)[1] for p in ids}

    def lag(self, topic: str, group: str) -> int:
        """Records in the topic that the group has not committed yet; all of them when it has committed nothing.

        A Flink job commits what a checkpoint covers, so that a job in good health is behind by its interval.
        """
        with self._consumer(group) as client:
            found = _named(client, topic)
            asked = [TopicPartition(topic, partition) for partition in (found.partitions if found else ())]
            committed = {one.partition: one.offset for one in client.committed(asked, timeout=_TIMEOUT_S)}
            ranges = {one.partition: client.get_watermark_offsets(one, timeout=_TIMEOUT_S) for one in asked}
        return sum(max(0, high - max(low, committed.get(p, 0))) for p, (low, high) in ranges.items())

    @contextmanager
    def _admin(self) -> Iterator[AdminClient]:
        heard: list[KafkaError] = []
        with self._asking(heard):
            settings: dict[str, Any] = {**self.client(), "error_cb": heard.append}
            admin = AdminClient(settings)
            try:
                yield admin
            finally:
                admin.poll(0)

    @contextmanager
    def _consumer(self, group: str) -> Iterator[Consumer]:
        """A consumer that only asks: it joins no group. (librdkafka's admin call for offsets has crashed here.)"""
        heard: list[KafkaError] = []
        with self._asking(heard):
            own = {"group.id": group, "enable.auto.commit": False, "error_cb": heard.append}
            consumer = Consumer({**self.client(), **own})
            try:
                yield consumer
            finally:
                consumer.poll(0)
                consumer.close()

    @contextmanager
    def _asking(self, heard: list[KafkaError]) -> Iterator[None]:
        """Turns what goes wrong into Failures. heard: what the client was told beside its requests, by its poll."""
        try:
            yield
        except UnusableAccess as error:
            raise Failure(str(error), "mend the file, or name another", Exit.USAGE) from error
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() in _FINAL:
                raise Failure(f"Kafka at {self.address} refused: {reason.str()}", code=Exit.REFUSED) from error
            said = [one for one in heard if one.code() != KafkaError._ALL_BROKERS_DOWN]
            told = next((one for one in said if one.code() in _TELLING), said[-1] if said else reason)
            what = f"Kafka at {self.address} did not answer: {told.str()}"
            hint = "see whether it runs, and whether the account or the certificates are right"
            raise Failure(what, hint, Exit.CANNOT_CONNECT) from error


def _named(client: AdminClient | Consumer, topic: str) -> TopicMetadata | None:
    """None when the topic is not there, or not yet. Raises KafkaException, as for one that is not ours to see."""
    found = client.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
    if found.error is None:
        return found
    if found.error.code() in _ABSENT:
        return None
    raise KafkaException(found.error)


def brokers_of(address: str, access: Mapping[str, str]) -> Brokers:
    return Brokers(address, KafkaAccess.model_validate(dict(access)))
