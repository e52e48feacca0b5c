"""What a topic has from now on, or from its beginning, of all partitions; a thread reads, the event loop is told."""

import asyncio
import logging
import threading
from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from schemas.kafka import OPEN, KafkaAccess

_log = logging.getLogger(__name__)

_POLL_S = 0.1
_MOST_AT_ONCE = 1_000
_TIMEOUT_S = 3.0
_RETRY_S = 0.5
_DISCOVER_EVERY_S = 10.0


class Tail:
    """Gives the values of `topic` to `tell`, as lists, on the event loop. ready: whether it has begun.

    wanted: asked by the thread for each value, so that what nobody waits for does not reach the loop. Raises
    UnusableAccess.
    """

    def __init__(
        self,
        brokers: str,
        topic: str,
        tell: Callable[[list[bytes]], None],
        wanted: Callable[[bytes], bool] = bool,
        access: KafkaAccess = OPEN,
        from_beginning: bool = False,
    ) -> None:
        self.ready = False
        self._topic = topic
        self._tell = tell
        self._wanted = wanted
        self._from_beginning = from_beginning
        self._loop = asyncio.get_running_loop()
        self._settings = {
            "bootstrap.servers": brokers,
            "group.id": "spanmill-budget-service",  # asked for by the client; nothing is committed
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",  # where the topic was made anew
            "allow.auto.create.topics": False,
            "fetch.error.backoff.ms": 10,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "socket.keepalive.enable": True,
            "socket.nagle.disable": True,
            "log_level": 3,
            **access.librdkafka(),
        }
        self._consumer = Consumer(self._settings)
        self._closing = threading.Event()
        self._read: set[int] = set()
        self._threads = [
            threading.Thread(target=target, name=f"{topic}-{target.__name__}", daemon=True)
            for target in (self._follow, self._discover)
        ]
        for thread in self._threads:
            thread.start()

    async def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        await asyncio.to_thread(self._consumer.close)

    def _follow(self) -> None:
        while not self.ready and not self._closing.wait(0.01):
            pass
        while not self._closing.is_set():
            message = self._consumer.poll(_POLL_S)
            if message is None:
                continue
            # What has come already; asking `consume` for more would make it wait for more.
            messages = [message, *self._consumer.consume(_MOST_AT_ONCE, 0)]
            values = [one.value() for one in messages if one.error() is None]
            if told := [value for value in values if value and self._wanted(value)]:
                self._loop.call_soon_threadsafe(self._tell, told)

    def _discover(self) -> None:
        """Assigns the partitions that there are, and later those that the topic gets."""
        while not self._closing.is_set():
            try:
                self._assign(self._consumer.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic].partitions)
            except KafkaException as error:
                _log.info("%s: %s", self._topic, error)
            self._closing.wait(_DISCOVER_EVERY_S if self.ready else _RETRY_S)

    def _assign(self, partitions: "dict[int, object]") -> None:
        new = [TopicPartition(self._topic, number) for number in partitions if number not in self._read]
        for one in new:
            # A partition that comes later holds nothing yet that was not written for those who wait now.
            late = self.ready or self._from_beginning
            one.offset = OFFSET_BEGINNING if late else self._consumer.get_watermark_offsets(one, timeout=_TIMEOUT_S)[1]
        if new:
            self._consumer.incremental_assign(new)
            self._read |= {one.partition for one in new}
            self.ready = True
