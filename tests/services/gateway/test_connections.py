"""Slow and greedy clients are cut off; the others do not notice."""

import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.services.gateway.harness import PROTOBUF, Gateway, span_request

BODY = span_request().SerializeToString()
HEAD = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: " + PROTOBUF.encode()


@pytest.fixture
def strict(start) -> Gateway:
    return start(header_timeout_s=0.5, body_timeout_s=0.5, max_connections=20)


def connect(gateway: Gateway) -> socket.socket:
    address = urlsplit(gateway.http)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=20)


def closed(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection. Fails (timeout) when it does not."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_headers_that_drip_are_cut_off_and_others_served_meanwhile(strict: Gateway) -> None:
    dripping = [connect(strict) for _ in range(15)]
    for connection in dripping:
        connection.sendall(HEAD[:20])
    assert strict.post(BODY).status_code == 200
    assert [closed(connection) for connection in dripping] == [b""] * 15
    for connection in dripping:
        connection.close()


def test_a_silent_connection_is_cut_off(strict: Gateway) -> None:
    with connect(strict) as connection:
        assert closed(connection) == b""


def test_a_header_that_goes_on_byte_by_byte_is_cut_off(strict: Gateway) -> None:
    with connect(strict) as connection, pytest.raises(OSError):
        for _ in range(10_000):
            connection.sendall(b"P")
            time.sleep(0.01)


def test_a_body_that_never_ends_is_cut_off_and_leaves_nothing_behind(strict: Gateway) -> None:
    with connect(strict) as connection:
        connection.sendall(HEAD + b"\r\ncontent-length: 1000\r\n\r\nstart")
        assert closed(connection) == b""
    page = strict.client.get(f"{strict.http}/metrics").text
    assert "llmops_gateway_inflight_bytes 0.0" in page


def test_a_body_after_a_refusal_is_cut_off_too(strict: Gateway) -> None:
    with connect(strict) as connection:
        connection.sendall(HEAD + b"\r\ncontent-length: 900000000\r\n\r\nstart")
        assert closed(connection).startswith(b"HTTP/1.1 413")


def test_headers_without_end_are_refused(strict: Gateway) -> None:
    with connect(strict) as connection:
        connection.sendall(HEAD + b"\r\nx: " + b"y" * 70_000)
        assert closed(connection).startswith(b"HTTP/1.1 431")


def test_trailers_without_end_are_refused(strict: Gateway) -> None:
    with connect(strict) as connection, pytest.raises(OSError):
        connection.sendall(HEAD + b"\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ")
        for _ in range(100):
            connection.sendall(b"y" * 2**20)


def test_connections_beyond_the_limit_are_told_to_come_back(start) -> None:
    gateway = start(max_connections=5)
    kept = [connect(gateway) for _ in range(5)]
    with connect(gateway) as beyond:
        answer = closed(beyond)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in answer
    for connection in kept:
        connection.close()


def test_a_connection_serves_many_requests_in_turn(strict: Gateway) -> None:
    request = HEAD + b"\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
    with connect(strict) as connection:
        for _ in range(3):
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_what_is_not_http_is_a_400(strict: Gateway) -> None:
    with connect(strict) as connection:
        connection.sendall(b"\x16\x03\x01 not http\r\n\r\n")
        assert closed(connection).startswith(b"HTTP/1.1 400")
