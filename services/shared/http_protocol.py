"""HTTP/1.1 connections with deadlines and bounds that uvicorn itself does not set.

A connection is closed when the header of a request is not complete in `header_timeout_s`, its body not in
`body_timeout_s`, its header is larger than 64 KiB, or the framing of its body (chunk sizes, trailers) larger
than 1 MiB; a connection beyond `max_connections` gets 503 at once.
"""

import asyncio
from typing import Any, Protocol, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEADER_BYTES = 64 * 2**10
_MOST_FRAMING_BYTES = 2**20
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_HEADER_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Bounds(Protocol):
    """The settings that say how long and how many. Seconds."""

    @property
    def header_timeout_s(self) -> float: ...
    @property
    def body_timeout_s(self) -> float: ...
    @property
    def max_connections(self) -> int: ...


def bounded_protocol(settings: Bounds) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn's `http` option."""

    class BoundedProtocol(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _overhead = 0  # bytes of the current request that are not its body
        _in_body = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > settings.max_connections:
                self._refuse(_BUSY)
            else:
                self._close_in(settings.header_timeout_s)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            self._overhead += len(data)
            super().data_received(data)
            if self._overhead > (_MOST_FRAMING_BYTES if self._in_body else _MOST_HEADER_BYTES):
                self._refuse(_HEADER_TOO_LARGE)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._close_in(settings.header_timeout_s)

        def on_headers_complete(self) -> None:
            self._in_body = True
            self._close_in(settings.body_timeout_s)
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._overhead -= len(body)
            super().on_body(body)

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._in_body = False
            self._overhead = 0
            self._disarm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def _refuse(self, answer: bytes) -> None:
            self._disarm()
            self.transport.write(answer)
            self.transport.close()

        def _close_in(self, seconds: float) -> None:
            self._disarm()
            self._deadline = self.loop.call_later(seconds, self.transport.close)

        def _disarm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return cast(type[asyncio.Protocol], BoundedProtocol)
