"""Gathers Kafka records into Arrow batches before anything decodes them."""

from collections.abc import Iterator

from pyflink.common import Types

from pipelines.flink.gather import Gather
from pipelines.flink.source import Record, raw_table
from schemas.arrow import to_ipc
from transforms.folds.segments import UnknownSchemaVersion

BATCH = Types.PRIMITIVE_ARRAY(Types.BYTE())  # Arrow IPC, schema RAW
RECORDS = "records"
SCHEMA_VERSION = 1  # of a record in state: (version, *Record)


class Batcher(Gather):
    """Element: a Record as a row. Emits BATCH."""

    state = RECORDS

    def __init__(self, topic: str, batch_bytes: int, linger_ms: int) -> None:
        super().__init__(batch_bytes, linger_ms)
        self._topic = topic

    def kept(self, value) -> tuple[tuple, int]:
        record = Record(*value)
        return (SCHEMA_VERSION, *record), len(record.body or b"")

    def sent(self, batch: list[tuple]) -> Iterator[bytes]:
        yield to_ipc(raw_table(self._topic, [_read(kept) for kept in batch]))


def _read(stored: tuple) -> Record:
    """A record from state. Raises UnknownSchemaVersion."""
    version, *fields = stored if len(stored) > len(Record._fields) else (SCHEMA_VERSION, *stored)
    if version != SCHEMA_VERSION:
        raise UnknownSchemaVersion(f"state has schema version {version}, this code reads {SCHEMA_VERSION}")
    return Record(*fields)
