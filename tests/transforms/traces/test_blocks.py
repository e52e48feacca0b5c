import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from tests.transforms.skeletons import call, skeleton, span_id, table, trace_id
from transforms.traces.blocks import SIDES, Block, cut, expand, from_skeletons, select, stack, unite
from transforms.traces.packing import pack, unpack

ROWS = [skeleton(1), call(2, 1, response_id="r"), call(1, trace_id=trace_id(1), session_id="s", ttft_ns=7)]


def block(rows: list[dict] = ROWS) -> Block:
    return from_skeletons(table(rows), now=5)


def shown(one: Block) -> pl.DataFrame:
    columns = ["org", "trace_id", "span_id", "version", "name", "session_id", *SIDES["call"]]
    return expand(one, one.spans).select(columns).sort("trace_id", "span_id", "version")


def test_a_block_tells_what_the_rows_said() -> None:
    said = pl.DataFrame(pl.from_arrow(table(ROWS)))
    assert_frame_equal(shown(block()), said.select(shown(block()).columns).sort("trace_id", "span_id", "version"))


def test_a_selection_keeps_its_traces_and_only_the_side_rows_that_they_need() -> None:
    one = select(block(), np.array([False, True]))
    assert shown(one)["trace_id"].to_list() == [trace_id(1)]
    assert [one.sides[name].height for name in SIDES] == [1, 1, 1]


def test_uniting_keeps_a_trace_and_a_sighting_once_and_marks_what_is_new() -> None:
    old = unpack(pack(block(), "lz4"))
    new = block([ROWS[1], skeleton(3, 1)])
    united = unite(stack([old, new]))
    assert united.traces.height == 2
    fresh = expand(united, united.spans.filter("fresh"))
    assert fresh["span_id"].to_list() == [span_id(3)]
    assert shown(united).height == 4


def test_of_the_sightings_of_a_span_the_greatest_version_wins() -> None:
    united = unite(block([call(1, size=1), skeleton(1, size=2, name="fuller"), skeleton(1, size=0)]))
    spans = united.spans.sort("version")
    assert spans["won"].to_list() == [False, False, True]
    assert spans["candidate"].to_list() == [True] * 3
    assert spans["mixed"].to_list() == [True] * 3


def test_a_cut_leaves_the_last_piece_of_a_trace_open() -> None:
    one, full = cut(block([skeleton(n) for n in range(1, 8)] + [skeleton(1, trace_id=trace_id(1))]), 3)
    assert one.counts().tolist() == [3, 1, 3, 1]
    assert full.tolist() == [True, False, True, False]
    assert set(one.traces["trace_id"].gather([0, 2, 3])) == {trace_id(0)}
