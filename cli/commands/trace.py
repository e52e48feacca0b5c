"""`spanmill trace`: one trace as a tree."""

from typing import Annotated

import typer

from cli.client import connect, rows
from cli.exits import Failure
from cli.local.profile import find_running
from cli.options import DATA, Data, Output
from cli.output import Form, paper, show
from cli.tree import trace_tree


def register(commands: typer.Typer) -> None:
    commands.command("trace")(trace)


def trace(
    trace_id: Annotated[str, typer.Argument(help="The trace's id, or how it begins.")],
    data: Data = DATA,
    org: Annotated[str, typer.Option(help="Only this organisation's.")] = "",
    output: Output = Form.table,
) -> None:
    """Show one trace as a tree: names, kinds, time bars, tokens, time to first token, cost.

    [bold]Examples[/]

      spanmill trace 5b8efff798038103d269b633813fc60c

      spanmill trace 5b8eff -o json
    """
    found = rows(
        connect(find_running(data)),
        "SELECT * FROM traces WHERE startsWith(trace_id, {id:String}) AND ({org:String} = '' OR org = {org:String})"
        " ORDER BY start_time DESC LIMIT 2",
        {"id": trace_id.lower(), "org": org},
    )
    if not found.rows:
        raise Failure(f"no trace begins with {trace_id}", "spanmill status shows whether all that was sent has come")
    if len(found.rows) > 1:
        raise Failure(f"several traces begin with {trace_id}", "give more of the id, or --org")
    if output is Form.table:
        paper.print(trace_tree(found.rows[0]))
    else:
        show(found.rows, found.columns, output)
