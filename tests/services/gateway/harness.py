"""A real broker and real gateway processes, and what a test reads back from them."""

import json
import os
import secrets
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx2
import sqlalchemy as sa
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from cli.kafka import Brokers
from cli.local.broker import Broker
from cli.local.process import Child
from cli.topics import bring
from pipelines.jars import fetch, jar_folder, java
from schemas.topics import Topic
from services.control.database import open_database
from services.control.migrate import migrate

NOW = 1_800_000_000_000_000_000
PROTOBUF = "application/x-protobuf"


def span_request(spans: int = 1, **fields: object) -> ExportTraceServiceRequest:
    """A request of `spans` spans with random ids; `fields` are set on the last one."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(spans):
        scope.spans.add(trace_id=secrets.token_bytes(16), span_id=secrets.token_bytes(8), name=f"span {number}")
    for name, value in fields.items():
        setattr(scope.spans[-1], name, value)
    return request


@dataclass
class Written:
    """One record of the log."""

    body: bytes
    headers: dict[str, str]


@dataclass
class Gateway:
    """A gateway process on free ports, with its topic and its control database."""

    child: Child
    settings: dict[str, object]
    broker: Broker
    engine: sa.Engine
    http: str = ""
    grpc: str = ""
    client: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=30))

    def start(self) -> None:
        self.child.start()
        words = dict(word.split("=") for word in self.child.wait_ready(60).split()[1:])
        self.http, self.grpc = f"http://{words['http']}", words["grpc"]

    def kill(self) -> None:
        """SIGKILL, as when the power fails."""
        self.child.kill()

    def post(self, body: bytes, path: str = "/v1/traces", **headers: str) -> httpx2.Response:
        named = {"content-type": PROTOBUF} | {k.replace("_", "-"): v for k, v in headers.items()}
        return self.client.post(self.http + path, content=body, headers=named)

    def call(self, body: bytes, service: str = "trace.v1.TraceService", **options: Any) -> bytes:
        """Export over gRPC on raw bytes. Raises grpc.RpcError."""
        with grpc.insecure_channel(self.grpc) as channel:
            export = channel.unary_unary(f"/opentelemetry.proto.collector.{service}/Export")
            return export(body, timeout=30, **options)  # pyright: ignore[reportCallIssue]

    def records(self) -> list[Written]:
        """All that is in the topic, in the order of each partition."""
        return read_topic(self.broker.address, str(self.settings["topic"]))

    def close(self) -> None:
        self.client.close()
        self.child.kill()
        self.engine.dispose()


def read_topic(address: str, topic: str) -> list[Written]:
    ends = {partition: end for partition, end in Brokers(address).end_offsets(topic).items() if end}
    consumer = Consumer({"bootstrap.servers": address, "group.id": uuid.uuid4().hex, "log_level": 0})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
    written: list[Written] = []
    deadline = time.monotonic() + 30
    while len(written) < sum(ends.values()):
        assert time.monotonic() < deadline, f"{len(written)} of {sum(ends.values())} records read"
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            headers: list[Any] = list(message.headers() or [])
            text = {name: value.decode() for name, value in headers}
            written.append(Written(message.value() or b"", text))
    consumer.close()
    return written


def until(condition: Callable[[], bool], timeout: float = 30) -> None:
    """Poll until it holds; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


@contextmanager
def running_broker(folder: Path, kind: type[Broker] = Broker) -> Iterator[Broker]:
    """A broker that runs until the block ends, also one that the block has paused."""
    broker = kind(folder / "kafka", java(), fetch("broker", jar_folder(), print), folder / "broker.log")
    try:
        broker.start()
        broker.wait_ready(180)
        yield broker
    finally:
        if broker.alive:
            os.kill(broker.pid, signal.SIGCONT)
        broker.kill()


def make_gateway(folder: Path, broker: Broker, **overrides: object) -> Gateway:
    """A gateway that is not started yet, on a new topic of `broker`."""
    name = uuid.uuid4().hex[:12]
    settings = {
        "brokers": broker.address,
        "topic": f"spans.{name}",
        "control_url": f"sqlite:///{folder}/control-{name}.db",
        "http_port": 0,
        "grpc_port": 0,
        **overrides,
    }
    bring(Brokers(broker.address), Topic(str(settings["topic"]), 2))
    engine = open_database(str(settings["control_url"]), 1)
    migrate(engine, NOW)
    file = folder / f"gateway-{name}.json"
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "services.gateway", "--settings", str(file)]
    return Gateway(Child("gateway", command, folder / f"gateway-{name}.log"), settings, broker, engine)
