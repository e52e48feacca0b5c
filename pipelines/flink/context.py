"""The part of PyFlink's keyed context that our operators use, typed: PyFlink's own classes say None throughout."""

from typing import Protocol


class Timers(Protocol):
    def current_processing_time(self) -> int:
        """UTC ms."""
        ...

    def register_processing_time_timer(self, timestamp: int) -> None: ...


class Context(Protocol):
    def timer_service(self) -> Timers: ...

    def get_current_key(self) -> int: ...
