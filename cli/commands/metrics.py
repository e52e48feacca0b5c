"""`spanmill metrics`: count series anew from the ledger."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.client import connect, rows
from cli.local.profile import find_running
from cli.options import DATA, Data
from cli.output import say
from pipelines.recount import day_statement

commands = typer.Typer(help="One-minute series of calls, errors, tokens, cost and latency.", no_args_is_help=True)

_DAYS = "SELECT DISTINCT day FROM (SELECT day FROM usage_data UNION ALL SELECT day FROM spans_data) ORDER BY day"


@commands.command()
def rebuild(
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The first day (UTC) to count; all without it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which days would be counted.")] = False,
    data: Data = DATA,
) -> None:
    """Count the series of past days anew from `usage` and `spans`; the job counts the last hour itself.

    For a store that is older than its metrics, or to which a batch has added. It may be run again at any time.

    [bold]Examples[/]

      spanmill metrics rebuild

      spanmill metrics rebuild --since 2026-03-01 --dry-run
    """
    client = connect(find_running(data))
    days = [row["day"] for row in rows(client, _DAYS).rows]
    days = [day for day in days if since is None or day >= since.replace(tzinfo=UTC).date()]
    for day in days:
        if not dry_run:
            client.command(day_statement(day))
        say(f"{day} {'would be counted' if dry_run else 'counted'}")
    if not days:
        say("there is nothing to count")
