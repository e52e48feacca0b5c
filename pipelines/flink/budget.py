"""The budget job: the log of each organisation folded into decisions, in the order that the log gives.

A decision goes back by Kafka as soon as the record is folded: nothing on its way waits for a buffer to fill, for a
checkpoint or for the store. Rows for the store therefore take a topic of their own and a pipelined region of their own:
while the store is away they wait in the log, and decisions go on.
"""

from pyflink.common import Types
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from pipelines.flink import batcher, budget_operator, fold_operator
from pipelines.flink.alerts import AlertGraph, with_alerts
from pipelines.flink.batcher import BATCH, Batcher
from pipelines.flink.budget_operator import BudgetOperator, Topics
from pipelines.flink.fold_operator import ELEMENT
from pipelines.flink.journal import BALANCES, JournalWriter
from pipelines.flink.kafka_sink import MESSAGE, to_kafka
from pipelines.flink.keys import MAX_PARALLELISM, spread_keys
from pipelines.flink.settings import BudgetSettings
from pipelines.flink.source import group_of, kafka_records, keyed_records
from transforms.alerts import series as alert_series
from transforms.budgets import blobs

# The keyed states by uid and name, with the version of what is written in them: what an upgrade must be able to read.
STATES = {
    "decide": {budget_operator.SEGMENTS: blobs.SCHEMA_VERSION},
    "gather": {batcher.RECORDS: batcher.SCHEMA_VERSION},
    "alerts": {fold_operator.SEGMENTS: alert_series.SCHEMA_VERSION},
}

ALERT_BUCKETS = 16  # of organisations; fixed for the life of the state


def build(env: StreamExecutionEnvironment, settings: BudgetSettings) -> None:
    """Adds the whole graph to `env`; the caller executes it."""
    env.set_parallelism(settings.parallelism)
    env.set_max_parallelism(MAX_PARALLELISM)
    env.set_buffer_timeout(0)
    tables = StreamTableEnvironment.create(env)
    _decide(tables, settings)
    _keep(tables, settings)


def _decide(tables: StreamTableEnvironment, settings: BudgetSettings) -> None:
    log = keyed_records(tables, settings.brokers, settings.topic, group_of("budget"), settings.kafka, uid="log")
    # Row(body=b"\n\xa4...", headers={}, 1767225600000, 2, 41, k=b"acme")
    topics = Topics(settings.replies_topic, settings.events_topic, settings.journal_topic)
    by_org = log.key_by(budget_operator.org_of, key_type=Types.STRING())
    messages = _named(by_org.process(BudgetOperator(topics), output_type=MESSAGE), "decide")
    # Row("budget.replies", b"acme", b"\n\x09...", {}), Row("budget.journal", b"acme", Arrow IPC, {}), ...
    to_kafka(tables, messages, settings.brokers, topics, settings.kafka, "decisions")


def _keep(tables: StreamTableEnvironment, settings: BudgetSettings) -> None:
    """Balances and entries from the journal to the store."""
    topic, group = settings.journal_topic, group_of("budget")
    records = kafka_records(tables, settings.brokers, topic, group, settings.kafka, uid="journal")
    lanes = spread_keys(settings.parallelism)
    laned = records.key_by(lambda row: lanes[row[3] % len(lanes)], key_type=Types.LONG())
    gathered = _named(
        laned.process(Batcher(topic, settings.batch_bytes, settings.linger_ms), output_type=BATCH), "gather"
    )
    # Arrow IPC of RAW, each body the rows of one table
    kept = _named(gathered.process(JournalWriter(settings.store, ALERT_BUCKETS), output_type=ELEMENT), "keep")
    # ("budget_balances", 2, Arrow IPC of those BUDGET_BALANCES whose organisation belongs to bucket 2)
    if settings.alert_topic:
        places = (settings.brokers, settings.kafka, settings.store, BALANCES, ALERT_BUCKETS)
        with_alerts(kept.disable_chaining(), AlertGraph(*places, budgets=True, topic=settings.alert_topic))


def _named(stream: DataStream, name: str) -> DataStream:
    """The uid is the key of the operator's state in a checkpoint: it never changes."""
    return stream.name(name).uid(name)
