"""What the commands ask of a running instance: SQL of its store, records of its broker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from cli.exits import Exit, Failure
from cli.local.profile import Running
from pipelines.store import connect as connect_store


def connect(running: Running) -> Client:
    """A client of the store of a running instance. Raises Failure when it does not answer."""
    try:
        return connect_store(running.require("store").store_settings)
    except OperationalError as error:
        raise Failure(f"the store at {running.store} does not answer", "spanmill up", Exit.CANNOT_CONNECT) from error


@dataclass(frozen=True)
class Rows:
    """The answer to a query: column names in order, and a mapping per row."""

    columns: Sequence[str]
    rows: list[dict[str, Any]]


def rows(client: Client, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
    """The rows of a query by column name. Raises Failure with the engine's message."""
    try:
        result = client.query(sql, parameters=dict(parameters or {}))
    except DatabaseError as error:
        raise Failure(_first_line(str(error))) from error
    return Rows(result.column_names, list(result.named_results()))


def raw(client: Client, sql: str, fmt: str) -> bytes:
    """The answer in one of the engine's own formats. Raises Failure with the engine's message."""
    try:
        return client.raw_query(sql, fmt=fmt)
    except DatabaseError as error:
        raise Failure(_first_line(str(error))) from error


def _first_line(message: str) -> str:
    lines = [line for line in message.splitlines() if "DB::Exception" in line] or message.splitlines()
    return lines[0].strip() if lines else "the query failed"
