"""`spanmill send`: post OTLP files to a gateway."""

from pathlib import Path
from typing import Annotated

import httpx2
import typer
from rich.progress import Progress

from cli.local.profile import find_running
from cli.options import DATA, Data
from cli.otlp_files import post, read
from cli.output import say, talk


def register(commands: typer.Typer) -> None:
    commands.command("send")(send)


def send(
    files: Annotated[list[Path], typer.Argument(help="OTLP requests, protobuf (.binpb, .pb) or .json; or folders.")],
    key: Annotated[str, typer.Option(envvar="SPANMILL_KEY", help="An API key; none is needed on loopback.")] = "",
    gateway: Annotated[str, typer.Option(envvar="SPANMILL_GATEWAY", help="http://host:port of the gateway.")] = "",
    data: Data = DATA,
    dry_run: Annotated[bool, typer.Option(help="Say what would be sent, send nothing.")] = False,
) -> None:
    """Post OTLP requests from files to a gateway; a file with '.logs.' in its name is posted as logs.

    Sending a file again changes nothing: a span is known by its ids.

    [bold]Examples[/]

      spanmill send capture.binpb

      spanmill send captures/ --key $SPANMILL_KEY --gateway http://collector:4318
    """
    requests = list(read(files))
    if dry_run:
        for request in requests:
            say(f"would post {request.source} as {request.signal}, {len(request.body):,} bytes")
        return
    to = gateway or find_running(data).gateway
    rejected = 0
    with (
        httpx2.Client(timeout=60) as client,
        Progress(console=talk, transient=True, disable=not talk.is_terminal) as bar,
    ):
        for request in bar.track(requests, description="sending"):
            answer = post(client, to, request, key)
            rejected += answer.rejected
            if answer.message:
                say(f"{request.source}: {answer.rejected} rejected: {answer.message}")
    say(f"sent {len(requests)} requests, {sum(len(r.body) for r in requests):,} bytes, {rejected} items rejected")
