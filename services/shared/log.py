"""The log: records that the broker has confirmed, or an error; nothing in between.

The producer waits for all in-sync replicas (`acks=all`), and the embedded broker syncs every append to
disk, so a confirmed record survives a crash of both. librdkafka confirms on its poll thread; each
confirmation resolves a future of the event loop. A request that timed out may yet be in the log: its
sender sends it again, and the job drops duplicates.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.kafka import OPEN, KafkaAccess
from services.shared.answers import Refusal, Refused, unavailable

_log = logging.getLogger(__name__)

_POLL_S = 0.5
_PROBE_EVERY_S = 1.0
_PROBE_TIMEOUT_S = 3.0
_RETRY_AFTER_S = 5
_HEADER_BYTES = 64 * 2**10


class Log:
    """A producer of one topic, for one event loop.

    up: whether the broker answered the last probe and has the topic. most_bytes: the largest record;
    inflight_bytes: what may wait for confirmation, enforced by the caller, here only the queue's size.
    Raises UnusableAccess.
    """

    def __init__(
        self,
        brokers: str,
        topic: str,
        most_bytes: int,
        inflight_bytes: int,
        timeout_s: float,
        access: KafkaAccess = OPEN,
        linger_ms: int = 1,
    ) -> None:
        self.up = False
        self._topic = topic
        self._loop = asyncio.get_running_loop()
        self._settings = {
            "bootstrap.servers": brokers,
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": linger_ms,
            "message.timeout.ms": round(timeout_s * 1000),
            "message.max.bytes": most_bytes + _HEADER_BYTES,
            # The caller bounds what is in flight; the queue must not be the tighter bound.
            "queue.buffering.max.kbytes": 2 * (inflight_bytes + most_bytes) // 1024 + 1024,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "socket.keepalive.enable": True,
            # `spanmill migrate` makes the topic; a broker that made it for the asking would give it other settings.
            "allow.auto.create.topics": False,
            "log_level": 3,
            "error_cb": self._on_error,
            **access.librdkafka(),
        }
        self._producer = Producer(self._settings)
        self._fatal = False
        self._closing = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="log-poll", daemon=True)
        self._poller.start()
        self._prober = threading.Thread(target=self._probe, name="log-probe", daemon=True)
        self._prober.start()

    async def append(self, records: Sequence[tuple[bytes, Mapping[str, bytes]]], key: bytes | None = None) -> None:
        """Write (value, headers) pairs, all under `key`, and return when the broker has confirmed every one.

        Raises Refused: 503 when a record was not confirmed in time, 413 when one is too large for the log.
        """
        self.check()
        confirmations = [self._send(key, value, headers) for value, headers in records]
        for outcome in await asyncio.gather(*confirmations, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def check(self) -> None:
        """Raises Refused (503) while the broker is known not to answer."""
        if not self.up:
            raise unavailable("the log does not answer", _RETRY_AFTER_S)

    async def close(self, timeout_s: float) -> None:
        """Wait for what is in flight, at most `timeout_s`, and stop."""
        await asyncio.to_thread(self._producer.flush, timeout_s)
        self._closing.set()
        await asyncio.to_thread(self._poller.join)
        await asyncio.to_thread(self._prober.join)

    def _send(self, key: bytes | None, value: bytes, headers: Mapping[str, bytes]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()

        def confirmed(error: KafkaError | None, _message: Message) -> None:
            if error is not None and error.fatal():
                self._fatal = True
            self._loop.call_soon_threadsafe(_settle, future, error)

        try:
            self._producer.produce(
                self._topic, value=value, key=key, headers=list(headers.items()), on_delivery=confirmed
            )
        except BufferError:
            future.set_exception(unavailable("the log's queue is full", _RETRY_AFTER_S))
        except KafkaException as error:
            _settle(future, error.args[0])
        return future

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(_POLL_S)
            if self._fatal:
                self._replace()

    def _replace(self) -> None:
        """A fatal error ends a producer for good (librdkafka, INTRODUCTION.md, "Fatal error")."""
        broken, self._producer = self._producer, Producer(self._settings)
        self._fatal = False
        broken.purge()
        broken.flush(_POLL_S)

    def _probe(self) -> None:
        """Ask for the topic every second: a broker that hangs closes no connection, only a question tells."""
        while not self._closing.is_set():
            try:
                topic = self._producer.list_topics(self._topic, timeout=_PROBE_TIMEOUT_S).topics[self._topic]
                error = topic.error
            except KafkaException as raised:
                error = raised.args[0]
            self._note(error)
            self._closing.wait(_PROBE_EVERY_S)

    def _note(self, error: KafkaError | None) -> None:
        up = error is None
        if up and not self.up:
            _log.warning("the log answers")
        elif self.up and not up:
            _log.warning("the log does not answer: %s", error)
        self.up = up

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            _log.error("the producer failed and is replaced: %s", error)
            self._fatal = True


def _settle(future: "asyncio.Future[None]", error: KafkaError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        future.set_exception(Refused(Refusal.TOO_LARGE, "the request is larger than the log takes"))
    else:
        future.set_exception(unavailable(f"the log did not confirm: {error.str()}", _RETRY_AFTER_S))
