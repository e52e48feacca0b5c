"""`spanmill explain`: how each number of one call came about."""

from typing import Annotated

import typer
from clickhouse_connect.driver.client import Client

from cli.client import Rows, connect, rows
from cli.exits import Failure
from cli.explanation import call, no_call
from cli.local.profile import find_running
from cli.options import DATA, Data, Output
from cli.output import Form, paper, show

_MINE = "({org:String} = '' OR org = {org:String})"
_FIND_CALL = f"""
SELECT DISTINCT org, call_id FROM usage
WHERE (startsWith(span_id, {{id:String}}) OR startsWith(call_id, {{id:String}})) AND {_MINE} LIMIT 9
"""
_FIND_SPAN = f"SELECT * FROM spans WHERE startsWith(span_id, {{id:String}}) AND {_MINE} LIMIT 2"
# Sights that were matched without a response id have call ids of their own: the reversal names the span that bills.
_EXPLAIN = """
WITH
    'duplicate.* of (?:span )?([0-9a-f]{16})' AS named,
    (
        SELECT (groupUniqArray(span_id), groupUniqArray(extract(reason, named)))
        FROM usage WHERE org = {org:String} AND call_id = {call:String}
    ) AS spans
SELECT * FROM usage_explained
WHERE org = {org:String} AND call_id IN (
    SELECT call_id FROM usage WHERE org = {org:String}
    AND (call_id = {call:String} OR has(spans.2, span_id) OR has(spans.1, extract(reason, named))))
ORDER BY trace_id, span_id, entry, version
"""


def register(commands: typer.Typer) -> None:
    commands.command("explain")(explain)


def explain(
    id_: Annotated[str, typer.Argument(metavar="SPAN_ID|CALL_ID", help="The id of a span or call, or how it begins.")],
    data: Data = DATA,
    org: Annotated[str, typer.Option(help="Only this organisation's.")] = "",
    output: Output = Form.table,
) -> None:
    """Show how the numbers of a call came about: what the span sent and where it was read, the rules that corrected it,
    the price and each multiplication, who else saw the call, every ledger entry and why.

    The same data is the view `usage_explained`: a row for each ledger entry.

    [bold]Examples[/]

      spanmill explain 00f067aa0ba902b7

      spanmill explain 00f067 -o json
    """
    client = connect(find_running(data))
    asked = {"id": id_.strip().lower(), "org": org}
    if not asked["id"]:
        raise Failure("no id was given", "spanmill sql 'SELECT span_id, name FROM spans LIMIT 10' lists some")
    found = rows(client, _FIND_CALL, asked).rows
    if not found:
        _explain_span(client, asked, output)
        return
    if len(found) > 1:
        listed = ", ".join(f"{one['call_id'][:12]} of {one['org']}" for one in found)
        raise Failure(f"several calls fit {id_}: {listed}", "give more of the id, or --org")
    entries = rows(client, _EXPLAIN, {"org": found[0]["org"], "call": found[0]["call_id"]})
    if output is Form.table:
        paper.print(call(entries.rows))
    else:
        show(entries.rows, entries.columns, output)


def _explain_span(client: Client, asked: dict[str, str], output: Form) -> None:
    found: Rows = rows(client, _FIND_SPAN, asked)
    if not found.rows:
        raise Failure(
            f"no span or call begins with {asked['id']}", "spanmill status shows whether all that was sent has come"
        )
    if len(found.rows) > 1:
        raise Failure(f"several spans begin with {asked['id']}", "give more of the id, or --org")
    if output is Form.table:
        paper.print(no_call(found.rows[0]))
    else:
        show(found.rows, found.columns, output)
