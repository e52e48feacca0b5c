"""`spanmill migrate`: the schema of the store and of the control database."""

import os
import time
from typing import Annotated, Any

import typer
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from cli.client import connect
from cli.control import ELSEWHERE, control, opened
from cli.exits import Exit, Failure
from cli.local.profile import find_running
from cli.options import DATA, Data, Output
from cli.output import Form, paper, say, show
from pipelines.migrate import migrate as migrate_store
from pipelines.migrate import plan, sql
from pipelines.migrate import status as store_status
from pipelines.store import StoreSettings, connect_creating
from pipelines.store import connect as connect_store
from schemas.migrations import CLICKHOUSE, MigrationError, load
from services.control.migrate import status as control_status


def register(commands: typer.Typer) -> None:
    commands.command("migrate")(migrate)


def migrate(
    data: Data = DATA,
    status: Annotated[bool, typer.Option("--status", help="Only show what was applied.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Print the SQL that would run, run nothing.")] = False,
    store_url: Annotated[
        str,
        typer.Option(envvar="SPANMILL_STORE_URL", help="A store elsewhere; its password: SPANMILL_STORE_PASSWORD."),
    ] = "",
    store_user: Annotated[str, typer.Option(envvar="SPANMILL_STORE_USER", help="Whom it knows.")] = "default",
    control_url: Annotated[
        str,
        typer.Option(envvar=ELSEWHERE, help="A control database elsewhere, postgresql+psycopg://…"),
    ] = "",
    output: Output = Form.table,
) -> None:
    """Bring the schema of a running store up to date; done already, it changes nothing. spanmill up does it too.

    [bold]Examples[/]

      spanmill migrate --status

      spanmill migrate --dry-run

      spanmill migrate --store-url http://clickhouse:8123 --control-url postgresql+psycopg://spanmill@postgres/spanmill
    """
    if store_url:
        client = _elsewhere(store_url, store_user, create=not (status or dry_run))
    else:
        client = connect(find_running(data))
    try:
        if dry_run:
            paper.print(sql(plan(client, CLICKHOUSE)), markup=False)
            return
        if not status:
            applied = migrate_store(client, CLICKHOUSE, time.time_ns())
            say(f"store: {len(applied)} migrations applied")
    except MigrationError as error:
        raise Failure(str(error), "restore the file as it was, and write a new one", Exit.REFUSED) from error
    done = {row.number: row.status for row in store_status(client)}
    rows: list[dict[str, Any]] = [
        {"schema": "store", "migration": f"{m.number:04}_{m.name}", "state": done.get(m.number, "pending")}
        for m in load(CLICKHOUSE)
    ]
    with opened(control_url) if control_url else control(data) as engine:
        rows += [{"schema": "control", "migration": m.name, "state": str(m.state)} for m in control_status(engine)]
    show(rows, ["schema", "migration", "state"], output)


def _elsewhere(url: str, user: str, create: bool) -> Client:
    """A client of the store at a URL; create: makes its database when there is none. Raises Failure."""
    settings = StoreSettings(url, user, os.environ.get("SPANMILL_STORE_PASSWORD", ""))
    try:
        return (connect_creating if create else connect_store)(settings)
    except OperationalError as error:
        raise Failure(f"the store at {url} does not answer", code=Exit.CANNOT_CONNECT) from error
    except DatabaseError as error:
        raise Failure(f"the store at {url} refuses: {error}") from error
