"""The gateway process: both servers on one event loop, until SIGTERM."""

import asyncio
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa
import uvicorn
import uvloop

from schemas.kafka import UnusableAccess
from services.gateway.consumers import Consumers
from services.gateway.disk import DiskGuard
from services.gateway.grpc_server import grpc_server
from services.gateway.http import http_app
from services.gateway.inflight import InFlight
from services.gateway.intake import Intake
from services.gateway.metrics import Metrics
from services.gateway.rates import Rates
from services.gateway.settings import Settings
from services.shared.addresses import CannotListen, netloc
from services.shared.auth import KeyRing
from services.shared.http_protocol import bounded_protocol
from services.shared.log import Log
from services.shared.serving import Server, listen, raise_file_limit, serve_metrics
from services.shared.starting import CannotStart, begin

_CONTROL_TIMEOUT_S = 0.5  # a look-up waits this long for a lock, then the cache answers
_READY_POLL_S = 0.05


def main(arguments: list[str] | None = None) -> int:
    """Run the gateway; returns the exit code."""
    try:
        settings, engine = begin("services.gateway", __doc__, Settings, arguments, timeout_s=_CONTROL_TIMEOUT_S)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    raise_file_limit()
    try:
        uvloop.run(serve(settings, engine))
    except (CannotListen, UnusableAccess) as error:
        print(error, file=sys.stderr)
        return 1
    engine.dispose()
    return 0


async def serve(settings: Settings, engine: sa.Engine) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = listen(settings.http_host, settings.http_port)
    intake = _intake(settings, engine)
    consumers = Consumers(settings.brokers, settings.topic, settings.consumer_groups, settings.kafka)
    intake.metrics.registry.register(consumers)
    serve_metrics(intake.metrics.registry, settings.metrics_host, settings.metrics_port)
    grpc, grpc_port = grpc_server(intake, settings)
    http = Server(
        uvicorn.Config(
            http_app(intake, settings),
            http=bounded_protocol(settings),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=round(settings.idle_timeout_s),
            timeout_graceful_shutdown=round(settings.delivery_timeout_s) + 2,
        )
    )
    await grpc.start()
    serving = asyncio.create_task(http.serve([listener]))
    waiting = asyncio.create_task(stop.wait())
    await _ready(http, intake, waiting)
    if not stop.is_set():
        http_at = netloc(settings.http_host, listener.getsockname()[1])
        print(f"ready http={http_at} grpc={netloc(settings.grpc_host, grpc_port)}", flush=True)
    await asyncio.wait([waiting, serving], return_when=asyncio.FIRST_COMPLETED)
    http.should_exit = True
    await asyncio.gather(serving, grpc.stop(settings.delivery_timeout_s + 2))
    await asyncio.gather(asyncio.to_thread(consumers.close), intake.log.close(settings.delivery_timeout_s))
    waiting.cancel()


def _intake(settings: Settings, engine: sa.Engine) -> Intake:
    limits = settings.limits
    inflight = InFlight(settings.inflight_bytes)
    rates = Rates(settings.org_bytes_per_s, settings.org_burst_bytes, time.monotonic)
    log = Log(
        settings.brokers,
        settings.topic,
        max(limits.body_bytes, limits.inflated_bytes),
        settings.inflight_bytes,
        settings.delivery_timeout_s,
        settings.kafka,
    )
    # One thread: look-ups are rare and short, and a database that hangs must not use up the others.
    look_ups = ThreadPoolExecutor(1, thread_name_prefix="keys")
    keys = KeyRing(engine, look_ups, time.monotonic, settings.key_ttl_s, settings.key_stale_s, settings.anonymous_org)
    disk = DiskGuard(settings.guard_dir, settings.min_free_bytes, time.monotonic)
    metrics = Metrics(lambda: inflight.bytes, lambda: float(log.up))
    return Intake(keys, log, disk, inflight, rates, metrics, limits)


async def _ready(http: uvicorn.Server, intake: Intake, stopped: "asyncio.Task[bool]") -> None:
    """Return when HTTP listens and the broker has answered, or when the process is to stop."""
    while not (http.started and intake.log.up) and not stopped.done():
        await asyncio.wait([stopped], timeout=_READY_POLL_S)
