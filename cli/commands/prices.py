"""`spanmill price`: what models cost: the default book, and the contracts over it."""

from typing import Annotated

import typer

from cli.commands import price_changes
from cli.exits import Failure
from cli.options import DATA, Data, Output
from cli.output import Form
from cli.prices import tables
from cli.prices.running import at_time, contracts_if_running, known_entries, reasons, show_found, show_used
from schemas.price_book import compile_book
from transforms.prices.contracts import with_contracts

commands = typer.Typer(no_args_is_help=True, help="Prices: the default book, contracts, corrections.")
price_changes.register(commands)

At = Annotated[str, typer.Option(help="The time of the call, as 2026-01-31 or 2026-01-31T09:00:00Z; without it now.")]


@commands.command("list")
def list_(
    org: Annotated[str | None, typer.Option(help="Only the contracts of this organisation.")] = None,
    provider: Annotated[str, typer.Option(help="Only what this seller sells.")] = "",
    model: Annotated[str, typer.Option(help="Only models with this in their name.")] = "",
    at: At = "",
    data: Data = DATA,
    output: Output = Form.table,
) -> None:
    """List the prices in force: the default book with the contracts over it. Dollars per million tokens.

    Without a running instance it lists the default book alone.

    [bold]Examples[/]

      spanmill price list --provider anthropic --model sonnet

      spanmill price list --org acme -o json
    """
    moment = at_time(at)
    entries = contracts_if_running(data, needed=org is not None)
    rows = tables.in_force(with_contracts(compile_book(), entries), moment)
    found = [
        row
        for row in tables.show_rows(rows, reasons(entries))
        if (org is None or row["org"] == org)
        and (not provider or row["provider"] == provider.lower())
        and model.lower() in row["model"].lower()
    ]
    show_found(found, tables.PRICE_COLUMNS, output, provider)


@commands.command("show")
def show_(
    model: Annotated[str, typer.Argument(help="The model, by any name that a span may give it.")],
    provider: Annotated[str, typer.Option(help="Who was called, by any name that a span may give it.")] = "",
    org: Annotated[str, typer.Option(help="Who calls; without it anybody without a contract.")] = "",
    at: At = "",
    data: Data = DATA,
    output: Output = Form.table,
) -> None:
    """Show what a call costs: each price with its conditions, its dates, its id and where it comes from.

    [bold]Examples[/]

      spanmill price show gpt-4o --provider openai --at 2025-03-01

      spanmill price show claude-sonnet-4-5 --org acme
    """
    moment = at_time(at)
    entries = contracts_if_running(data, needed=bool(org))
    book = with_contracts(compile_book(), entries)
    rows = tables.prices_of(book, org, provider, model, moment)
    if rows is None or not rows.height:
        close = ", ".join(tables.like(book, model))
        hint = f"one of: {close}" if close else "spanmill price list; without --provider any seller is taken"
        raise Failure(f"no price is known for {model}{f' sold by {provider}' if provider else ''}", hint)
    show_used(list(tables.show_rows(rows, reasons(entries))), tables.PRICE_COLUMNS, output)


@commands.command()
def history(
    org: Annotated[str | None, typer.Option(help="Only the contracts of this organisation.")] = None,
    provider: Annotated[str, typer.Option(help="Only this seller's.")] = "",
    model: Annotated[str, typer.Option(help="Only models with this in their name.")] = "",
    data: Data = DATA,
    output: Output = Form.table,
) -> None:
    """Show every contract and correction that was ever recorded, when, by whom, why, and what of it is in force.

    [bold]Example[/]

      spanmill price history --org acme --model gpt-4o
    """
    entries = known_entries(data)
    found = [
        entry
        for entry in entries
        if (org is None or entry.contract.org == org)
        and (not provider or entry.contract.provider == provider.lower())
        and model.lower() in entry.contract.model.lower()
    ]
    show_found(list(tables.show_entries(found, entries)), tables.HISTORY_COLUMNS, output, provider)
