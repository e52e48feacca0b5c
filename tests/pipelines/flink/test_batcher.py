import pyarrow as pa

from pipelines.flink.batcher import Batcher
from pipelines.flink.source import Record
from schemas.arrow import RAW, from_ipc
from tests.pipelines.flink.fakes import FakeContext, FakeRuntime


def _opened(runtime, batch_bytes=100, linger_ms=200):
    batcher = Batcher("spans.raw", batch_bytes, linger_ms)
    batcher.open(runtime)
    return batcher


def _record(offset, body=b"0123456789"):
    return Record(body, {"org": b"acme"}, 1_700_000_000_000, 3, offset)


def _offsets(batches):
    return [from_ipc(batch)["offset"].to_pylist() for batch in batches]


def test_a_batch_leaves_when_its_bytes_are_together_and_keeps_the_order():
    batcher, ctx = _opened(FakeRuntime(), batch_bytes=30), FakeContext()
    batches = [batch for offset in range(7) for batch in batcher.process_element(_record(offset), ctx)]
    assert _offsets(batches) == [[0, 1, 2], [3, 4, 5]]
    assert from_ipc(batches[0]).schema == RAW


def test_what_is_left_leaves_after_the_linger_time():
    batcher, ctx = _opened(FakeRuntime()), FakeContext(now_ms=5_000)
    assert list(batcher.process_element(_record(0), ctx)) == []
    assert ctx.advance(5_199, batcher.on_timer) == []
    assert _offsets(ctx.advance(5_200, batcher.on_timer)) == [[0]]
    assert ctx.advance(9_000, batcher.on_timer) == []


def test_the_timer_of_a_batch_that_has_left_does_not_cut_the_next_one():
    batcher, ctx = _opened(FakeRuntime(), batch_bytes=20), FakeContext(now_ms=5_000)
    list(batcher.process_element(_record(0), ctx))
    assert _offsets(batcher.process_element(_record(1), ctx)) == [[0, 1]]
    ctx.advance(5_150, batcher.on_timer)
    list(batcher.process_element(_record(2), ctx))
    assert ctx.advance(5_200, batcher.on_timer) == []
    assert _offsets(ctx.advance(5_350, batcher.on_timer)) == [[2]]


def test_after_a_restart_the_restored_timer_sends_what_the_state_holds():
    runtime, ctx = FakeRuntime(), FakeContext(now_ms=5_000)
    list(_opened(runtime).process_element(_record(0), ctx))
    again = _opened(runtime)
    list(again.process_element(_record(1), ctx))
    assert _offsets(ctx.advance(6_000, again.on_timer)) == [[0, 1]]


def test_a_record_larger_than_a_batch_leaves_at_once():
    batcher, ctx = _opened(FakeRuntime(), batch_bytes=4), FakeContext()
    (batch,) = batcher.process_element(_record(0, b"12345"), ctx)
    assert from_ipc(batch)["body"].to_pylist() == [b"12345"]
    assert isinstance(from_ipc(batch), pa.Table)


def test_a_batch_gathers_as_long_as_the_one_before_took_but_not_for_ever():
    batcher, ctx = _opened(FakeRuntime(), batch_bytes=10), FakeContext(now_ms=5_000)
    for took, linger in ((900, 450), (60_000, 2_000), (0, 200)):
        for _ in batcher.process_element(_record(0), ctx):
            ctx.now_ms += took
        ctx.timers.clear()
        assert list(batcher.process_element(_record(1, b""), ctx)) == []
        assert ctx.timers == {ctx.now_ms + linger}
        ctx.advance(ctx.now_ms + linger, batcher.on_timer)
