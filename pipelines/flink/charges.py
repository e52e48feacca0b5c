"""The feed of budgets: what the ledger says, once it is in the store, to the topic of the budget job.

A record has the events of one organisation, which is its key. At least once: an entry counts once whatever is repeated,
with the numbers of its greatest version. A sink of its own: one of a single topic may not name it in a column, as those
of kafka_sink.py do.
"""

from collections.abc import Iterator

from pyflink.common import Row, Types
from pyflink.datastream import DataStream, ProcessFunction, RuntimeContext
from pyflink.table import DataTypes, Schema, StreamTableEnvironment

from pipelines.flink.fold_operator import Element
from pipelines.flink.kafka_sink import PRODUCER
from pipelines.flink.settings import ObserveSettings
from pipelines.flink.ship import Shipped
from pipelines.flink.source import fix_uids, kafka_options, sql_text
from pipelines.flink.task import begin_task
from schemas.arrow import from_ipc, to_ipc
from schemas.budget_pb2 import Charges, Event, EventBatch
from transforms.billing.charges import charges

_OCTETS = Types.PRIMITIVE_ARRAY(Types.BYTE())
_RECORD = Types.ROW_NAMED(["k", "v"], [_OCTETS, _OCTETS])

_TABLE = """
CREATE TEMPORARY TABLE budget_log (k BYTES, v BYTES) WITH (
    'connector' = 'kafka',
    'topic' = '{topic}',
    {options}
    {producer}
    'key.format' = 'raw',
    'key.fields' = 'k',
    'value.format' = 'raw',
    'value.fields-include' = 'EXCEPT_KEY',
    'sink.delivery-guarantee' = 'at-least-once'
)
"""


class ChargeRecords(Shipped, ProcessFunction):
    """Element: ("usage", 0, Arrow IPC of USAGE). Emits (key, value) of Kafka records."""

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()

    def process_element(self, value: Element, ctx: ProcessFunction.Context) -> Iterator[Row]:
        for org, rows in charges(from_ipc(bytes(value[2]))):
            event = Event(org=org, charges=Charges(rows=to_ipc(rows)))
            yield Row(org.encode(), EventBatch(events=[event]).SerializeToString())


def feed_budgets(tables: StreamTableEnvironment, usage: DataStream, settings: ObserveSettings) -> None:
    """Adds the feed behind `usage` to the graph of `tables`."""
    records = usage.process(ChargeRecords(), output_type=_RECORD).name("charges").uid("charges").disable_chaining()
    fix_uids(tables, "charges")
    options = kafka_options(settings.brokers, settings.kafka)
    tables.execute_sql(_TABLE.format(topic=sql_text(settings.budget_topic), options=options, producer=PRODUCER))
    columns = Schema.new_builder().column("k", DataTypes.BYTES()).column("v", DataTypes.BYTES()).build()
    statements = tables.create_statement_set()
    statements.add_insert("budget_log", tables.from_data_stream(records, columns))
    statements.attach_as_datastream()
