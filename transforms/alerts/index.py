"""What a bucket knows of itself between two ticks: whose state it has, and how far minutes were closed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from transforms.alerts.series import SCHEMA_VERSION
from transforms.folds.segments import UnknownSchemaVersion
from transforms.folds.step import State

INDEX = "index"


@dataclass(frozen=True)
class Index:
    """rules: by organisation the names of the rules that have series. closed: the newest minute that was closed, -1
    before the first. held: UTC ns before which none is closed, as the stream lags. tick: UTC ns of the last tick, run:
    and of which run of the process."""

    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    closed: int = -1
    held: int = 0
    tick: int = 0
    run: str = ""

    def to_bytes(self) -> bytes:
        return orjson.dumps([SCHEMA_VERSION, self.rules, self.closed, self.held, self.tick, self.run])


def read_index(state: State) -> Index:
    """Raises UnknownSchemaVersion."""
    data = state.get(INDEX)
    if data is None:
        return Index()
    version, rules, closed, held, tick, run = orjson.loads(data)
    if version != SCHEMA_VERSION:
        raise UnknownSchemaVersion(f"alert state has version {version}, this code reads {SCHEMA_VERSION}")
    return Index({org: tuple(names) for org, names in rules.items()}, closed, held, tick, run)
