"""The notifier process: one thread hears, one tells, until SIGTERM."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from schemas.kafka import UnusableAccess
from services.alerts.hearing import Ear
from services.alerts.metrics import Metrics
from services.alerts.settings import Settings
from services.alerts.telling import Teller
from services.control.deliveries import waiting
from services.control.incidents import expire
from services.shared.addresses import CannotListen
from services.shared.serving import serve_metrics
from services.shared.starting import CannotStart, begin

_LISTEN_S, _TELL_S, _PAUSE_S, _LOOK_S = 0.5, 0.25, 1.0, 5.0
_log = logging.getLogger("spanmill.alerts")


def main(arguments: list[str] | None = None) -> int:
    """Run the notifier; returns the exit code."""
    try:
        settings, engine = begin("services.alerts", __doc__, Settings, arguments)
        metrics = Metrics()
        ear = Ear(settings, metrics)
        serve_metrics(metrics.registry, settings.metrics_host, settings.metrics_port)
    except (CannotStart, CannotListen, UnusableAccess) as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if run(settings, engine, metrics, ear) else 1


def run(settings: Settings, engine: sa.Engine, metrics: Metrics, ear: Ear) -> bool:
    """Until SIGTERM or SIGINT, or until one of its threads fails: whether it was asked to end.

    What is being delivered then is finished first.
    """
    stop, asked = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: (asked.set(), stop.set()))
    teller = Teller(engine, settings, metrics)
    telling = threading.Thread(target=_loop, args=(stop, metrics, lambda: _tell(teller, stop)), name="tell")
    looking = threading.Thread(target=_loop, args=(stop, metrics, lambda: _look(engine, metrics, stop)), name="look")
    for thread in (telling, looking):
        thread.start()
    print(f"ready metrics={settings.metrics_host}:{settings.metrics_port}", flush=True)
    _loop(stop, metrics, lambda: ear.listen(engine, time.time_ns(), _LISTEN_S))
    for thread in (telling, looking):
        thread.join()
    teller.close()
    ear.close()
    engine.dispose()
    return asked.is_set()


def _loop(stop: threading.Event, metrics: Metrics, once: Callable[[], object]) -> None:
    """`once` again and again; the control database may be away for a while. Any other fault ends the process."""
    try:
        while not stop.is_set():
            try:
                once()
                metrics.up.labels("control").set(1)
            except SQLAlchemyError as error:
                metrics.up.labels("control").set(0)
                _log.warning("the control database cannot be used: %s", str(error).splitlines()[0])
                stop.wait(_PAUSE_S)
    finally:
        stop.set()


def _tell(teller: Teller, stop: threading.Event) -> None:
    if not teller.tell():
        stop.wait(_TELL_S)


def _look(engine: sa.Engine, metrics: Metrics, stop: threading.Event) -> None:
    expire(engine, time.time_ns())
    metrics.waiting.set(waiting(engine))
    stop.wait(_LOOK_S)
