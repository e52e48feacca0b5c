"""`spanmill price set|import`: records contracts and corrections."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from clickhouse_connect.driver.exceptions import DatabaseError

from cli.client import connect
from cli.control import control
from cli.exits import Exit, Failure
from cli.local.profile import find_running
from cli.options import DATA, Data, Output
from cli.output import Form, say
from cli.prices import tables
from cli.prices.lines import FileRefused, Line, read_lines
from cli.prices.running import entries_of, show_used
from cli.prices.statements import read_statements
from pipelines.price_store import append_entries
from schemas.price_book import compile_book
from schemas.prices.contracts import FIELDS, Contract, record
from services.control.organisations import list_orgs

Reason = Annotated[str, typer.Option(help="Why; it is kept in the history.")]
Actor = Annotated[str, typer.Option(envvar=["SPANMILL_ACTOR", "USER"], help="Who; it is kept in the history.")]
New = Annotated[bool, typer.Option("--new", help="Take a provider or model that the price book does not know.")]
DryRun = Annotated[bool, typer.Option(help="Check and show what would be recorded, record nothing.")]


def register(commands: typer.Typer) -> None:
    commands.command("set")(set_)
    commands.command("import")(import_)


def _dollars(field: str) -> Any:
    named = field.replace("_", " ")
    per = f"million {named} tokens" if FIELDS[field][1] > 1 else named
    return typer.Option(f"--{field.replace('_', '-')}", metavar="DOLLARS", help=f"Dollars per {per}, exact.")


def set_(
    ctx: typer.Context,
    provider: Annotated[str, typer.Option(help="The seller, as the price book names it.")],
    model: Annotated[str, typer.Option(help="The model, as the price book names it.")],
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="For calls from this date or time on.")],
    reason: Reason,
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="And before this; without it no end.")] = "",
    org: Annotated[str, typer.Option(help="Whose contract; without it everybody's: a correction of the book.")] = "",
    context: Annotated[str, typer.Option(help="For calls made like this only, as processing=batch.")] = "",
    input: Annotated[str, _dollars("input")] = "",
    output: Annotated[str, _dollars("output")] = "",
    cache_read: Annotated[str, _dollars("cache_read")] = "",
    cache_write: Annotated[str, _dollars("cache_write")] = "",
    cache_write_1h: Annotated[str, _dollars("cache_write_1h")] = "",
    reasoning: Annotated[str, _dollars("reasoning")] = "",
    audio_input: Annotated[str, _dollars("audio_input")] = "",
    audio_output: Annotated[str, _dollars("audio_output")] = "",
    audio_cache_read: Annotated[str, _dollars("audio_cache_read")] = "",
    image_input: Annotated[str, _dollars("image_input")] = "",
    image_output: Annotated[str, _dollars("image_output")] = "",
    web_search: Annotated[str, _dollars("web_search")] = "",
    request: Annotated[str, _dollars("request")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="State no price: what lies below holds again.")] = False,
    new: New = False,
    actor: Actor = "",
    data: Data = DATA,
    form: Annotated[Form, typer.Option("-o", help="The form of the data on standard output.")] = Form.table,
    dry_run: DryRun = False,
) -> None:
    """Record a contract, or a correction of one: of two about the same time the one recorded last holds.

    When it returns, whatever is received is priced by it; what was priced before keeps its price until it is repriced.

    [bold]Examples[/]

      spanmill price set --org acme --provider openai --model gpt-4o --input 2.00 --output 8 --cache-read 1.00
      --from 2026-01-01 --to 2027-01-01 --reason "contract 4711"

      spanmill price set --org acme --provider openai --model gpt-4o --from 2026-06-01 --withdraw --reason "ended early"
    """
    named = {"from": since, "to": until, "withdraw": "true" if withdraw else ""}
    named |= {field: ctx.params[field] for field in ("org", "provider", "model", "context", *FIELDS)}
    line = Line("", {field: text for field, text in named.items() if text}, {})
    try:
        _record([line], new, reason, actor, data, form, dry_run)
    except FileRefused as error:
        raise Failure(str(error), "spanmill price set --help", Exit.USAGE) from error


def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Prices: .toml, .yaml or .csv.")],
    reason: Reason,
    new: New = False,
    actor: Actor = "",
    data: Data = DATA,
    output: Output = Form.table,
    dry_run: DryRun = False,
) -> None:
    """Record all contracts of a file, or none: it is checked as a whole first. What holds already is left alone.

    The fields are those of spanmill price set, with `_` for `-`: provider, model, from, to, org, context, input,
    output, cache_read ...; `above` gives prices for inputs longer than so many tokens, in a line of their own. A .csv
    names them in its first line, a .toml has a table \\[\\[price]] for each price, a .yaml a list of them.

    [bold]Examples[/]

      spanmill price import contracts.toml --reason "contracts of 2026" --dry-run

      spanmill price import contracts.csv --reason "contracts of 2026"
    """
    try:
        _record(read_lines(file), new, reason, actor, data, output, dry_run)
    except FileRefused as error:
        raise Failure(f"{file}: nothing was recorded\n{error}", code=Exit.REFUSED) from error


def _record(lines: list[Line], new: bool, reason: str, actor: str, data: Path, form: Form, dry_run: bool) -> None:
    """Checks, records, shows, and waits until it holds. Raises FileRefused and Failure."""
    if not reason.strip():
        raise Failure("--reason is empty: say why, for those who read the history", code=Exit.USAGE)
    stated = read_statements(lines, compile_book(), new)
    client = connect(find_running(data))
    for warning in [*stated.warnings, *_strangers(stated.contracts, data)]:
        say(f"note: {warning}")
    known = entries_of(client)
    entries = record(stated.contracts, known, time.time_ns(), reason, actor)
    show_used(list(tables.show_entries(entries, [*known, *entries])), tables.HISTORY_COLUMNS, form)
    held = len(stated.contracts) - len(entries)
    say(f"{len(entries)} {'would be recorded' if dry_run else 'to record'}, {held} hold already")
    if dry_run or not entries:
        return
    try:
        append_entries(client, entries)
    except DatabaseError as error:
        raise Failure(f"not recorded: {str(error).splitlines()[0]}", "try again: it is safe to repeat") from error
    say(f"recorded; it holds for what is received from {tables.utc_time(entries[0].known_from)} on, wait for that")
    while (left := entries[0].known_from - time.time_ns()) > 0:
        time.sleep(left / 10**9)


def _strangers(contracts: list[Contract], data: Path) -> list[str]:
    """A remark for each organisation that has no keys here: a slip of the pen would price nothing."""
    with control(data) as engine:
        here = {known.org for known in list_orgs(engine)}
    named = sorted({contract.org for contract in contracts if contract.org})
    return [f"there is no organisation {org} here" for org in named if org not in here]
