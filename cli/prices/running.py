"""Contracts of a running instance, as the price commands read and show them."""

import time
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from cli.client import connect
from cli.exits import Exit, Failure
from cli.local.profile import find_running
from cli.output import Form, say, show
from cli.prices import tables
from cli.prices.statements import read_time
from pipelines.price_store import read_entries
from schemas.price_book import compile_book
from schemas.prices.contracts import Entry


def known_entries(data: Path) -> list[Entry]:
    """All contracts that were recorded. Raises Failure when nothing runs or the store refuses."""
    return entries_of(connect(find_running(data)))


def entries_of(client: Client) -> list[Entry]:
    try:
        return read_entries(client)
    except DatabaseError as error:
        raise Failure(f"the contracts cannot be read: {str(error).splitlines()[0]}", "spanmill migrate") from error


def contracts_if_running(data: Path, needed: bool) -> list[Entry]:
    """Like `known_entries`; none, and a remark, when nothing runs and they are not `needed`."""
    try:
        return known_entries(data)
    except Failure as failure:
        if needed or failure.code is not Exit.CANNOT_CONNECT:
            raise
        say(f"{failure.what}: this is the default book, without contracts")
        return []


def reasons(entries: Iterable[Entry]) -> dict[str, str]:
    """Why each price of a contract was recorded, by price id."""
    return {entry.price_id(band.above): entry.reason for entry in entries for band in entry.contract.bands}


def at_time(text: str) -> int:
    """UTC ns of an option `--at`; now if it is empty. Raises Failure."""
    try:
        return read_time(text) if text else time.time_ns()
    except ValueError as error:
        raise Failure(f"--at: {error}", code=Exit.USAGE) from error


def show_found(rows: Sequence[tables.Shown], columns: Sequence[str], form: Form, provider: str) -> None:
    """Like show_used, and if nothing was found a remark, with the seller of the book that `provider` may mean."""
    show_used(rows, columns, form)
    if not rows:
        meant = get_close_matches(provider.lower(), compile_book().providers, n=1)
        say(f"nothing fits{f'; is the provider {meant[0]} meant?' if meant and meant[0] != provider.lower() else ''}")


def show_used(rows: Sequence[tables.Shown], columns: Sequence[str], form: Form) -> None:
    """Prints `rows`: to people only the columns that say something, to programs all."""
    show(rows, tables.used(rows, columns) if form is Form.table else columns, form)
