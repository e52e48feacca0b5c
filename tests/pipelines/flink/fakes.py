"""Stand-ins for what Flink gives an operator: state of one key, timers and a clock that the test sets."""

from collections.abc import Callable, Iterable
from typing import Any


class FakeListState:
    def __init__(self) -> None:
        self.items: list[Any] = []

    def add(self, value: Any) -> None:
        self.items.append(value)

    def get(self) -> Iterable[Any]:
        return iter(self.items)

    def clear(self) -> None:
        self.items = []


class FakeMapState:
    def __init__(self) -> None:
        self.items: dict[str, Any] = {}
        self.reads: list[str] = []

    def get(self, name: str) -> Any:
        self.reads.append(name)
        return self.items.get(name)

    def put(self, name: str, value: Any) -> None:
        self.items[name] = value

    def remove(self, name: str) -> None:
        self.items.pop(name, None)

    def contains(self, name: str) -> bool:
        return name in self.items

    def keys(self) -> Iterable[str]:
        return iter(self.items)


class FakeCounter:
    def __init__(self) -> None:
        self.value = 0

    def inc(self, n: int = 1) -> None:
        assert type(n) is int, "Java takes no NumPy number"
        self.value += n


class FakeGroup:
    """A metric group; the counters of it and of all below it by name and labels."""

    def __init__(self) -> None:
        self.scope: tuple[str, ...] = ()
        self.counters: dict[tuple[str, ...], FakeCounter] = {}

    def add_group(self, name: str, extra: str | None = None) -> "FakeGroup":
        below = FakeGroup()
        below.scope = (*self.scope, name if extra is None else f"{name}={extra}")
        below.counters = self.counters
        return below

    def counter(self, name: str) -> FakeCounter:
        key = (*self.scope, name)
        assert key not in self.counters, "Flink keeps the first of two counters of one name"
        return self.counters.setdefault(key, FakeCounter())

    @property
    def values(self) -> dict[str, int]:
        return {" ".join(key): counter.value for key, counter in self.counters.items()}


class FakeRuntime:
    """The state of one key; what `open` asks for twice (a restart) is the same state."""

    def __init__(self) -> None:
        self.lists: dict[str, FakeListState] = {}
        self.maps: dict[str, FakeMapState] = {}

    def get_list_state(self, descriptor: Any) -> FakeListState:
        return self.lists.setdefault(descriptor.name, FakeListState())

    def get_map_state(self, descriptor: Any) -> FakeMapState:
        return self.maps.setdefault(descriptor.name, FakeMapState())


class FakeContext:
    """The context of one key; `advance` fires due timers in order, as Flink does."""

    def __init__(self, now_ms: int = 1_000_000, key: int = 0) -> None:
        self.now_ms = now_ms
        self.key = key
        self.timers: set[int] = set()

    def timer_service(self) -> "FakeContext":
        return self

    def get_current_key(self) -> int:
        return self.key

    def current_processing_time(self) -> int:
        return self.now_ms

    def register_processing_time_timer(self, timestamp: int) -> None:
        self.timers.add(timestamp)

    def advance(self, to_ms: int, on_timer: Callable[[int, "FakeContext"], Iterable[Any]]) -> list[Any]:
        out: list[Any] = []
        while due := [timer for timer in self.timers if timer <= to_ms]:
            timestamp = min(due)
            self.timers.discard(timestamp)
            self.now_ms = max(self.now_ms, timestamp)
            out.extend(on_timer(timestamp, self))
        self.now_ms = to_ms
        return out
