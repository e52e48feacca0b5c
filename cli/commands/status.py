"""`spanmill status`: what runs, lag, freshness, completeness."""

import time
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error

from cli.client import connect, rows
from cli.exits import Exit, Failure
from cli.kafka import brokers_of
from cli.local.process import process_rows
from cli.local.profile import Running, find_running
from cli.options import DATA, Data, Output
from cli.output import Form, paper, say, show
from schemas.vocabulary.flags import flags

_POLL_S = 0.5
_UNTRACED = """
SELECT (SELECT count() FROM spans_data FINAL) AS spans, (SELECT sum(span_count) FROM traces) AS traced
"""
# Spans that broke an invariant, by organisation, dialect and flag.
_BREACHES = """
SELECT org, dialect, flag, toInt64(count()) AS spans
FROM (SELECT org, dialect, arrayJoin(arrayConcat(flags, token_flags)) AS flag FROM spans_data FINAL)
WHERE has({flags:Array(String)}, flag) GROUP BY org, dialect, flag ORDER BY org, dialect, flag
"""
# The last word on a call that several traces saw comes two ticks of a second after its traces.
_SETTLE_S = 3.0


def register(commands: typer.Typer) -> None:
    commands.command("status")(status)


@dataclass(frozen=True)
class Progress:
    """How far the job is behind the log. Zero everywhere means that all that was acknowledged is queryable."""

    records: int  # acknowledged by the broker, not yet in the tables
    spans: int  # in `spans`, not yet in `traces`; looked at when no record is missing

    @property
    def caught_up(self) -> bool:
        return self.records == 0 and self.spans == 0

    def __str__(self) -> str:
        return f"{self.records:,} requests are not in the tables yet, {self.spans:,} spans not in a trace yet"


def progress(client: Client, running: Running) -> Progress:
    """Compares the log's end with the records and traces in the store."""
    ends = brokers_of(running.broker, running.kafka).end_offsets(running.topic)
    seen = rows(
        client,
        "SELECT partition, count() AS n FROM requests WHERE topic = {t:String} GROUP BY 1",
        {"t": running.topic},
    )
    done = {row["partition"]: row["n"] for row in seen.rows}
    missing = sum(max(0, end - done.get(partition, 0)) for partition, end in ends.items())
    if missing:
        return Progress(missing, 0)
    counts = rows(client, _UNTRACED)
    return Progress(missing, max(0, counts.rows[0]["spans"] - (counts.rows[0]["traced"] or 0)))


def wait_caught_up(running: Running, timeout: float) -> None:
    """Returns when all that was acknowledged is in the tables. Raises Failure (timed out) with what is missing."""
    deadline = time.monotonic() + timeout
    last, since = "the store did not answer", None
    while time.monotonic() < deadline:
        try:
            now = progress(connect(running), running)
            since = (since or time.monotonic()) if now.caught_up else None
            if since and time.monotonic() >= since + _SETTLE_S:
                return
            last = str(now)
        except (Failure, Error, OSError) as error:
            last, since = str(error), None
        time.sleep(_POLL_S)
    raise Failure(f"not caught up within {timeout:.0f} s: {last}", "see the logs in the data folder", Exit.TIMED_OUT)


def status(
    data: Data = DATA,
    until_caught_up: Annotated[bool, typer.Option(help="Wait until all that was acknowledged is queryable.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for that.")] = 60.0,
    output: Output = Form.table,
) -> None:
    """Show what runs, how far the job is behind the log, how fresh the tables are, and what came of every span.

    Per organisation: received = written + dead-lettered, and written = distinct + duplicates; and by dialect how many
    spans broke an invariant of the accounting.

    [bold]Examples[/]

      spanmill status

      spanmill status --until-caught-up --timeout 60 && run-my-checks
    """
    running = find_running(data)
    if until_caught_up:
        wait_caught_up(running, timeout)
    client = connect(running)
    now = progress(client, running)
    complete = rows(client, "SELECT * FROM completeness ORDER BY org")
    broken = breaches(client)
    if output is not Form.table:
        by_org = [{**row, "breaches": [one for one in broken if one["org"] == row["org"]]} for row in complete.rows]
        show(by_org, [*complete.columns, "breaches"], output)
        return
    show(process_rows(running.pids), ["process", "pid", "state", "memory_mb"], output, "processes")
    paper.print(f"budgets: {running.budget or 'no service'}   grpc {running.budget_grpc or 'none'}", markup=False)
    paper.print()
    show(complete.rows, complete.columns, output, "completeness (spans)")
    paper.print()
    if broken:
        show(broken, list(broken[0]), output, "broken invariants")
        paper.print()
    say("caught up: all that was acknowledged is queryable" if now.caught_up else str(now))


def breaches(client: Client) -> list[dict[str, Any]]:
    """How many spans broke which invariant: org, dialect, invariant, flag, spans."""
    rules = {flag: rule for rule, names in flags().invariants.items() for flag in names}
    found = rows(client, _BREACHES, {"flags": list(rules)}).rows
    return [
        {"org": row["org"], "dialect": row["dialect"], "invariant": rules[row["flag"]], "flag": row["flag"],
         "spans": row["spans"]}
        for row in found
    ]  # fmt: skip
