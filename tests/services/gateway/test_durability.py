"""What is acknowledged is in the log, whatever is killed, stopped or paused; and nothing piles up in memory."""

import os
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx2
import psutil
import pytest
from google.rpc import error_details_pb2, status_pb2

from cli.exits import Failure
from services.control.keys import create_key
from tests.services.gateway.harness import PROTOBUF, Gateway, span_request, until

NOW = 1_800_000_000_000_000_000
BODY = span_request().SerializeToString()


def bodies(gateway: Gateway) -> list[bytes]:
    return [record.body for record in gateway.records()]


def test_a_gateway_killed_right_after_acknowledging_loses_nothing(start) -> None:
    gateway = start()
    acknowledged: list[bytes] = []
    for _ in range(3):
        stop = threading.Event()

        def send(url: str = gateway.http, stopped: threading.Event = stop) -> None:
            with httpx2.Client(timeout=10) as client:
                while not stopped.is_set():
                    body = span_request(20).SerializeToString()
                    try:
                        answer = client.post(f"{url}/v1/traces", content=body, headers={"content-type": PROTOBUF})
                    except httpx2.TransportError:
                        return
                    if answer.status_code == 200:
                        acknowledged.append(body)

        enough = len(acknowledged) + 30
        with ThreadPoolExecutor(4) as pool:
            senders = [pool.submit(send) for _ in range(4)]
            until(lambda enough=enough: len(acknowledged) >= enough)
            gateway.kill()
            stop.set()
        for sender in senders:
            sender.result()
        gateway.start()
    assert len(acknowledged) >= 90
    assert set(acknowledged) <= set(bodies(gateway))


def test_sigterm_answers_what_is_in_flight_and_exits_with_0(start, own_broker) -> None:
    gateway = start(own_broker)
    assert gateway.post(BODY).status_code == 200
    body = span_request().SerializeToString()
    os.kill(own_broker.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(gateway.post, body)
        until(lambda: inflight(gateway) > 0)
        assert gateway.child.process is not None
        gateway.child.process.terminate()
        os.kill(own_broker.pid, signal.SIGCONT)
        assert answer.result().status_code == 200
    assert gateway.child.process.wait(30) == 0
    assert body in bodies(gateway)


def inflight(gateway: Gateway) -> float:
    page = httpx2.get(f"{gateway.http}/metrics").text
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith("llmops_gateway_inflight"))


def test_a_stopped_broker_is_a_503_and_the_gateway_recovers_with_it(start, own_broker) -> None:
    gateway = start(own_broker, delivery_timeout_s=2)
    acknowledged = span_request().SerializeToString()
    assert gateway.post(acknowledged).status_code == 200
    own_broker.kill()
    until(lambda: gateway.client.get(f"{gateway.http}/readyz").status_code == 503)
    refused = gateway.post(BODY)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    with pytest.raises(grpc.RpcError) as caught:
        gateway.call(BODY)
    error: grpc.Call = caught.value  # pyright: ignore[reportAssignmentType]
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    details = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    retry = error_details_pb2.RetryInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(retry)  # pyright: ignore[reportArgumentType]
    own_broker.start()
    own_broker.wait_ready(60)
    until(lambda: gateway.client.get(f"{gateway.http}/readyz").status_code == 200)
    assert gateway.post(BODY).status_code == 200
    found = bodies(gateway)
    assert acknowledged in found
    assert BODY in found


def test_a_gateway_started_before_its_broker_refuses_until_it_is_there(start, own_broker) -> None:
    gateway = start(own_broker)
    gateway.kill()
    own_broker.kill()
    gateway.child.start()
    assert gateway.child.ready_line() is None
    own_broker.start()
    own_broker.wait_ready(60)
    gateway.child.wait_ready(60)


def test_with_a_paused_broker_memory_is_bounded_and_senders_are_told_to_wait(start, own_broker) -> None:
    bound = 4 * 2**20
    gateway = start(own_broker, inflight_bytes=bound, delivery_timeout_s=3)
    assert gateway.post(BODY).status_code == 200
    before = psutil.Process(gateway.child.pid).memory_info().rss
    os.kill(own_broker.pid, signal.SIGSTOP)
    request = span_request()
    request.resource_spans[0].scope_spans[0].spans[0].name = "x" * 2**20
    body = request.SerializeToString()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: gateway.post(body), range(48)))
        assert psutil.Process(gateway.child.pid).memory_info().rss - before < 10 * bound
    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    messages = {status_pb2.Status.FromString(answer.content).message for answer in answers}
    assert any("limit of bytes in flight" in message for message in messages)
    until(lambda: inflight(gateway) == 0)
    os.kill(own_broker.pid, signal.SIGCONT)
    until(lambda: gateway.client.get(f"{gateway.http}/readyz").status_code == 200)
    assert gateway.post(BODY).status_code == 200


def test_a_locked_control_database_serves_known_keys_and_tells_others_to_wait(start) -> None:
    gateway = start(key_ttl_s=0.1)
    _, known = create_key(gateway.engine, "local", "", "known", NOW)
    _, unseen = create_key(gateway.engine, "local", "", "unseen", NOW)
    assert gateway.post(BODY, x_api_key=known).status_code == 200
    file = str(gateway.settings["control_url"]).removeprefix("sqlite:///")
    blocker = sqlite3.connect(file, isolation_level=None)
    try:
        blocker.execute("PRAGMA busy_timeout = 10000")
        blocker.execute("PRAGMA locking_mode = EXCLUSIVE")
        blocker.execute("BEGIN EXCLUSIVE")
        answers = [gateway.post(BODY, x_api_key=known) for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        refused = gateway.post(BODY, x_api_key=unseen)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
    finally:
        blocker.close()
    until(lambda: gateway.post(BODY, x_api_key=unseen).status_code == 200)


def test_a_sender_that_hangs_up_does_not_take_its_bytes_out_of_the_count(start, own_broker) -> None:
    gateway = start(own_broker, delivery_timeout_s=4)
    assert gateway.call(BODY) == b""
    os.kill(own_broker.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(own_broker.pid).status() == psutil.STATUS_STOPPED)
    with grpc.insecure_channel(gateway.grpc) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError):
            export(BODY, timeout=0.5)  # pyright: ignore[reportCallIssue]
    assert inflight(gateway) > 0
    os.kill(own_broker.pid, signal.SIGCONT)
    until(lambda: inflight(gateway) == 0)


def test_a_gateway_whose_port_is_taken_says_so_and_ends(start) -> None:
    first = start()
    for name, port in (("http_port", first.http), ("grpc_port", first.grpc)):
        with pytest.raises(Failure, match="cannot listen on 127.0.0.1"):
            start(**{name: int(port.rpartition(":")[2])})


def test_a_gateway_with_an_unmigrated_control_database_does_not_start(start) -> None:
    gateway = start()
    gateway.kill()
    file = str(gateway.settings["control_url"]).removeprefix("sqlite:///")
    for part in (file, f"{file}-wal", f"{file}-shm"):
        if os.path.exists(part):
            os.unlink(part)
    gateway.child.start()
    assert gateway.child.process is not None
    assert gateway.child.process.wait(60) == 1
    assert "lacks migrations: 0001_organisations.sql" in gateway.child.tail()
