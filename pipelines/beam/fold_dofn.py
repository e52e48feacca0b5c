"""Runs a pure fold (transforms/folds/step.py) over bounded input in Beam: one key is one bucket.

Time stands still at `started` while rows come. When the input of a bucket has ended (an event-time timer at the
end of the window), the clock jumps from one `wake_at` to the next until the fold asks for no other.
"""

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import PickleCoder
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow

from schemas.arrow import from_ipc, to_ipc
from transforms.folds.step import Fold, State, Step, apply


class FoldDoFn(beam.DoFn):
    """Element: (bucket, rows as Arrow IPC). Output `<table>` holds that table's rows as Arrow IPC.

    `make_fold` runs once in each worker; it must be importable.
    """

    KEPT = ReadModifyWriteStateSpec("kept", PickleCoder())  # (segments, wake_at)
    END = TimerSpec("end", TimeDomain.WATERMARK)
    # Beam finds what a method wants by the defaults of its parameters.
    _KEPT: Any = beam.DoFn.StateParam(KEPT)
    _END: Any = beam.DoFn.TimerParam(END)

    def __init__(self, make_fold: Callable[[], Fold], started: int) -> None:
        self._make_fold = make_fold
        self._started = started

    def setup(self) -> None:
        self._fold = self._make_fold()

    def process(self, element: tuple[int, bytes], kept: Any = _KEPT, end: Any = _END) -> Iterator[TaggedOutput]:
        _bucket, rows = element
        segments, _wake_at = kept.read() or ({}, None)
        step = self._fold(segments, from_ipc(rows), self._started)
        kept.write((apply(segments, step.writes), step.wake_at))
        end.set(GlobalWindow().max_timestamp())
        yield from _tagged(step)

    @on_timer(END)
    def end(self, kept: Any = _KEPT) -> Iterator[TaggedOutput]:
        segments, wake_at = kept.read()
        kept.clear()
        for step in run_down(self._fold, segments, wake_at):
            yield from _tagged(step)


def run_down(fold: Fold, segments: State, wake_at: int | None) -> Iterator[Step]:
    """The steps of a fold that gets no further rows, each at the moment that the one before asked for."""
    while wake_at is not None:
        step = fold(segments, None, wake_at)
        segments, wake_at = apply(segments, step.writes), step.wake_at
        yield step


def _tagged(step: Step) -> Iterator[TaggedOutput]:
    bad: tuple[tuple[str, pa.Table], ...] = () if step.bad is None else (("dead_letters", step.bad),)
    for table, rows in step.out + bad:
        if rows.num_rows:
            yield TaggedOutput(table, to_ipc(rows))
