"""How much each organisation may send, so that one that floods leaves the others their share: a token bucket each."""

from collections.abc import Callable
from math import ceil

from services.shared.answers import Refusal, Refused


class Rates:
    """Buckets of `burst` bytes that fill by `per_second`; 0 sets no limit. now: seconds, rising. For one event loop.

    A request is charged after it was taken, so a bucket may go below empty: what follows waits until it has filled.
    """

    def __init__(self, per_second: int, burst: int, now: Callable[[], float]) -> None:
        self._per_second = per_second
        self._burst = burst
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}  # org -> bytes, when

    def check(self, org: str) -> None:
        """Raises Refused (429) with the seconds until the bucket of `org` is not empty any more."""
        if not self._per_second:
            return
        left = self._level(org)
        if left <= 0:
            wait = max(1, ceil(-left / self._per_second))
            what = f"{org} sends more than {self._per_second} bytes a second"
            raise Refused(Refusal.THROTTLED, what, wait)

    def spend(self, org: str, count: int) -> None:
        """Takes `count` bytes out of the bucket of `org`."""
        if self._per_second:
            self._left[org] = (self._level(org) - count, self._now())

    def _level(self, org: str) -> float:
        left, when = self._left.get(org, (float(self._burst), self._now()))
        return min(float(self._burst), left + (self._now() - when) * self._per_second)
