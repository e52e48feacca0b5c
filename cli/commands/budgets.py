"""`spanmill budget`: what an organisation, a team or a key may spend."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from cli.budgets import amount, balance, bar, columns, read_dollars, read_tokens, resets_at, row
from cli.control import control, utc
from cli.exits import Exit, Failure
from cli.options import DATA, Data, Output
from cli.output import Form, paper, say, show
from cli.prices.statements import read_time
from services.control.budget_definition import Budget, InvalidBudget, check_budget
from services.control.budgets import delete_budget, find_budget, list_budgets, set_budget
from services.control.budgets import history as changes_of
from services.control.database import NotFound
from services.control.keys import list_keys
from transforms.budgets.amounts import NANO_DOLLARS, TOKENS
from transforms.budgets.windows import WINDOWS

commands = typer.Typer(no_args_is_help=True, help="Budgets: limits that the ledger holds spending to.")

_BALANCE = ["spent", "pending", "left", "resets_at"]
_CHANGE = ["change", "changed_at", "actor", "reason"]

Name = Annotated[str, typer.Argument(help="Its name in the organisation: 1 to 63 of a-z, 0-9, '.', '_', '-'.")]
Org = Annotated[str, typer.Option(help="The organisation.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the history.")]
Actor = Annotated[str, typer.Option(envvar=["SPANMILL_ACTOR", "USER"], help="Who; it is kept in the history.")]
IfRevision = Annotated[
    int | None, typer.Option("--if-revision", help="Only when it has this revision; 0: only when there is none.")
]


@commands.command("set")
def set_(
    name: Name,
    org: Org,
    dollars: Annotated[str, typer.Option(help="The limit in dollars, exact: 25 or 0.50.")] = "",
    tokens: Annotated[str, typer.Option(help="The limit in tokens, input and output together.")] = "",
    window: Annotated[str, typer.Option(help=f"One of {', '.join(WINDOWS)}.")] = "month",
    time_zone: Annotated[str, typer.Option(help="Where its days begin: an IANA name.")] = "UTC",
    team: Annotated[str, typer.Option(help="Count what this team spends only.")] = "",
    key: Annotated[str, typer.Option(help="Count what the API key of this id spends only.")] = "",
    provider: Annotated[str, typer.Option(help="Count calls of this provider only.")] = "",
    model: Annotated[str, typer.Option(help="Count calls of this model only; gpt-4* for all that begin so.")] = "",
    hard: Annotated[bool, typer.Option("--hard/--advisory", help="Refuse what has no room, or only warn.")] = True,
    threshold: Annotated[
        list[int] | None,
        typer.Option(help="Tell people at so many percent; for several say it again. Else 50, 80, 100."),
    ] = None,
    since: Annotated[str, typer.Option("--from", help="In force from: 2026-01-31 (UTC) or a time with its zone.")] = "",
    until: Annotated[str, typer.Option("--to", help="In force until then.")] = "",
    reason: Reason = "",
    actor: Actor = "",
    if_revision: IfRevision = None,
    data: Data = DATA,
    output: Output = Form.table,
    dry_run: Annotated[bool, typer.Option(help="Check and show what would be set, set nothing.")] = False,
) -> None:
    """Set a budget as a whole, in the place of that of its name; setting the same one again changes nothing.

    With another limit its balance goes on. Where it counts something else (organisation, team, key, provider, model,
    window, time zone, unit), it begins with nothing spent. It holds within seconds.

    [bold]Examples[/]

      spanmill budget set all --org acme --dollars 2500 --time-zone Europe/Berlin

      spanmill budget set ci --org acme --key k3x9... --dollars 0.50 --window day --advisory

      spanmill budget set opus --org acme --team search --model "claude-opus-*" --tokens 20000000 --window week
    """
    limit, unit = _limit(dollars, tokens)
    budget = Budget(
        org=org,
        name=name,
        amount=limit,
        unit=unit,
        period=window,
        time_zone=time_zone,
        team=team,
        key_id=key,
        provider=provider,
        model=model,
        hard=hard,
        thresholds=tuple(sorted(set(threshold or (50, 80, 100)))),
        effective_from=_time("--from", since),
        effective_to=_time("--to", until),
    )
    with _control(data) as engine:
        check_budget(budget)
        known = _known(engine, org, name)
        if team and team not in {one.team for one in list_keys(engine, org)}:
            say(f"note: no key of {org} belongs to the team {team}")
        if known is not None and known.budget_id != budget.budget_id:
            say("note: it counts something else than before, and begins with nothing spent")
        if not dry_run:
            budget = set_budget(engine, budget, actor, reason, time.time_ns(), if_revision)
    show([row(budget, output)], columns(output), output)
    if dry_run:
        say("would be set")
    else:
        same = known is not None and known.revision == budget.revision
        say("it was so already" if same else "set; it holds within seconds where the budget service runs")


@commands.command("list")
def list_(
    org: Annotated[str | None, typer.Option(help="Only this organisation's.")] = None,
    data: Data = DATA,
    output: Output = Form.table,
) -> None:
    """List the budgets in force.

    [bold]Example[/]

      spanmill budget list --org acme
    """
    with _control(data) as engine:
        show([row(budget, output) for budget in list_budgets(engine, org)], columns(output), output)


@commands.command("show")
def show_(name: Name, org: Org, data: Data = DATA, output: Output = Form.table) -> None:
    """Show a budget and, where something runs, what is spent, pending and left of it now.

    [bold]Example[/]

      spanmill budget show all --org acme
    """
    with _control(data) as engine:
        budget = find_budget(engine, org, name)
    now = time.time_ns()
    found = balance(data, budget, now)
    shown = row(budget, output) | {"resets_at": resets_at(budget, now)}
    if found is not None:
        spent, pending = found["spent"], found["pending"]
        numbers = {"spent": spent, "pending": pending, "left": budget.amount - spent - pending}
        shown |= {what: amount(budget, value, output) for what, value in numbers.items()}
    show([shown], [*columns(output), *_BALANCE], output)
    if found is not None and output is Form.table:
        paper.print(bar(budget, found["spent"], found["pending"]), "█ spent  ▒ pending  ░ left")


@commands.command()
def delete(
    name: Name,
    org: Org,
    reason: Reason = "",
    actor: Actor = "",
    if_revision: IfRevision = None,
    data: Data = DATA,
    dry_run: Annotated[bool, typer.Option(help="Say what would be deleted, delete nothing.")] = False,
) -> None:
    """Take a budget out of force. What is reserved under it can still be settled.

    [bold]Example[/]

      spanmill budget delete ci --org acme --reason "project ended"
    """
    with _control(data) as engine:
        if dry_run:
            found = find_budget(engine, org, name)
            say(f"would delete the budget {name} of {org}: {amount(found, found.amount, Form.table)}, {found.period}")
            return
        delete_budget(engine, org, name, actor, reason, time.time_ns(), if_revision)
    say(f"budget {name} of {org} deleted")


@commands.command()
def history(
    org: Org,
    name: Annotated[str, typer.Argument(help="Only this budget's.")] = "",
    data: Data = DATA,
    output: Output = Form.table,
) -> None:
    """Show every change of budgets, the newest first: what, when, by whom, why.

    [bold]Example[/]

      spanmill budget history --org acme
    """
    with _control(data) as engine:
        found = changes_of(engine, org, name)
    shown = [
        row(change.budget, output)
        | {"revision": change.revision, "change": change.change, "changed_at": utc(change.changed_at)}
        | {"actor": change.actor, "reason": change.reason}
        for change in found
    ]
    show(shown, [*columns(output), *_CHANGE], output)


def _limit(dollars: str, tokens: str) -> tuple[int, str]:
    """The amount and its unit. Raises Failure."""
    if bool(dollars) == bool(tokens):
        raise Failure("give the limit either as --dollars or as --tokens", "spanmill budget set --help", Exit.USAGE)
    try:
        return (read_dollars(dollars), NANO_DOLLARS) if dollars else (read_tokens(tokens), TOKENS)
    except ValueError as error:
        raise Failure(f"{'--dollars' if dollars else '--tokens'}: {error}", code=Exit.USAGE) from error


def _time(option: str, text: str) -> int:
    try:
        return read_time(text) if text else 0
    except ValueError as error:
        raise Failure(f"{option}: {error}", code=Exit.USAGE) from error


def _known(engine: sa.Engine, org: str, name: str) -> Budget | None:
    try:
        return find_budget(engine, org, name)
    except NotFound:
        return None


@contextmanager
def _control(data: Path) -> Iterator[sa.Engine]:
    """The control database; what it finds wrong with a budget becomes a Failure."""
    try:
        with control(data) as engine:
            yield engine
    except InvalidBudget as error:
        raise Failure(str(error), "spanmill budget set --help", Exit.USAGE) from error
