"""The Kafka source: records with their headers, partition and offset, and the table of RAW rows they become."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pyarrow as pa
from pyflink.datastream import DataStream
from pyflink.table import StreamTableEnvironment

from schemas.arrow import RAW
from schemas.kafka import KafkaAccess

# What a consumer asks of one partition at a time; a larger record still arrives, alone.
_FETCH_BYTES = 4 * 2**20

# How long what lies in a new partition waits for its first reader; the connector's default is 5 minutes.
_DISCOVERY = "10 s"

_TABLE = """
CREATE TEMPORARY TABLE {name} (
    {columns}
    body BYTES,
    headers MAP<STRING, BYTES> METADATA,
    `timestamp` TIMESTAMP_LTZ(3) METADATA,
    `partition` INT METADATA VIRTUAL,
    `offset` BIGINT METADATA VIRTUAL
) WITH (
    'connector' = 'kafka',
    'topic' = '{topic}',
    {options}
    'properties.group.id' = '{group}',
    'properties.isolation.level' = 'read_committed',
    'properties.max.partition.fetch.bytes' = '{fetch}',
    'scan.startup.mode' = 'earliest-offset',
    'scan.topic-partition-discovery.interval' = '{discovery}',
    {formats}
)
"""

# EXTRACT works on the session's time zone, which is UTC.
_QUERY = """
SELECT body, headers, EXTRACT(EPOCH FROM `timestamp`) * 1000 + EXTRACT(MILLISECOND FROM `timestamp`),
       CAST(`partition` AS BIGINT), `offset`{key}
FROM {name}
"""

_VALUE = {"columns": "", "key": "", "formats": "'format' = 'raw'"}
_KEY_AND_VALUE = {
    "columns": "k BYTES,",
    "key": ", k",
    "formats": "'key.format' = 'raw', 'key.fields' = 'k', "
    "'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY'",
}


class Record(NamedTuple):
    """One Kafka record as the source gives it."""

    body: bytes | None
    headers: Mapping[str, bytes | None] | None
    timestamp_ms: int
    partition: int
    offset: int


def group_of(job: str) -> str:
    """The consumer group of a job: for lag monitors only, the job goes by the offsets in its checkpoints."""
    return f"spanmill-{job}"


def kafka_records(
    tables: StreamTableEnvironment, brokers: str, topic: str, group: str, access: KafkaAccess, uid: str = "1"
) -> DataStream:
    """All records of `topic` from its beginning, also in partitions that it gets later, as rows in the order of Record.

    Offsets live in the checkpoint; each checkpoint commits them for `group` too. uid: what the uids of its operators
    begin with, one for each source of a job.
    """
    return _records(tables, brokers, topic, group, access, uid, _VALUE)


def keyed_records(
    tables: StreamTableEnvironment, brokers: str, topic: str, group: str, access: KafkaAccess, uid: str
) -> DataStream:
    """As kafka_records, and behind the fields of Record the record's key, bytes or None."""
    return _records(tables, brokers, topic, group, access, uid, _KEY_AND_VALUE)


def _records(
    tables: StreamTableEnvironment,
    brokers: str,
    topic: str,
    group: str,
    access: KafkaAccess,
    uid: str,
    form: Mapping[str, str],
) -> DataStream:
    tables.get_config().set("table.local-time-zone", "UTC")
    fix_uids(tables, uid)
    name = topic.replace(".", "_").replace("-", "_")
    table = _TABLE.format(
        name=name,
        topic=sql_text(topic),
        options=kafka_options(brokers, access),
        group=group,
        fetch=_FETCH_BYTES,
        discovery=_DISCOVERY,
        **form,
    )
    tables.execute_sql(table)
    return tables.to_data_stream(tables.sql_query(_QUERY.format(name=name, key=form["key"])))


def fix_uids(tables: StreamTableEnvironment, uid: str) -> None:
    """The uids of what is made of tables next begin with `uid`."""
    # So that the source's state is found again whatever comes after it.
    tables.get_config().set("table.exec.uid.generation", "ALWAYS")
    # Flink numbers the nodes of all graphs that a process builds; the uid must not depend on how many came before.
    tables.get_config().set("table.exec.uid.format", f"{uid}_<transformation>")


def kafka_options(brokers: str, access: KafkaAccess) -> str:
    """The options of a table that say where Kafka is and how to get in."""
    options = {"bootstrap.servers": brokers, **access.java()}
    return "\n    ".join(f"'properties.{key}' = '{sql_text(value)}'," for key, value in options.items())


def raw_table(topic: str, records: Iterable[Record]) -> pa.Table:
    """Schema RAW, a row per record. Without an `org` header, or with one that is no text, org is ''.

    A record without a `received_at` was received at its timestamp; only `redact` = 0 switches redaction off.
    """
    columns: dict[str, list] = {name: [] for name in RAW.names}
    for body, headers, timestamp_ms, partition, offset in records:
        texts = {key: _text(value) for key, value in (headers or {}).items()}
        columns["topic"].append(topic)
        columns["partition"].append(partition)
        columns["offset"].append(offset)
        for name in ("org", "team", "key_id"):
            columns[name].append(texts.get(name, ""))
        columns["signal"].append(texts.get("signal") or "traces")
        columns["redact"].append(texts.get("redact") != "0")
        columns["received_at"].append(_nanoseconds(texts.get("received_at", "")) or timestamp_ms * 10**6)
        columns["body"].append(body or b"")
    return pa.table(columns, schema=RAW)


def sql_text(text: str) -> str:
    return text.replace("'", "''")


def _nanoseconds(text: str) -> int | None:
    """None unless `text` is a decimal number within int64."""
    number = int(text) if text.isdecimal() and len(text) < 20 else None
    return number if number is not None and number < 2**63 else None


def _text(value: bytes | None) -> str:
    """Header values are UTF-8; another value says nothing."""
    try:
        return (value or b"").decode()
    except UnicodeDecodeError:
        return ""
