"""Traces that went quiet: into cold chunks, back when another span comes, out when the horizon has passed."""

from dataclasses import replace

import numpy as np

from transforms.blocks import Block, select
from transforms.segments import CHUNKS_PER_INDEX, Head, Index, newest_chunks, pack, read_index, unpack
from transforms.step import State

Writes = dict[str, bytes | None]

# Chunks dropped in one tick: after a long stop all are due at once, and one tick must not hold them all.
CHUNKS_PER_TICK = 8


def revive(state: State, head: Head, hashes: np.ndarray) -> list[Block]:
    """What the cold chunks know of the traces of `hashes`; a chunk is read only when it holds one of them."""
    if not len(head.dues) or not len(hashes):
        return []
    chunks = newest_chunks(state, head, hashes)
    found = []
    for chunk in np.unique(chunks[chunks >= 0]):
        block = unpack(state[f"cold/{chunk}"])
        found.append(select(block, np.isin(block.hashes(), hashes[chunks == chunk])))
    return found


def store(state: State, head: Head, quiet: Block, due: int) -> tuple[Head, Writes]:
    """Put the traces of `quiet` into a chunk of their own, to be dropped at `due` (UTC ns)."""
    if not quiet.traces.height:
        return head, {}
    chunk = head.next_chunk
    group = chunk // CHUNKS_PER_INDEX
    index = read_index(state, group) if group in head.groups() else Index.empty()
    writes: Writes = {
        f"cold/{chunk}": pack(quiet, "zstd"),
        f"index/{group}": index.add(quiet.hashes(), chunk).to_bytes(),
    }
    return replace(head, dues=np.append(head.dues, due)), writes


def expire(state: State, head: Head, awake: Block, now: int) -> tuple[Head, Writes, list[Block]]:
    """Drop chunks that are due, the oldest first; their traces, without those back in `awake` or a newer chunk."""
    due = min(int(np.searchsorted(head.dues, now, side="right")), CHUNKS_PER_TICK)
    expired: list[Block] = []
    writes: Writes = {}
    for chunk in range(head.first, head.first + due):
        block = unpack(state[f"cold/{chunk}"])
        hashes = block.hashes()
        last = (newest_chunks(state, head, hashes) == chunk) & ~np.isin(hashes, awake.hashes())
        if last.any():
            expired.append(select(block, last))
        writes[f"cold/{chunk}"] = None
    left = replace(head, first=head.first + due, dues=head.dues[due:])
    writes |= {f"index/{group}": None for group in head.groups() if group not in left.groups()}
    return left, writes, expired
