from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from schemas.arrow import SKELETONS
from tests.transforms.skeletons import call, skeleton, table, trace_id
from transforms.folds.segments import (
    CHUNKS_PER_INDEX,
    Head,
    Index,
    UnknownSchemaVersion,
    newest_chunks,
    pack_rows,
    read_head,
    read_index,
    unpack_rows,
)
from transforms.metrics.shown import ATTEMPT, BILLED, shown
from transforms.traces.blocks import SIDES, Block, from_skeletons
from transforms.traces.packing import pack, unpack

ROWS = [skeleton(1), call(2, 1, response_id="r"), call(1, trace_id=trace_id(1), session_id="s", ttft_ns=7)]


def block(rows: list[dict] = ROWS) -> Block:
    return from_skeletons(table(rows), now=5)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_block_comes_back_from_its_bytes_with_nothing_fresh(compression) -> None:
    back = unpack(pack(block(), compression))
    assert_frame_equal(back.traces, block().traces)
    assert_frame_equal(back.spans.drop("fresh"), block().spans.drop("fresh"))
    for name in SIDES:
        assert_frame_equal(back.sides[name], block().sides[name])
    assert not back.spans["fresh"].any()


def test_rows_come_back_from_their_bytes() -> None:
    assert unpack_rows(pack_rows(table(ROWS)), SKELETONS).equals(table(ROWS))


def test_a_block_of_version_1_shows_what_was_told_of_it() -> None:
    now = block()
    old = replace(
        now,
        traces=now.traces.drop("pieced"),
        spans=now.spans.drop("shown"),
        sides={**now.sides, "call": now.sides["call"].drop("request_id")},
    )
    back = unpack(b"\x01" + pack(old, "zstd")[1:])
    assert back.traces.columns == now.traces.columns and back.spans.columns == now.spans.columns
    assert back.sides["call"].columns == now.sides["call"].columns
    assert back.spans["shown"].to_list() == shown(now).tolist()
    assert set(back.spans["shown"].to_list()) == {0, BILLED | ATTEMPT}


def test_rows_of_version_1_get_the_columns_that_it_had_not() -> None:
    old = table(ROWS).drop_columns("request_id")
    assert unpack_rows(b"\x01" + pack_rows(old)[1:], SKELETONS).equals(table(ROWS))


def test_a_head_comes_back_from_its_bytes() -> None:
    head = Head(tick=7, wake=9, inbox=2, first=40, dues=np.array([11, 12]))
    back = read_head({"head": head.to_bytes()})
    assert (back.tick, back.wake, back.inbox, back.first, back.dues.tolist()) == (7, 9, 2, 40, [11, 12])
    assert (back.next_chunk, list(back.groups())) == (42, [1])
    assert read_head({}).next_chunk == 0


def test_state_of_another_version_is_refused() -> None:
    rows = partial(unpack_rows, schema=SKELETONS)
    for read, data in ((unpack, pack(block(), "lz4")), (rows, pack_rows(table(ROWS)))):
        with pytest.raises(UnknownSchemaVersion, match="version 9, this code reads up to 2"):
            read(b"\x09" + data[1:])
    with pytest.raises(UnknownSchemaVersion):
        read_head({"head": b"\x09" + Head().to_bytes()[1:]})
    with pytest.raises(UnknownSchemaVersion):
        read_index({"index/0": b"\x09" + Index.empty().to_bytes()[1:]}, 0)


@given(st.lists(st.sets(st.integers(0, 20), min_size=1), min_size=1, max_size=70), st.integers(0, 70))
def test_the_index_names_the_newest_chunk_that_is_still_there(chunks: list[set[int]], dropped: int) -> None:
    groups: dict[int, Index] = {}
    for number, hashes in enumerate(chunks):
        group = number // CHUNKS_PER_INDEX
        groups[group] = groups.get(group, Index.empty()).add(np.array(sorted(hashes), np.uint64), number)
    first = min(dropped, len(chunks))
    head = Head(first=first, dues=np.zeros(len(chunks) - first, np.int64))
    state = {f"index/{group}": index.to_bytes() for group, index in groups.items() if group in head.groups()}
    found = newest_chunks(state, head, np.arange(22, dtype=np.uint64))
    alive = range(first, len(chunks))
    assert found.tolist() == [max((n for n in alive if x in chunks[n]), default=-1) for x in range(22)]
