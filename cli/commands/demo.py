"""`spanmill demo`: the whole product over sample traffic, then gone."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from cli.client import connect, rows
from cli.commands.status import wait_caught_up
from cli.local.embedded import Embedded
from cli.local.profile import Profile, Running
from cli.otlp_files import post, read
from cli.output import Form, dollars, paper, say, seconds, show
from cli.tree import trace_tree

SAMPLES = Path(__file__).parent.parent / "samples"

_RECENT = """
SELECT trace_id, root_name, services[1] AS service, start_time, duration_ns, span_count, call_count,
       input_tokens, output_tokens, ttft_ns, cost_nano, cost_status
FROM traces ORDER BY start_time DESC LIMIT 12
"""
_BY_MODEL = """
SELECT provider, model, countIf(entry = 'charge') - countIf(entry = 'reversal') AS calls,
       sum(input_tokens) AS input_tokens, sum(cache_read_tokens) AS cache_read, sum(output_tokens) AS output_tokens,
       sum(reasoning_tokens) AS reasoning, sum(cost_nano) AS cost_nano
FROM usage GROUP BY provider, model HAVING calls > 0 ORDER BY cost_nano DESC
"""
# The trace that shows most: several calls under one root, streamed if possible.
_BEST = "SELECT * FROM traces ORDER BY call_count DESC, (ttft_ns IS NOT NULL) DESC, span_count DESC, trace_id LIMIT 1"


def register(commands: typer.Typer) -> None:
    commands.command("demo")(demo)


def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Keep the data in this folder, to look at with spanmill up.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait until all is in the tables.")] = 120.0,
) -> None:
    """Run the whole product on this machine over the traffic of 24 libraries, print what it saw, and stop.

    [bold]Examples[/]

      spanmill demo

      spanmill demo --keep demo-data && spanmill up --data demo-data
    """
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spanmill-")))
        profile = Profile(
            folder.resolve(), http_port=0, grpc_port=0, sql_port=0, quiet_gap_s=1.0, budgets=False
        )  # fmt: skip
        say("starting a Kafka broker, the ClickHouse engine, the gateway and the Flink job")
        supervisor = Embedded(profile, lambda text: say(f"  {text}"))
        running = supervisor.start()
        stack.callback(supervisor.stop)
        requests = list(read([SAMPLES]))
        say(f"posting {len(requests)} exports of {len(_libraries())} libraries to {running.gateway}")
        with httpx2.Client(timeout=30) as client:
            for request in requests:
                post(client, running.gateway, request, key="")
        wait_caught_up(running, timeout)
        _print(running)


def _libraries() -> list[str]:
    return [folder.name for folder in SAMPLES.iterdir() if folder.is_dir()]


def _print(running: Running) -> None:
    client = connect(running)
    recent = rows(client, _RECENT).rows
    shown = [
        {
            "trace": row["trace_id"][:12],
            "root": row["root_name"] or "(root has not come)",
            "service": row["service"],
            "duration": seconds(row["duration_ns"]),
            "spans": row["span_count"],
            "calls": row["call_count"],
            "in": row["input_tokens"],
            "out": row["output_tokens"],
            "ttft": seconds(row["ttft_ns"]),
            "cost": dollars(row["cost_nano"]) if row["cost_status"] in ("priced", "partly") else row["cost_status"],
        }
        for row in recent
    ]
    show(shown, list(shown[0]), Form.table, "recent traces")
    paper.print()
    paper.print(trace_tree(rows(client, _BEST).rows[0]))
    paper.print()
    models = [row | {"cost": dollars(row.pop("cost_nano"))} for row in rows(client, _BY_MODEL).rows]
    show(models, list(models[0]), Form.table, "cost and tokens by model")
