"""How the open spans lie in state: one hot segment, cold chunks in order of time, and an index of the cold.

| segment | holds | read | written |
|---|---|---|---|
| `head` | clock and counters (Head) | every call | every call |
| `in/<n>` | rows that came since the last tick | every tick | once |
| `hot` | spans of traces that are active | every tick | every tick |
| `cold/<n>` | spans of traces that went quiet in one tick | when a late span needs it; when due | once |
| `index/<g>` | hash and chunk of the traces of 32 chunks | ticks with traces new to `hot` | while it fills |

The fold over calls lies in the same way, with claims for spans, and without a hot segment.
A trace that comes back from the cold is copied into `hot` and later into a newer chunk; the copy left behind is
told by its hash being in a newer place. Every segment starts with SCHEMA_VERSION. Version 1 (0.1.0) had no request_id,
pieced and shown in a block and no request_id and ttft_ns in a claim; it is read, and written anew as version 2.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.folds.step import State

SCHEMA_VERSION = 2
_READABLE = (1, 2)
CHUNKS_PER_INDEX = 32
NEVER = np.iinfo(np.int64).max

_MARK = SCHEMA_VERSION.to_bytes(8, "little")  # eight bytes, so that what follows stays aligned


class UnknownSchemaVersion(ValueError):
    """The state was written by a version of the code that this one cannot read."""


@dataclass(frozen=True)
class Head:
    """tick: UTC ns of the last tick. wake: next due moment (NEVER for none). inbox: segments waiting.

    first: number of the oldest cold chunk that is still there. dues: UTC ns at which it and each chunk after it
    is dropped, int64, rising.
    """

    tick: int = 0
    wake: int = NEVER
    inbox: int = 0
    first: int = 0
    dues: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def next_chunk(self) -> int:
        return self.first + len(self.dues)

    def groups(self) -> range:
        """Numbers of the index segments that hold a chunk that is still there."""
        if not len(self.dues):
            return range(0)
        return range(self.first // CHUNKS_PER_INDEX, (self.next_chunk - 1) // CHUNKS_PER_INDEX + 1)

    def to_bytes(self) -> bytes:
        counters = np.array([self.tick, self.wake, self.inbox, self.first], np.int64)
        return _MARK + counters.tobytes() + self.dues.tobytes()


@dataclass(frozen=True)
class Index:
    """hashes: uint64, sorted. chunks: uint32, the chunk of each; of equal hashes the newest comes last."""

    hashes: np.ndarray
    chunks: np.ndarray

    @staticmethod
    def empty() -> "Index":
        return Index(np.empty(0, np.uint64), np.empty(0, np.uint32))

    def to_bytes(self) -> bytes:
        return _MARK + self.hashes.tobytes() + self.chunks.tobytes()

    def add(self, hashes: np.ndarray, chunk: int) -> "Index":
        """The index with the traces of `chunk`, which must be newer than all chunks in it."""
        hashes = np.concatenate([self.hashes, hashes])
        chunks = np.concatenate([self.chunks, np.full(len(hashes) - len(self.chunks), chunk, np.uint32)])
        order = np.argsort(hashes, kind="stable")
        return Index(hashes[order], chunks[order])


def read_head(state: State) -> Head:
    """The head of `state`, the first one when there is none. Raises UnknownSchemaVersion."""
    data = state.get("head")
    if data is None:
        return Head()
    values = np.frombuffer(_checked(data), np.int64)
    tick, wake, inbox, first = (int(value) for value in values[:4])
    return Head(tick, wake, inbox, first, values[4:])


def read_index(state: State, group: int) -> Index:
    """Index segment `group`. Raises UnknownSchemaVersion."""
    body = _checked(state[f"index/{group}"])
    entries = len(body) // 12
    return Index(np.frombuffer(body, np.uint64, entries), np.frombuffer(body, np.uint32, entries, offset=8 * entries))


def newest_chunks(state: State, head: Head, hashes: np.ndarray) -> np.ndarray:
    """int64: the newest cold chunk that holds each trace hash (uint64), -1 where none does."""
    newest = np.full(len(hashes), -1)
    for group in head.groups():
        index = read_index(state, group)
        at = np.searchsorted(index.hashes, hashes, side="right") - 1
        known = at >= 0
        known[known] = index.hashes[at[known]] == hashes[known]
        newest[known] = index.chunks[at[known]]
    newest[newest < head.first] = -1
    return newest


def pack_tables(tables: Iterable[pl.DataFrame], compression: Literal["lz4", "zstd"]) -> bytes:
    """`tables` as Arrow IPC streams, each behind its length."""
    parts = [_MARK]
    for table in tables:
        sink = io.BytesIO()
        table.write_ipc_stream(sink, compression=compression, compat_level=pl.CompatLevel.oldest())
        parts += [sink.tell().to_bytes(8, "little"), sink.getvalue()]
    return b"".join(parts)


def unpack_tables(data: bytes) -> list[pl.DataFrame]:
    """The tables in `data`. Raises UnknownSchemaVersion."""
    body, tables = _checked(data), []
    while len(body):
        end = 8 + int.from_bytes(body[:8], "little")
        tables.append(pl.read_ipc_stream(io.BytesIO(body[8:end])))
        body = body[end:]
    return tables


def pack_rows(rows: pa.Table) -> bytes:
    """Rows that wait for the next tick."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows)
    return _MARK + sink.getvalue().to_pybytes()


def unpack_rows(data: bytes, schema: pa.Schema) -> pa.Table:
    """The rows in `data`, with the columns of `schema` (NULL, or '', where an older version had none).

    Raises UnknownSchemaVersion.
    """
    rows = pa.ipc.open_stream(_checked(data)).read_all()
    for column in schema:
        if column.name not in rows.column_names:
            empty = "" if pa.types.is_string(column.type) else None
            rows = rows.append_column(column, pa.array([empty] * rows.num_rows, column.type))
    return rows.select(schema.names)


def _checked(data: bytes) -> memoryview:
    """What follows the mark of `data`."""
    version = int.from_bytes(data[:8], "little")
    if version not in _READABLE:
        raise UnknownSchemaVersion(f"state has schema version {version}, this code reads up to {SCHEMA_VERSION}")
    return memoryview(data)[8:]
