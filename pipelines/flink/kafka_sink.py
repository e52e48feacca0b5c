"""A Kafka sink with topic, key, value and headers: on this Flink only the Table connector writes them from Python.

One sink for several topics, so that a step that has more than one needs no side outputs, each of which PyFlink would
give a Python operator and a thread of its own.

Delivery is at least once: what is written is derived from a log, and whoever reads it expects repetitions. The producer
does not wait for more to come; each checkpoint waits until all is confirmed.
"""

from collections.abc import Sequence

from pyflink.common import Types
from pyflink.datastream import DataStream
from pyflink.table import DataTypes, Schema, StreamTableEnvironment

from pipelines.flink.source import fix_uids, kafka_options, sql_text
from schemas.kafka import KafkaAccess
from schemas.topics import MAX_RECORD_BYTES

_BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())

# Row(topic, key, value, {header: value}).
MESSAGE = Types.ROW_NAMED(
    ["topic", "k", "v", "headers"], [Types.STRING(), _BYTES, _BYTES, Types.MAP(Types.STRING(), _BYTES)]
)

# What every producer of a table needs: a record may be as large as the topics take it, and must fit into the buffer.
PRODUCER = f"""'properties.acks' = 'all',
    'properties.max.request.size' = '{MAX_RECORD_BYTES}',
    'properties.buffer.memory' = '{2 * MAX_RECORD_BYTES}',"""

_TABLE = """
CREATE TEMPORARY TABLE {name} (
    topic STRING NOT NULL METADATA,
    k BYTES,
    v BYTES,
    headers MAP<STRING, BYTES> METADATA
) WITH (
    'connector' = 'kafka',
    'topic' = '{topics}',
    {options}
    {producer}
    'properties.linger.ms' = '0',
    'key.format' = 'raw',
    'key.fields' = 'k',
    'value.format' = 'raw',
    'value.fields-include' = 'EXCEPT_KEY',
    'sink.delivery-guarantee' = 'at-least-once'
)
"""


def to_kafka(
    tables: StreamTableEnvironment,
    messages: DataStream,
    brokers: str,
    topics: Sequence[str],
    access: KafkaAccess,
    name: str,
) -> None:
    """Writes a stream of MESSAGE to the topics that they name, which must be among `topics`, two at least.

    name: of the sink in this job, the beginning of its uids.
    """
    fix_uids(tables, name)
    listed = ";".join(sql_text(topic) for topic in topics)
    options = kafka_options(brokers, access)
    tables.execute_sql(_TABLE.format(name=name, topics=listed, options=options, producer=PRODUCER))
    statements = tables.create_statement_set()
    statements.add_insert(name, tables.from_data_stream(messages, _schema()))
    statements.attach_as_datastream()


def _schema() -> Schema:
    """Made when asked for: it would start a Java process at import."""
    made = Schema.new_builder().column("topic", DataTypes.STRING().not_null())
    made = made.column("k", DataTypes.BYTES()).column("v", DataTypes.BYTES())
    return made.column("headers", DataTypes.MAP(DataTypes.STRING(), DataTypes.BYTES())).build()
