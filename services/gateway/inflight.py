"""The bound on what the gateway holds in memory: requests being read, records that are not confirmed yet."""

from types import TracebackType

from services.shared.answers import unavailable

_RETRY_AFTER_S = 1


class InFlight:
    """Counts bytes held, and refuses what would pass the bound. For one event loop."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0

    def hold(self) -> "Hold":
        """A share of the bound for one request; empty at first."""
        return Hold(self)


class Hold:
    """What one request holds; given back when its `with` block ends."""

    def __init__(self, inflight: InFlight) -> None:
        self._inflight = inflight
        self._bytes = 0

    def grow(self, count: int) -> None:
        """Hold `count` bytes more. Raises Refused (503) when that passes the bound."""
        if self._inflight.bytes + count > self._inflight.most_bytes:
            raise unavailable("the gateway is at its limit of bytes in flight", _RETRY_AFTER_S)
        self._inflight.bytes += count
        self._bytes += count

    def __enter__(self) -> "Hold":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inflight.bytes -= self._bytes
        self._bytes = 0
