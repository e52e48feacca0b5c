"""What went quiet (traces, or calls): into cold chunks, back when it is seen again, out when the horizon has passed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from transforms.folds.segments import CHUNKS_PER_INDEX, Head, Index, newest_chunks, read_index
from transforms.folds.step import State

Writes = dict[str, bytes | None]

# Chunks dropped in one tick: after a long stop all are due at once, and one tick must not hold them all.
CHUNKS_PER_TICK = 8

_Chunk = TypeVar("_Chunk")


@dataclass(frozen=True)
class Codec(Generic[_Chunk]):
    """What a chunk is made of. hashes: uint64, of each thing in it. select: those flagged by a bool for each hash."""

    pack: Callable[[_Chunk], bytes]
    unpack: Callable[[bytes], _Chunk]
    hashes: Callable[[_Chunk], np.ndarray]
    select: Callable[[_Chunk, np.ndarray], _Chunk]


def revive(state: State, head: Head, hashes: np.ndarray, codec: Codec[_Chunk]) -> list[_Chunk]:
    """What the cold chunks know of the things of `hashes`; a chunk is read only when it holds one of them."""
    if not len(head.dues) or not len(hashes):
        return []
    chunks = newest_chunks(state, head, hashes)
    found = []
    for number in np.unique(chunks[chunks >= 0]):
        chunk = codec.unpack(state[f"cold/{number}"])
        found.append(codec.select(chunk, np.isin(codec.hashes(chunk), hashes[chunks == number])))
    return found


def store(state: State, head: Head, quiet: _Chunk, due: int, codec: Codec[_Chunk]) -> tuple[Head, Writes]:
    """Put `quiet` into a chunk of its own, to be dropped at `due` (UTC ns); nothing when it is empty."""
    hashes = codec.hashes(quiet)
    if not len(hashes):
        return head, {}
    number = head.next_chunk
    group = number // CHUNKS_PER_INDEX
    index = read_index(state, group) if group in head.groups() else Index.empty()
    writes: Writes = {
        f"cold/{number}": codec.pack(quiet),
        f"index/{group}": index.add(hashes, number).to_bytes(),
    }
    return replace(head, dues=np.append(head.dues, due)), writes


def expire(
    state: State, head: Head, awake: np.ndarray, now: int, codec: Codec[_Chunk]
) -> tuple[Head, Writes, list[_Chunk]]:
    """Drop chunks that are due, the oldest first; what was in them, but for the hashes in `awake` or a newer chunk."""
    due = min(int(np.searchsorted(head.dues, now, side="right")), CHUNKS_PER_TICK)
    expired: list[_Chunk] = []
    writes: Writes = {}
    for number in range(head.first, head.first + due):
        chunk = codec.unpack(state[f"cold/{number}"])
        hashes = codec.hashes(chunk)
        last = (newest_chunks(state, head, hashes) == number) & ~np.isin(hashes, awake)
        if last.any():
            expired.append(codec.select(chunk, last))
        writes[f"cold/{number}"] = None
    left = replace(head, first=head.first + due, dues=head.dues[due:])
    writes |= {f"index/{group}": None for group in head.groups() if group not in left.groups()}
    return left, writes, expired
