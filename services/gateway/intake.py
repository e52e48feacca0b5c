"""The path of a request, the same for HTTP and gRPC: admit, inflate, accept, append to the log."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from schemas.limits import Limits
from services.control.keys import Grant
from services.gateway.accept import Accepted, accept
from services.gateway.disk import DiskGuard
from services.gateway.inflate import Encoding, inflate
from services.gateway.inflight import Hold, InFlight
from services.gateway.metrics import Metrics
from services.gateway.rates import Rates
from services.gateway.signals import Signal
from services.shared.answers import Form
from services.shared.auth import KeyRing, secret_in
from services.shared.log import Log

# Up to here plain protobuf is decoded in under a millisecond: no reason to leave the event loop.
_INLINE_BYTES = 256 * 2**10


@dataclass(frozen=True)
class Payload:
    """A request as it came off the wire."""

    signal: Signal
    form: Form
    encoding: Encoding
    wire: bytes


class Intake:
    """Turns payloads into confirmed records. now: UTC ns. Build and use on one event loop."""

    def __init__(
        self,
        keys: KeyRing,
        log: Log,
        disk: DiskGuard,
        inflight: InFlight,
        rates: Rates,
        metrics: Metrics,
        limits: Limits,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.inflight = inflight
        self.metrics = metrics
        self.limits = limits
        self.log = log
        self.disk = disk
        self._keys = keys
        self._rates = rates
        self._now = now
        # Two, so that one slow request does not hold up the others; more would only raise the memory in use.
        self._workers = ThreadPoolExecutor(2, thread_name_prefix="accept")

    async def admit(self, authorization: str | None, api_key: str | None, loopback: bool) -> Grant:
        """Whom a request belongs to, before its body is read.

        Raises Refused: 401 without a valid key, 429 above the organisation's rate, 503 while nothing can be taken.
        """
        grant = await self._keys.grant(secret_in(authorization, api_key), loopback)
        self._rates.check(grant.org)
        self.disk.check()
        self.log.check()
        return grant

    async def take(self, payload: Payload, grant: Grant, hold: Hold) -> Accepted:
        """Write a payload to the log; returns when the broker has confirmed all of it. Raises Refused."""
        received_at = self._now()
        accepted, held = await self._accept(payload)
        hold.grow(held)
        self._rates.spend(grant.org, held)
        if accepted.records:
            headers = {
                "org": grant.org.encode(),
                "team": grant.team.encode(),
                "key_id": grant.key_id.encode(),
                "signal": payload.signal.name.encode(),
                "redact": b"1" if grant.redact else b"0",
                "received_at": str(received_at).encode(),
            }
            await self.log.append(
                [
                    (record.body, {**headers, "bad": record.bad.encode()} if record.bad else headers)
                    for record in accepted.records
                ]
            )
        self._count(payload.signal, grant, accepted)
        return accepted

    async def _accept(self, payload: Payload) -> tuple[Accepted, int]:
        """What to write, and how many bytes that is."""
        plain_protobuf = payload.form is Form.PROTOBUF and payload.encoding is Encoding.IDENTITY
        if plain_protobuf and len(payload.wire) <= _INLINE_BYTES:
            accepted = self._decide(payload)
        else:
            loop = asyncio.get_running_loop()
            accepted = await loop.run_in_executor(self._workers, self._decide, payload)
        return accepted, sum(len(record.body) for record in accepted.records)

    def _decide(self, payload: Payload) -> Accepted:
        plain = inflate(payload.wire, payload.encoding, self.limits.inflated_bytes)
        return accept(plain, payload.form, payload.signal, self.limits)

    def _count(self, signal: Signal, grant: Grant, accepted: Accepted) -> None:
        if accepted.items:
            self.metrics.received[signal.name].labels(grant.org).inc(accepted.items)
        if accepted.rejected:
            self.metrics.rejected.labels(grant.org, signal.name).inc(accepted.rejected)
