"""Folds the log of each organisation in a keyed operator, a record of the log at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from pipelines.flink.fold_operator import SEGMENTS, Segments
from pipelines.flink.journal import to_journal
from pipelines.flink.ship import Shipped
from pipelines.flink.source import Record
from pipelines.flink.task import begin_task
from schemas.arrow import BUDGET_LOG
from transforms.budgets.cloud_events import cloud_events
from transforms.budgets.fold import BudgetSettings, make_budget
from transforms.folds.step import Step


class Topics(NamedTuple):
    """Where the operator's messages go."""

    replies: str
    events: str
    journal: str


def org_of(row: Row) -> str:
    """The organisation whose record it is: its key."""
    return bytes(row[5] or b"").decode(errors="replace")


class BudgetOperator(Shipped, KeyedProcessFunction):
    """Element: a Record and its key as a row, keyed by its organisation. Emits MESSAGEs."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()
        self._fold = make_budget(BudgetSettings())
        self._segments = runtime_context.get_map_state(
            MapStateDescriptor(SEGMENTS, Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        )

    def process_element(self, value, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        record, org = Record(*value[:5]), org_of(value)
        columns = [[org], [record.partition], [record.offset], [record.timestamp_ms * 10**6], [record.body or b""]]
        # The fold goes by the time of the log alone.
        step = self._fold(Segments(self._segments), pa.table(columns, schema=BUDGET_LOG), 0)
        for name, segment in step.writes.items():
            if segment is None:
                self._segments.remove(name)
            else:
                self._segments.put(name, segment)
        yield from messages_of(step, org.encode(), self._topics)


def messages_of(step: Step, key: bytes, topics: Topics) -> Iterator[Row]:
    """What a call of the fold says, as MESSAGEs under `key`: replies first, somebody waits for them."""
    for table, rows in step.out:
        if table == "budget_replies":
            for body in rows["body"].to_pylist():
                yield Row(topics.replies, key, body, {})
        elif table == "budget_events":
            for headers, body in cloud_events(rows):
                yield Row(topics.events, key, body, headers)
        else:
            yield Row(topics.journal, key, to_journal(table, rows), {})
    if step.bad is not None:
        yield Row(topics.journal, key, to_journal("dead_letters", step.bad), {})
