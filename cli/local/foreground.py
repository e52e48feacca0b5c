"""A profile that runs in the foreground until it is told to stop."""

import signal
import threading
from collections.abc import Callable

from cli.local.profile import Running
from cli.local.supervisor import Supervisor

_WATCH_S = 0.25


def run(supervisor: Supervisor, started: Callable[[Running], None], farewell: str) -> None:
    """Starts everything, tells `started` where it listens, and keeps it running until SIGINT or SIGTERM; says
    `farewell` then, and stops it. Raises Failure when something does not start."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    started(supervisor.start())
    while not stop.wait(_WATCH_S):
        supervisor.watch()
    supervisor.say(farewell)
    supervisor.stop()
