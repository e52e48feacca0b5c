"""How far the jobs are behind the log: the gateway asks, as it is there when a job is not."""

import logging
import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition
from prometheus_client.core import GaugeMetricFamily

from schemas.kafka import KafkaAccess

_log = logging.getLogger(__name__)

_ASK_EVERY_S = 5.0
_TIMEOUT_S = 3.0


class Lag(NamedTuple):
    group: str
    partition: int
    records: int


class Consumers:
    """The lag of consumer groups on one topic, asked for every few seconds by a thread of its own.

    A lag that could not be asked for is absent, not old. A group that has committed nothing has all before it.
    """

    def __init__(self, brokers: str, topic: str, groups: Sequence[str], access: KafkaAccess) -> None:
        self._topic = topic
        # Of each group a client that asks as the group, but never joins it. Not the admin client: its requests to a
        # broker that has just begun ended the process (librdkafka 2.16).
        settings = {"bootstrap.servers": brokers, "client.id": "spanmill-gateway-lag", "enable.auto.commit": False}
        self._clients = {
            group: Consumer({**settings, "log_level": 0, "group.id": group, **access.librdkafka()}) for group in groups
        }
        self._lags: Sequence[Lag] = ()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag", daemon=True)
        self._thread.start()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """For a Prometheus registry."""
        family = GaugeMetricFamily(
            "llmops_kafka_consumer_lag_records",
            "Records of the log that no completed checkpoint of the job covers",
            labels=["topic", "group", "partition"],
        )
        for lag in self._lags:
            family.add_metric([self._topic, lag.group, str(lag.partition)], lag.records)
        yield family

    def close(self) -> None:
        """Waits for a question that is being asked."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._lags = [lag for group, client in self._clients.items() for lag in self._ask(group, client)]
            except KafkaException as error:
                if self._lags:
                    _log.warning("the lag of the consumers cannot be asked for: %s", error)
                self._lags = ()
            self._closing.wait(_ASK_EVERY_S)
        for client in self._clients.values():
            client.close()

    def _ask(self, group: str, client: Consumer) -> Iterable[Lag]:
        partitions = client.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic].partitions
        asked = [TopicPartition(self._topic, partition) for partition in partitions]
        for committed in client.committed(asked, timeout=_TIMEOUT_S):
            first, end = client.get_watermark_offsets(committed, timeout=_TIMEOUT_S)
            yield Lag(group, committed.partition, max(0, end - max(committed.offset, first)))
