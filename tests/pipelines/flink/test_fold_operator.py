import pyarrow as pa

from pipelines.flink.fold_operator import Feed, FoldOperator
from schemas.arrow import from_ipc, to_ipc
from tests.pipelines.flink.fakes import FakeContext, FakeRuntime
from transforms.folds.step import Step

SECOND = 10**9


def _rows(*numbers):
    return pa.table({"n": pa.array(numbers, pa.int64())})


def _sum_fold():
    """Adds up what came under `sum`; says the sum one second after the first row, then forgets it."""

    def fold(state, rows, now):
        total = int(state["sum"]) if "sum" in state else 0
        if rows is not None:
            total += sum(rows["n"].to_pylist())
            due = int(state["due"]) if "due" in state else now + SECOND
            return Step({"sum": str(total).encode(), "due": str(due).encode()}, wake_at=due)
        if "due" not in state or now < int(state["due"]):
            return Step(wake_at=int(state["due"]) if "due" in state else None)
        return Step({"sum": None, "due": None}, out=(("sums", _rows(total)), ("none", _rows())), bad=_rows(-1))

    return fold


def _opened(runtime, make=_sum_fold, *feeds):
    operator = FoldOperator(make, *feeds)
    operator.open(runtime)
    return operator


def _told(elements):
    return [(table, bucket, from_ipc(rows)["n"].to_pylist()) for table, bucket, rows in elements]


def test_rows_reach_the_fold_and_its_rows_and_dead_letters_leave_when_it_is_woken():
    operator, ctx = _opened(FakeRuntime()), FakeContext(now_ms=5_000)
    for number in (1, 2, 3):
        assert list(operator.process_element(("skeletons", 7, to_ipc(_rows(number))), ctx)) == []
    assert ctx.timers == {6_000}
    assert _told(ctx.advance(6_000, operator.on_timer)) == [("sums", 0, [6]), ("dead_letters", 0, [-1])]


def test_a_segment_that_the_fold_drops_is_gone_and_the_next_rows_begin_anew():
    runtime, ctx = FakeRuntime(), FakeContext(now_ms=5_000)
    operator = _opened(runtime)
    list(operator.process_element(("skeletons", 7, to_ipc(_rows(1))), ctx))
    ctx.advance(6_000, operator.on_timer)
    assert runtime.maps["segments"].items == {}
    list(operator.process_element(("skeletons", 7, to_ipc(_rows(5))), ctx))
    assert _told(ctx.advance(8_000, operator.on_timer))[0] == ("sums", 0, [5])


def test_after_a_restart_the_state_and_the_timer_go_on():
    runtime, ctx = FakeRuntime(), FakeContext(now_ms=5_000)
    list(_opened(runtime).process_element(("skeletons", 7, to_ipc(_rows(1))), ctx))
    assert _told(ctx.advance(6_000, _opened(runtime).on_timer))[0] == ("sums", 0, [1])


def test_a_stale_timer_tells_nothing_and_the_fold_is_woken_when_it_asked():
    operator, ctx = _opened(FakeRuntime()), FakeContext(now_ms=5_000)
    list(operator.process_element(("skeletons", 7, to_ipc(_rows(1))), ctx))
    ctx.register_processing_time_timer(5_300)
    assert ctx.advance(5_999, operator.on_timer) == []
    assert _told(ctx.advance(6_000, operator.on_timer))[0] == ("sums", 0, [1])


def test_only_the_segments_that_the_fold_asks_for_are_read():
    runtime, ctx = FakeRuntime(), FakeContext()
    operator = _opened(runtime, lambda: lambda state, rows, now: Step(out=(("seen", _rows(len(state["a"]))),)))
    runtime.get_map_state(type("Name", (), {"name": "segments"})).items.update(a=b"xyz", b=b"large")
    assert _told(operator.process_element(("skeletons", 7, to_ipc(_rows(1))), ctx)) == [("seen", 0, [3])]
    assert runtime.maps["segments"].reads == ["a"]


def test_a_fold_sees_the_names_of_its_segments_and_misses_what_is_not_there():
    seen = []

    def fold(state, rows, now):
        seen.append((sorted(state), len(state), "a" in state, "z" in state, state.get("z")))
        return Step({"a": b"1", "b": b"2"})

    operator, ctx = _opened(FakeRuntime(), lambda: fold), FakeContext()
    for _ in range(2):
        list(operator.process_element(("skeletons", 7, to_ipc(_rows(1))), ctx))
    assert seen == [([], 0, False, False, None), (["a", "b"], 2, True, False, None)]


def test_a_wake_up_for_a_moment_that_has_passed_comes_later_not_at_once():
    operator, ctx = _opened(FakeRuntime(), lambda: lambda state, rows, now: Step(wake_at=now - SECOND)), FakeContext()
    list(operator.process_element(("skeletons", 7, to_ipc(_rows(1))), ctx))
    assert ctx.timers == {ctx.now_ms + 1}


def test_what_a_fold_says_on_a_channel_of_its_own_goes_aside_or_along_by_bucket():
    def fold(state, rows, now):
        return Step(out=(("rows", rows), ("aside", rows), ("along", rows)))

    def parity(rows):
        return rows["n"].to_numpy() % 2

    operator = _opened(FakeRuntime(), lambda: fold, Feed("aside", parity), Feed("along", parity, aside=False))
    ctx = FakeContext(now_ms=5_000)
    first, *rest = operator.process_element(("rows", 0, to_ipc(_rows(1, 2, 3))), ctx)
    assert _told([first]) == [("rows", ctx.get_current_key(), [1, 2, 3])]
    (tag, even), (_, odd), *along = rest
    assert tag.tag_id == "aside"
    assert _told([even, odd]) == [("aside", 0, [2]), ("aside", 1, [1, 3])]
    assert _told(along) == [("along", 0, [2]), ("along", 1, [1, 3])]
