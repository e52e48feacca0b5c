"""`spanmill sql`: ask the store."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from cli.client import connect, raw, rows
from cli.local.profile import find_running
from cli.options import DATA, Data
from cli.output import Form, show


class SqlForm(StrEnum):
    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


def register(commands: typer.Typer) -> None:
    commands.command("sql")(sql)


def sql(
    query: Annotated[str, typer.Argument(help="A query; '-' reads it from standard input.")],
    data: Data = DATA,
    output: Annotated[SqlForm, typer.Option("--output", "-o", help="The form of the result.")] = SqlForm.table,
) -> None:
    """Query the tables: spans, messages, traces, usage, dead_letters, requests, completeness.

    [bold]Examples[/]

      spanmill sql "SELECT model, sum(input_tokens), sum(cost_nano) / 1e9 FROM usage GROUP BY model"

      spanmill sql "SELECT * FROM spans" -o parquet > spans.parquet
    """
    text = sys.stdin.read() if query == "-" else query
    client = connect(find_running(data))
    if output is SqlForm.parquet:
        sys.stdout.buffer.write(raw(client, text, "Parquet"))
        return
    found = rows(client, text)
    show(found.rows, found.columns, Form(output.value))
