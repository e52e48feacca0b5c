"""Delivers what is due: claims it, sends it, writes down how it went.

Several deliveries run at once, but few of one organisation: a receiver that never answers holds up its own alone.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from services.alerts.guard import Forbidden, Unresolved
from services.alerts.http import Refused
from services.alerts.metrics import Metrics
from services.alerts.senders import send
from services.alerts.settings import Settings
from services.control.alerts import receivers_of
from services.control.deliveries import Delivery, Status, claim, delivered, due, not_delivered
from transforms.alerts.receivers import Receiver, ReceiverKind

_SECOND = 10**9
_FIRING = "firing"
_GROWS = 1.5
_WORKERS, _OF_ONE_ORG = 8, 2


def next_pause_s(settings: Settings, attempts: int) -> float:
    """The pause after so many tries that failed."""
    return min(settings.retry_most_s, settings.retry_s * _GROWS ** max(0, attempts - 1))


class Teller:
    """For one thread. Several notifiers on one database share the work. clock: UTC ns."""

    def __init__(
        self, engine: sa.Engine, settings: Settings, metrics: Metrics, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._engine, self._settings, self._metrics, self._clock = engine, settings, metrics, clock
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="deliver")
        self._busy: Counter[str] = Counter()
        self._lock = threading.Lock()

    def tell(self) -> int:
        """Begins the deliveries that are due; how many. Raises SQLAlchemyError."""
        begun = 0
        for one in due(self._engine, self._clock(), 500):
            with self._lock:
                free = self._busy.total() < _WORKERS and self._busy[one.org] < _OF_ONE_ORG
            if free and claim(self._engine, one, self._clock()):
                with self._lock:
                    self._busy[one.org] += 1
                self._workers.submit(self._one, one)
                begun += 1
        return begun

    def close(self) -> None:
        """Waits for what has begun."""
        self._workers.shutdown()

    def _one(self, one: Delivery) -> None:
        try:
            self._deliver(one)
        except SQLAlchemyError:
            self._metrics.up.labels("control").set(0)  # nothing was written down: it is tried again when its claim ends
        finally:
            with self._lock:
                self._busy[one.org] -= 1

    def _deliver(self, one: Delivery) -> None:
        receiver = receivers_of(self._engine, one.org).get(one.receiver)
        if one.status is Status.REPEAT and one.incident_state != _FIRING:
            delivered(self._engine, one, self._clock(), None)  # it is over, or was not heard of any more
        elif receiver is None:
            not_delivered(self._engine, one, f"there is no receiver {one.receiver} any more", None)
        else:
            self._send(one, receiver)

    def _send(self, one: Delivery, receiver: Receiver) -> None:
        tries = self._metrics.tries
        try:
            send(one, receiver, self._settings, self._clock())
        except Forbidden as error:
            tries.labels(receiver.kind, "forbidden").inc()
            not_delivered(self._engine, one, str(error), None)
        except (Refused, Unresolved, OSError) as error:
            tries.labels(receiver.kind, "failed").inc()
            again_at = self._clock() + int(next_pause_s(self._settings, one.attempts + 1) * _SECOND)
            late = again_at > one.created_at + self._settings.give_up_s * _SECOND
            what = str(error) or type(error).__name__
            not_delivered(self._engine, one, what, None if late else again_at)
        else:
            now = self._clock()
            tries.labels(receiver.kind, "delivered").inc()
            self._metrics.delay.set((now - one.message["at"]) / _SECOND)
            repeats = receiver.kind is ReceiverKind.ALERTMANAGER and one.state == _FIRING
            delivered(self._engine, one, now, now + int(self._settings.resend_s * _SECOND) if repeats else None)
