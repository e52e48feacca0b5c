"""The feed of budgets: what the ledger says, once it is in the store, to the topic of the budget job.

A record has the events of one organisation, which is its key. At least once: an entry counts once whatever is repeated,
with the numbers of its greatest version.
"""

from collections.abc import Iterator

from pyflink.common import Row
from pyflink.datastream import DataStream, ProcessFunction, RuntimeContext
from pyflink.table import StreamTableEnvironment

from pipelines.flink.fold_operator import Element
from pipelines.flink.kafka_sink import MESSAGE, to_kafka
from pipelines.flink.settings import ObserveSettings
from pipelines.flink.ship import Shipped
from pipelines.flink.task import begin_task
from schemas.arrow import from_ipc, to_ipc
from schemas.budget_pb2 import Charges, Event, EventBatch
from transforms.charges import charges


class ChargeRecords(Shipped, ProcessFunction):
    """Element: ("usage", 0, Arrow IPC of USAGE). Emits MESSAGE."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()

    def process_element(self, value: Element, ctx: ProcessFunction.Context) -> Iterator[Row]:
        for org, rows in charges(from_ipc(bytes(value[2]))):
            event = Event(org=org, charges=Charges(rows=to_ipc(rows)))
            yield Row(self._topic, org.encode(), EventBatch(events=[event]).SerializeToString(), {})


def feed_budgets(tables: StreamTableEnvironment, usage: DataStream, settings: ObserveSettings) -> None:
    """Adds the feed behind `usage` to the graph of `tables`."""
    topic = settings.budget_topic
    messages = usage.process(ChargeRecords(topic), output_type=MESSAGE).name("charges").uid("charges")
    to_kafka(tables, messages.disable_chaining(), settings.brokers, [topic], settings.kafka, "charges")
