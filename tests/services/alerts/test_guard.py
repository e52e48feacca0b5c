"""Which addresses may be notified, and that nothing else is reached whatever a URL looks like."""

import contextlib
import ipaddress
import socket
import threading
import time
from typing import Any

import pytest

from integration_tests.listeners import Webhook
from services.alerts import guard
from services.alerts.guard import Forbidden, Unresolved, checked_addresses, is_allowed
from services.alerts.http import MAX_REPLY, Refused, post

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]

# Hosts that lead into networks of one's own (case 53).
INSIDE = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0", "localhost",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2001:0:7f00:1::]", "[fe80::1]", "[fe80::1%25lo]",
    "[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.1.1",
    "100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255", "0x7f.1", "127.0.0.1.",
]  # fmt: skip


@pytest.fixture
def hook():
    made = Webhook()
    yield made
    made.close()


@pytest.mark.parametrize("host", INSIDE)
def test_no_spelling_of_an_address_inside_is_reached(host: str, hook: Webhook):
    with pytest.raises((Forbidden, Unresolved)):
        post(f"http://{host}:{hook.port}/", b"{}", {}, (), 2)
    assert hook.hits == []


def test_what_the_operator_allows_is_reached_and_the_rest_is_not(hook: Webhook):
    post(f"http://127.0.0.1:{hook.port}/a?b=c", b"{}", {"x": "y"}, LOOPBACK, 2)
    [(headers, body)] = hook.hits
    assert (headers["x"], headers["host"], body) == ("y", f"127.0.0.1:{hook.port}", b"{}")
    with pytest.raises(Forbidden):
        post("http://169.254.169.254/latest/meta-data", b"", {}, LOOPBACK, 2)


def test_public_addresses_are_allowed():
    for text in ("8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"):
        assert is_allowed(ipaddress.ip_address(text), ())


def test_a_redirect_is_not_followed():
    inside = Webhook()
    outside = Webhook(302, 307, headers={"location": inside.url})
    for _ in range(2):
        with pytest.raises(Refused, match="answered 30"):
            post(outside.url, b"{}", {}, LOOPBACK, 2)
    assert (len(outside.hits), inside.hits) == (2, [])
    inside.close()
    outside.close()


def _resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Each look-up gets the next of `answers`; the names that were looked up."""
    asked: list[str] = []
    left = list(answers)

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[tuple]:
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(guard.socket, "getaddrinfo", look_up)
    return asked


def test_a_name_with_an_address_inside_among_its_own_is_refused(monkeypatch: pytest.MonkeyPatch):
    _resolving(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(Forbidden, match="is 10.0.0.1"):
        checked_addresses("both.example.com", 80, ())


def test_a_name_that_resolves_to_another_address_later_leads_to_the_one_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, hook: Webhook
):
    connected: list[tuple[str, int]] = []
    asked = _resolving(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(guard.socket, "create_connection", connect)
    with pytest.raises(ConnectionRefusedError):
        post(f"http://rebind.example.com:{hook.port}/", b"{}", {}, (), 2)
    assert (connected, asked, hook.hits) == ([("8.8.8.8", hook.port)], ["rebind.example.com"], [])


def _server(answer: bytes, drip: float = 0) -> tuple[socket.socket, str]:
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listening.accept()
        with client, contextlib.suppress(OSError):
            client.recv(65_536)
            for part in [answer] if not drip else [bytes([b]) for b in answer]:
                client.sendall(part)
                time.sleep(drip)

    threading.Thread(target=serve, daemon=True).start()
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}/"


def test_a_reply_is_read_up_to_its_bound():
    listening, url = _server(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10 * MAX_REPLY)
    assert len(post(url, b"", {}, LOOPBACK, 5)) == MAX_REPLY
    listening.close()


def test_a_reply_that_drips_ends_at_the_deadline():
    listening, url = _server(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000, drip=0.05)
    with pytest.raises(OSError, match="in time|timed out"):
        post(url, b"", {}, LOOPBACK, 0.5)
    listening.close()


def test_what_speaks_no_http_is_an_error_of_the_connection():
    listening, url = _server(b"SSH-2.0-OpenSSH\r\n")
    with pytest.raises(OSError, match="does not speak HTTP"):
        post(url, b"", {}, LOOPBACK, 2)
    listening.close()
