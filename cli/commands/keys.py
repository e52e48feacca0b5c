"""`spanmill key`: API keys."""

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from cli.control import control, utc
from cli.options import DATA, Data, Output
from cli.output import Form, say, show
from services.control.keys import Key, create_key, list_keys, revoke_key

commands = typer.Typer(no_args_is_help=True, help="API keys: shown once, stored hashed.")

_COLUMNS = ["key_id", "org", "team", "name", "prefix", "created_at", "revoked_at"]


@commands.command()
def create(
    org: Annotated[str, typer.Argument(help="The organisation that what is sent with it belongs to.")],
    team: Annotated[str, typer.Option(help="The team, where there are teams.")] = "",
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    data: Data = DATA,
    output: Output = Form.table,
    dry_run: Annotated[bool, typer.Option(help="Say what would be made, make nothing.")] = False,
) -> None:
    """Make an API key and show it, this one time.

    [bold]Examples[/]

      spanmill key create acme --team search --name ci

      spanmill key create acme -o json
    """
    if dry_run:
        say(f"would make a key for {org}{'/' + team if team else ''}")
        return
    with control(data) as engine:
        made, secret = create_key(engine, org, team, name, time.time_ns())
    show([_row(made) | {"key": secret}], ["key_id", "org", "team", "key"], output)
    say("keep it now: only its hash is stored, it cannot be shown again")


@commands.command("list")
def list_(
    org: Annotated[str | None, typer.Option(help="Only this organisation's.")] = None,
    data: Data = DATA,
    output: Output = Form.table,
) -> None:
    """List the keys, revoked ones too; never the keys themselves.

    [bold]Example[/]

      spanmill key list --org acme
    """
    with control(data) as engine:
        show([_row(key) for key in list_keys(engine, org)], _COLUMNS, output)


@commands.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, from spanmill key list.")],
    data: Data = DATA,
    dry_run: Annotated[bool, typer.Option(help="Say what would be revoked, revoke nothing.")] = False,
) -> None:
    """Revoke a key: within 5 seconds the gateway refuses it. Revoking it again changes nothing.

    [bold]Example[/]

      spanmill key revoke k3x9...
    """
    if dry_run:
        say(f"would revoke {key_id}")
        return
    with control(data) as engine:
        revoked = revoke_key(engine, key_id, time.time_ns())
    say(f"key {revoked.key_id} of {revoked.org} revoked at {utc(revoked.revoked_at)}")


def _row(key: Key) -> dict[str, Any]:
    return asdict(key) | {"created_at": utc(key.created_at), "revoked_at": utc(key.revoked_at)}
