"""The `spanmill` command."""

import sys
from typing import Annotated

import typer

from cli.commands import (
    alerts,
    budgets,
    cluster,
    contexts,
    demo,
    doctor,
    explain,
    jobs,
    keys,
    metrics,
    migrate,
    orgs,
    prices,
    send,
    sql,
    status,
    trace,
    up,
)
from cli.contexts import chosen
from cli.exits import Failure
from cli.output import talk

commands = typer.Typer(
    name="spanmill",
    help="Stream processing for LLM observability and cost accounting.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for module in (demo, up, send, status, trace, explain, sql, migrate, doctor):
    module.register(commands)
commands.add_typer(cluster.commands, name="cluster")
commands.add_typer(jobs.commands, name="job")
commands.add_typer(contexts.commands, name="context")
commands.add_typer(orgs.commands, name="org")
commands.add_typer(keys.commands, name="key")
commands.add_typer(prices.commands, name="price")
commands.add_typer(metrics.commands, name="metrics")
commands.add_typer(alerts.commands, name="alert")
commands.add_typer(budgets.commands, name="budget")


@commands.callback()
def _choose(
    context: Annotated[
        str, typer.Option(envvar="SPANMILL_CONTEXT", help="Act on this cluster: spanmill context list.")
    ] = "",
) -> None:
    chosen.set(context)


def app() -> None:
    """Runs the command; a Failure becomes two lines on standard error and its exit code."""
    try:
        commands()
    except Failure as failure:
        talk.print(f"[bold red]error[/] {_escape(failure.what)}")
        if failure.hint:
            talk.print(f"[bold]try[/]   {_escape(failure.hint)}")
        sys.exit(failure.code)
    except KeyboardInterrupt:
        sys.exit(130)


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
