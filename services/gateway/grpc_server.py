"""OTLP over gRPC: the Export method of the three services, on raw bytes.

The method is registered as client-streaming, which on the wire is the same, so that a request is authenticated
and admitted before its message is read. gRPC's own decompression is switched off: it knows no bound on its
output. Messages are inflated here, under the limit; a compressed one is told by its first byte, with which no
OTLP message begins: 0x1f would be a wire type that does not exist, 0x78 a field that does not.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from services.gateway.inflate import Encoding
from services.gateway.intake import Intake, Payload
from services.gateway.settings import Settings
from services.gateway.signals import SIGNALS, Signal
from services.shared.addresses import CannotListen, is_loopback, netloc
from services.shared.answers import Form, Refused, status_of, unavailable

_EOF: Any = grpc.aio.EOF  # pyright: ignore[reportAttributeAccessIssue]: absent from the stubs
_FIRST_BYTES = {0x1F: Encoding.GZIP, 0x78: Encoding.DEFLATE}
_MOST_READING = 32  # messages being read at once: gRPC buffers each whole, outside our count of bytes
_RETRY_AFTER_S = 1
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def grpc_server(intake: Intake, settings: Settings) -> tuple[grpc.aio.Server, int]:
    """A server that is bound but not started, and its port. Raises CannotListen."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", settings.limits.body_bytes),
            ("grpc.per_message_decompression", 0),
            ("grpc.so_reuseport", 0),
            ("grpc.max_concurrent_streams", 128),
            ("grpc.server_handshake_timeout_ms", round(settings.header_timeout_s * 1000)),
            ("grpc.max_connection_idle_ms", round(settings.idle_timeout_s * 1000)),
        ]
    )
    reading = asyncio.Semaphore(_MOST_READING)
    loopback = is_loopback(settings.grpc_host)
    for signal in SIGNALS:
        export = _Export(intake, signal, loopback, reading, settings.body_timeout_s)
        handler = grpc.stream_unary_rpc_method_handler(export.serve)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(signal.service, {"Export": handler}),))
    address = netloc(settings.grpc_host, settings.grpc_port)
    try:
        return server, server.add_insecure_port(address)
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {address}: {error}") from error


class _Export:
    def __init__(
        self, intake: Intake, signal: Signal, loopback: bool, reading: asyncio.Semaphore, timeout_s: float
    ) -> None:
        self._intake = intake
        self._signal = signal
        self._loopback = loopback
        self._reading = reading
        self._timeout_s = timeout_s

    async def serve(self, _requests: AsyncIterator[bytes], context: Any) -> bytes:
        """One call. context: grpc.aio.ServicerContext, whose stubs do not know `read` in a unary answer."""
        started = time.perf_counter()
        try:
            # A client that goes away must not take the count of bytes that the log still holds with it.
            answer = await asyncio.shield(self._answer(context))
        except Refused as refused:
            self._count(refused.refusal.grpc_code)
            details = (("grpc-status-details-bin", status_of(refused).SerializeToString()),)
            await context.abort(_CODES[refused.refusal.grpc_code], refused.message, details)
            raise
        self._count(grpc.StatusCode.OK.value[0])
        self._intake.metrics.acknowledged.labels("grpc").observe(time.perf_counter() - started)
        return answer

    async def _answer(self, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        grant = await self._intake.admit(metadata.get("authorization"), metadata.get("x-api-key"), self._loopback)
        wire = await self._read(context)
        with self._intake.inflight.hold() as hold:
            hold.grow(len(wire))
            encoding = _FIRST_BYTES.get(wire[0], Encoding.IDENTITY) if wire else Encoding.IDENTITY
            accepted = await self._intake.take(Payload(self._signal, Form.PROTOBUF, encoding, wire), grant, hold)
        return self._signal.answer(accepted.rejected, accepted.message).SerializeToString()

    async def _read(self, context: Any) -> bytes:
        if self._reading.locked():
            raise unavailable("the gateway is at its limit of requests being read", _RETRY_AFTER_S)
        async with self._reading:
            try:
                message = await asyncio.wait_for(context.read(), self._timeout_s)
            except TimeoutError:
                raise unavailable("the request did not arrive in time", _RETRY_AFTER_S) from None
        return b"" if message is _EOF else message

    def _count(self, code: int) -> None:
        self._intake.metrics.requests.labels("grpc", self._signal.name, str(code)).inc()
