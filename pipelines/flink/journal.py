"""Rows on their way to the store through a topic: one step writes them there, another gathers and keeps them."""

from collections.abc import Iterator

import pyarrow as pa
from pyflink.datastream import ProcessFunction

from pipelines.flink.fold_operator import Element
from pipelines.flink.sink import StoreWriter, write
from pipelines.stateless import split_by_bucket
from pipelines.store import StoreSettings
from schemas.arrow import from_ipc, to_ipc
from transforms.metrics.fold import org_buckets

BALANCES = "budget_balances"
TABLES = ("budget_entries", BALANCES, "dead_letters")
_TABLE = b"table"  # key of the schema's metadata


def to_journal(table: str, rows: pa.Table) -> bytes:
    """`rows` of the store's `table` as the value of a record."""
    return to_ipc(rows.replace_schema_metadata({_TABLE: table.encode()}))


def from_journal(bodies: list[bytes]) -> list[tuple[str, pa.Table]]:
    """The rows in the values of records, those of one table together, in their order."""
    found: dict[str, list[pa.Table]] = {}
    for body in bodies:
        rows = from_ipc(body)
        table = rows.schema.metadata[_TABLE].decode()
        found.setdefault(table, []).append(rows.replace_schema_metadata())
    return [(table, pa.concat_tables(parts)) for table, parts in found.items()]


class JournalWriter(StoreWriter):
    """Element: Arrow IPC of RAW, whose bodies are `to_journal`'s. Emits the balances that are in the store now, by
    `buckets` buckets of their organisations."""

    def __init__(self, store: StoreSettings, buckets: int) -> None:
        super().__init__(store, TABLES)
        self._buckets = buckets

    def process_element(self, value: bytes, ctx: ProcessFunction.Context) -> Iterator[Element]:
        for table, rows in from_journal(from_ipc(bytes(value))["body"].to_pylist()):
            write(self._sink, table, to_ipc(rows))
            if table == BALANCES:
                for bucket, part in split_by_bucket(rows, org_buckets(rows, self._buckets)):
                    yield BALANCES, bucket, to_ipc(part)
