"""One span of the doctor's own, followed through every hop, with the time that each took."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import httpx2
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error
from confluent_kafka import Consumer, KafkaException, TopicPartition
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from cli.client import connect, rows
from cli.doctor.check import Check
from cli.exits import Failure
from cli.kafka import brokers_of
from cli.local.profile import Running

SERVICE, NAME = "spanmill-doctor", "spanmill doctor"
_ORG = "local"  # whose the span is without a key
_POLL_S = 0.05
_LOG_S = 10.0

_Answer = tuple[bool, str]  # whether it arrived, and what was found


@dataclass(frozen=True)
class _Span:
    trace_id: bytes
    span_id: bytes

    def request(self) -> bytes:
        """An OTLP request: no call of a model, so that it costs nothing and is in no usage."""
        request, now = ExportTraceServiceRequest(), time.time_ns()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = SERVICE
        resource.scope_spans.add().spans.add(
            trace_id=self.trace_id, span_id=self.span_id, name=NAME, start_time_unix_nano=now, end_time_unix_nano=now
        )
        return request.SerializeToString()


def follow(running: Running, key: str, where: str, patience_s: float) -> Iterator[Check]:
    """Sends the span and waits for it at each hop; stops at the first that it does not reach.

    where: the job's log, for the cures. patience_s: how long it may take to each table.
    """
    span = _Span(secrets.token_bytes(16), secrets.token_bytes(8))
    org = "" if key else f"org = '{_ORG}' AND "
    mine = f"{org}trace_id = '{span.trace_id.hex()}'"
    try:  # all connections first: what is measured is the span's way
        with connect(running) as store, httpx2.Client(timeout=15) as http, closing(_Tail(running)) as log:
            steps: tuple[tuple[str, Callable[[], _Answer], str], ...] = (
                (
                    "gateway",
                    lambda: _acknowledged(http, running, span, key),
                    "see the gateway's log; with a key: --key",
                ),
                ("log", lambda: log.has(span.trace_id, _LOG_S), "see the broker's log"),
                ("spans", lambda: _in_table(store, "spans", mine, patience_s), f"does the job run? see {where}"),
                ("traces", lambda: _in_table(store, "traces", mine, patience_s), f"see {where}"),
                ("SQL", lambda: _readable(running, mine), "see the store's log"),
            )
            yield from _timed(steps)
    except (Failure, Error, KafkaException) as error:
        yield Check("hops", False, str(error), "see the logs of the broker and of the store")


def _timed(steps: Iterable[tuple[str, Callable[[], _Answer], str]]) -> Iterator[Check]:
    began = last = time.monotonic()
    for name, step, cure in steps:
        arrived, found = step()
        now = time.monotonic()
        in_all = f", {_time(now - began)} in all" if last > began else ""
        yield Check(f"hop: {name}", arrived, f"{found} after {_time(now - last)}{in_all}", cure)
        if not arrived:
            return
        last = now


def _acknowledged(http: httpx2.Client, running: Running, span: _Span, key: str) -> _Answer:
    headers = {"content-type": "application/x-protobuf"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        answer = http.post(f"{running.gateway}/v1/traces", content=span.request(), headers=headers)
    except httpx2.HTTPError as error:
        return False, f"{running.gateway}: {error}"
    return answer.status_code == 200, "acknowledged" if answer.status_code == 200 else f"HTTP {answer.status_code}"


class _Tail:
    """What comes to the log from now on. Raises Failure or KafkaException when the broker does not answer."""

    def __init__(self, running: Running) -> None:
        brokers = brokers_of(running.broker, running.kafka)
        ends = brokers.end_offsets(running.topic)
        self._client = Consumer({**brokers.client(), "group.id": "spanmill-doctor", "enable.auto.commit": False})
        self._client.assign([TopicPartition(running.topic, partition, end) for partition, end in ends.items()])

    def has(self, trace_id: bytes, timeout_s: float) -> _Answer:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            record = self._client.poll(0.1)
            if record is not None and record.error() is None and trace_id in (record.value() or b""):
                return True, f"partition {record.partition()}, offset {record.offset()}"
        return False, "not in the log"

    def close(self) -> None:
        self._client.close()


def _in_table(store: Client, table: str, mine: str, patience_s: float) -> _Answer:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if rows(store, f"SELECT count() AS n FROM {table} WHERE {mine}").rows[0]["n"]:
            return True, f"in {table}"
        time.sleep(_POLL_S)
    return False, f"not in {table}"


def _readable(running: Running, mine: str) -> _Answer:
    """As an analyst's client reads it: the span as it was sent, and its trace."""
    query = f"SELECT service, root_name FROM traces ARRAY JOIN services AS service WHERE {mine}"
    try:
        with connect(running) as client:
            found = [(row["service"], row["root_name"]) for row in rows(client, query).rows]
    except (Failure, Error) as error:
        return False, str(error)
    return found == [(SERVICE, NAME)], f"read at {running.store}" if found else "nothing read"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
