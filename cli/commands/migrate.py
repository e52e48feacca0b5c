"""`spanmill migrate`: the schema of the store and of the control database."""

import time
from typing import Annotated, Any

import typer

from cli.client import connect
from cli.control import control
from cli.exits import Exit, Failure
from cli.local.profile import find_running
from cli.options import DATA, Data, Output
from cli.output import Form, paper, say, show
from pipelines.migrate import migrate as migrate_store
from pipelines.migrate import plan, sql
from pipelines.migrate import status as store_status
from schemas.migrations import CLICKHOUSE, MigrationError, load
from services.control.migrate import status as control_status


def register(commands: typer.Typer) -> None:
    commands.command("migrate")(migrate)


def migrate(
    data: Data = DATA,
    status: Annotated[bool, typer.Option("--status", help="Only show what was applied.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Print the SQL that would run, run nothing.")] = False,
    output: Output = Form.table,
) -> None:
    """Bring the schema of a running store up to date; done already, it changes nothing. spanmill up does it too.

    [bold]Examples[/]

      spanmill migrate --status

      spanmill migrate --dry-run
    """
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
    with control(data) as engine:
        rows += [{"schema": "control", "migration": m.name, "state": str(m.state)} for m in control_status(engine)]
    show(rows, ["schema", "migration", "state"], output)
