"""The budget service's process: both servers on one event loop, until SIGTERM."""

import asyncio
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa
import uvicorn
import uvloop

from schemas.kafka import UnusableAccess
from services.budget.commit import GroupCommit
from services.budget.contracts import Contracts
from services.budget.decisions import Decisions
from services.budget.desk import Desk
from services.budget.feed import EventFeed
from services.budget.grpc_server import grpc_server
from services.budget.http import http_app
from services.budget.limits import LimitsPublisher
from services.budget.owners import Owners
from services.budget.prices import Prices
from services.budget.settings import Settings
from services.budget.tail import Tail
from services.budget.ticks import Ticks
from services.shared.addresses import CannotListen, netloc
from services.shared.auth import KeyRing
from services.shared.http_protocol import bounded_protocol
from services.shared.log import Log
from services.shared.serving import Server, listen, raise_file_limit, serve_metrics
from services.shared.starting import CannotStart, begin

_CONTROL_TIMEOUT_S = 0.5
_READY_POLL_S = 0.05
_MOST_RECORD_BYTES = 8 * 2**20
_INFLIGHT_BYTES = 64 * 2**20


def main(arguments: list[str] | None = None) -> int:
    """Run the service; returns the exit code."""
    try:
        settings, engine = begin("services.budget", __doc__, Settings, arguments, timeout_s=_CONTROL_TIMEOUT_S)
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
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listener = listen(settings.http_host, settings.http_port)
    pricing = ThreadPoolExecutor(1, thread_name_prefix="prices")
    prices = Prices(pricing)
    desk, ticks = _desk(settings, engine, prices)
    serve_metrics(desk.decisions.metrics.registry, settings.metrics_host, settings.metrics_port)
    replies = Tail(
        settings.brokers, settings.replies_topic, desk.decisions.decided, desk.decisions.wanted, settings.kafka
    )
    events = Tail(settings.brokers, settings.events_topic, desk.feed.tell, access=settings.kafka, from_beginning=True)
    limits = LimitsPublisher(engine, desk.log, settings.limits_poll_s)
    grpc, grpc_port = grpc_server(desk, settings)
    http = Server(
        uvicorn.Config(
            http_app(desk, settings),
            http=bounded_protocol(settings),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=round(settings.idle_timeout_s),
            timeout_graceful_shutdown=round(settings.decision_timeout_s) + 1,
        )
    )
    await grpc.start()
    serving = asyncio.create_task(http.serve([listener]))
    writing = [asyncio.create_task(limits.run()), asyncio.create_task(ticks.run())]
    if settings.store_url:
        writing.append(asyncio.create_task(Contracts(prices, settings).run()))
    waiting = asyncio.create_task(stop.wait())
    while not (http.started and desk.log.up and replies.ready) and not waiting.done():
        await asyncio.wait([waiting], timeout=_READY_POLL_S)
    if not stop.is_set():
        http_at = netloc(settings.http_host, listener.getsockname()[1])
        print(f"ready http={http_at} grpc={netloc(settings.grpc_host, grpc_port)}", flush=True)
    await asyncio.wait([waiting, serving, *writing], return_when=asyncio.FIRST_COMPLETED)
    http.should_exit = True
    failed = [task for task in writing if task.done()]
    for task in (waiting, *writing):
        task.cancel()
    await asyncio.gather(serving, grpc.stop(settings.decision_timeout_s + 1))
    await asyncio.gather(replies.close(), events.close(), desk.log.close(settings.delivery_timeout_s))
    for task in failed:
        task.result()  # raises what ended it


def _desk(settings: Settings, engine: sa.Engine, prices: Prices) -> tuple[Desk, Ticks]:
    log = Log(
        settings.brokers,
        settings.log_topic,
        _MOST_RECORD_BYTES,
        _INFLIGHT_BYTES,
        settings.delivery_timeout_s,
        settings.kafka,
        linger_ms=0,
    )
    look_ups = ThreadPoolExecutor(1, thread_name_prefix="keys")
    ticks = Ticks(log)
    keys = KeyRing(engine, look_ups, time.monotonic, settings.key_ttl_s, settings.key_stale_s, settings.anonymous_org)
    decisions = Decisions(
        log,
        GroupCommit(log),
        Owners(engine, look_ups, time.monotonic, settings.key_ttl_s),
        prices,
        settings.decision_timeout_s,
        settings.policy == "open",
        settings.most_waiting,
        ticks.note,
    )
    return Desk(keys, log, decisions, EventFeed(settings.most_watching)), ticks
