"""`spanmill org`: organisations."""

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from cli.control import control, utc
from cli.options import DATA, Data, Output
from cli.output import Form, say, show
from services.control.organisations import Organisation, create_org, list_orgs, set_redact

commands = typer.Typer(no_args_is_help=True, help="Organisations: whom data and costs belong to.")

_COLUMNS = ["org", "name", "redact", "created_at"]

Org = Annotated[str, typer.Argument(help="Its id: 1 to 63 of a-z, 0-9, '.', '_', '-'.")]


@commands.command()
def create(
    org: Org,
    name: Annotated[str, typer.Option(help="Its name for people.")] = "",
    redact: Annotated[bool, typer.Option(help="Take secrets and personal data out of what it sends.")] = True,
    data: Data = DATA,
    dry_run: Annotated[bool, typer.Option(help="Say what would be created, create nothing.")] = False,
) -> None:
    """Create an organisation; creating the same one again changes nothing.

    [bold]Examples[/]

      spanmill org create acme --name "Acme Inc."

      spanmill org create lab --no-redact
    """
    if dry_run:
        say(f"would create the organisation {org}, redaction {'on' if redact else 'off'}")
        return
    with control(data) as engine:
        made = create_org(engine, org, name, redact, time.time_ns())
    say(f"organisation {made.org}; next: spanmill key create {made.org}")


@commands.command("list")
def list_(data: Data = DATA, output: Output = Form.table) -> None:
    """List the organisations.

    [bold]Example[/]

      spanmill org list -o json
    """
    with control(data) as engine:
        show([_row(org) for org in list_orgs(engine)], _COLUMNS, output)


@commands.command()
def redact(
    org: Org,
    on: Annotated[bool, typer.Option("--on/--off", help="Whether what it sends is redacted.")] = True,
    data: Data = DATA,
) -> None:
    """Switch the redaction of an organisation; it holds for what is received from now on.

    [bold]Example[/]

      spanmill org redact acme --off
    """
    with control(data) as engine:
        changed = set_redact(engine, org, on)
    say(f"organisation {changed.org}: redaction {'on' if changed.redact else 'off'}")


def _row(org: Organisation) -> dict[str, Any]:
    return asdict(org) | {"created_at": utc(org.created_at)}
