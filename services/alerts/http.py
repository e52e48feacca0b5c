"""One POST to an address that was checked: no redirects, no proxy, a bounded reply, one deadline for all of it."""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from services.alerts.guard import Network, connect

MAX_REPLY = 64 * 2**10
_DEADLINE = "it did not answer in time"


class Refused(Exception):
    """The other side answered, but not with a success."""


class _Connection(http.client.HTTPConnection):
    """Over a socket that is connected already."""

    def __init__(self, host: str, port: int, connected: socket.socket) -> None:
        super().__init__(host, port)
        self.sock = connected

    def connect(self) -> None:
        raise http.client.NotConnected


def post(url: str, body: bytes, headers: Mapping[str, str], allowed: Sequence[Network], timeout_s: float) -> bytes:
    """The start of the reply. Raises Refused for a status that is not 2xx, guard.Forbidden, Unresolved, OSError."""
    deadline = time.monotonic() + timeout_s
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    connected = connect(host, port, allowed, timeout_s)
    try:
        if secure:
            connected = ssl.create_default_context().wrap_socket(connected, server_hostname=host)
        connection = _Connection(host, port, connected)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connected.settimeout(_left(deadline))
        connection.request("POST", path, body, {**headers, "host": parts.netloc, "connection": "close"})
        connected.settimeout(_left(deadline))
        answer = connection.getresponse()
        reply = _bounded(answer, connected, deadline)
    except http.client.HTTPException as error:
        raise OSError(f"it does not speak HTTP: {type(error).__name__}") from error
    finally:
        connected.close()
    if not 200 <= answer.status < 300:
        said = reply[:200].decode(errors="replace").strip()
        raise Refused(f"answered {answer.status} {answer.reason}" + (f": {said}" if said else ""))
    return reply


def _bounded(answer: http.client.HTTPResponse, connected: socket.socket, deadline: float) -> bytes:
    """At most MAX_REPLY bytes, read until the deadline: a reply that drips must not hold up the others."""
    reply = b""
    while len(reply) < MAX_REPLY:
        if answer.fp is None or answer.isclosed():
            break
        connected.settimeout(_left(deadline))
        part = answer.read1(MAX_REPLY - len(reply))
        if not part:
            break
        reply += part
    return reply


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(_DEADLINE)
    return left
