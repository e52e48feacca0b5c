"""`spanmill up`: the embedded profile in the foreground."""

from typing import Annotated

import typer

from cli.local.embedded import Embedded
from cli.local.foreground import run
from cli.local.profile import Profile, Running
from cli.options import DATA, Data
from cli.output import paper, say


def register(commands: typer.Typer) -> None:
    commands.command("up")(up)


def up(
    data: Data = DATA,
    host: Annotated[
        str, typer.Option(help="Where the gateway listens; off loopback every request needs a key.")
    ] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(help="OTLP/HTTP; 0 takes a free port.")] = 4318,
    grpc_port: Annotated[int, typer.Option(help="OTLP/gRPC; 0 takes a free port.")] = 4317,
    sql_port: Annotated[int, typer.Option(help="ClickHouse HTTP protocol, on loopback; 0 takes a free port.")] = 8123,
    budget_grpc_port: Annotated[int, typer.Option(help="Budgets over gRPC; 0 takes a free port.")] = 4319,
    budget_http_port: Annotated[int, typer.Option(help="Budgets as JSON over HTTP; 0 takes a free port.")] = 4320,
    budgets: Annotated[
        bool,
        typer.Option("--budgets/--no-budgets", help="Without them: 1 GB less memory; what is spent waits in the log."),
    ] = True,
    quiet_gap: Annotated[float, typer.Option(help="Seconds without a new span after which a trace is shown.")] = 5.0,
    horizon: Annotated[float, typer.Option(help="Seconds without a new span after which a trace is final.")] = 600.0,
) -> None:
    """Run everything on this machine until Ctrl-C: broker, gateway, budget service, Flink jobs, ClickHouse engine.

    Started again on the same data folder it goes on where it stopped.

    [bold]Examples[/]

      spanmill up

      spanmill up --data /var/lib/spanmill --http-port 14318
    """
    profile = Profile(
        data, host, http_port, grpc_port, sql_port, quiet_gap, horizon, budget_grpc_port, budget_http_port, budgets
    )
    run(
        Embedded(profile, say),
        lambda running: paper.print(banner(running, profile), markup=False),
        "stopping; what was acknowledged is kept",
    )


def banner(running: Running, profile: Profile) -> str:
    """How to send to it, how to query it, what to type next."""
    keys = "no key needed on loopback" if profile.host == "127.0.0.1" else "key needed: spanmill key create"
    return f"""
spanmill   embedded   data {profile.data}   stop Ctrl-C
OTLP   {running.gateway}   grpc {running.grpc}   {keys}
budget {running.budget or "none"}   grpc {running.budget_grpc or "none"}
SQL    {running.store}   (ClickHouse HTTP protocol, database spanmill)

send   export OTEL_EXPORTER_OTLP_ENDPOINT={running.gateway}   then run your app, or: spanmill send FILE
look   spanmill status
       spanmill sql "SELECT model, sum(cost_nano) / 1e9 AS dollars FROM usage GROUP BY model"
       spanmill trace TRACE_ID
"""
