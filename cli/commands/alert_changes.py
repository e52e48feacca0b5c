"""`spanmill alert apply|delete|silence`: changes rules and receivers."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from clickhouse_connect.driver.exceptions import DatabaseError

from cli.alerts.files import checked, read_file
from cli.client import connect
from cli.control import control, utc
from cli.exits import Exit, Failure
from cli.local.profile import find_running
from cli.options import DATA, Data, Output
from cli.output import Form, say, show
from pipelines.alert_store import publish_rules, published
from services.control.alerts import (
    AlertSet,
    Change,
    apply_alerts,
    current_alerts,
    plan_alerts,
    receivers_of,
    silence,
)
from services.control.database import NotFound
from transforms.alerts.fields import duration_ns
from transforms.alerts.parse import RuleFile, parse_file
from transforms.alerts.receivers import as_given

Actor = Annotated[str, typer.Option(envvar=["SPANMILL_ACTOR", "USER"], help="Who; it is kept in the history.")]
Org = Annotated[str, typer.Option(help="Whose rules.")]

_CHANGES = ["what", "name", "change", "note"]


def register(commands: typer.Typer) -> None:
    commands.command("apply")(apply)
    commands.command("delete")(delete)
    commands.command("silence")(silence_)


def apply(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Rules and receivers: YAML or JSON.")],
    actor: Actor = "",
    data: Data = DATA,
    output: Output = Form.table,
    dry_run: Annotated[bool, typer.Option(help="Show what would change, change nothing.")] = False,
) -> None:
    """Make an organisation's alert rules and receivers those of a file. The same file again changes nothing.

    What the file does not name is removed. `${NAME}` in a receiver is taken from the environment; secrets are kept in
    the control database and never shown. The jobs judge by the new rules within 6 seconds.

    [bold]Examples[/]

      spanmill alert apply alerts.yaml --dry-run

      WEBHOOK_SECRET=... spanmill alert apply alerts.yaml
    """
    given = read_file(file)
    with control(data) as engine:
        org = given.get("org")
        kept = receivers_of(engine, org) if isinstance(org, str) else {}
        wanted = checked(given, file, kept)
        _changed(engine, wanted, given.get("groups") or [], actor, data, output, dry_run)


def delete(
    rule: Annotated[str, typer.Argument(help="The rule, as group/name; or all, with --all.")] = "",
    org: Org = "local",
    all_: Annotated[bool, typer.Option("--all", help="All rules and receivers of the organisation.")] = False,
    actor: Actor = "",
    data: Data = DATA,
    output: Output = Form.table,
    dry_run: Annotated[bool, typer.Option(help="Show what would change, change nothing.")] = False,
) -> None:
    """Delete a rule; what is firing of it is resolved. One that is not there changes nothing.

    [bold]Examples[/]

      spanmill alert delete cost/spend --org acme

      spanmill alert delete --all --org acme
    """
    if bool(rule) == all_:
        raise Failure("name a rule, or --all", "spanmill alert list", Exit.USAGE)
    with control(data) as engine:
        was = next(iter(current_alerts(engine, org)), None)
        if was is None:
            say(f"{org} has no alerts")
            return
        groups = [] if all_ else _without(was.groups, rule)
        receivers = [] if all_ else [as_given(one) for one in receivers_of(engine, org).values()]
        events = [] if all_ else list(was.budget_events)
        wanted = parse_file({"org": org, "groups": groups, "receivers": receivers, "budget_events": events})
        _changed(engine, wanted, groups, actor, data, output, dry_run)


def silence_(
    rule: Annotated[str, typer.Argument(help="The rule, as group/name.")],
    for_: Annotated[str, typer.Option("--for", help="How long, as 30m, 2h, 1d; 0s ends a silence.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    org: Org = "local",
    actor: Actor = "",
    data: Data = DATA,
    dry_run: Annotated[bool, typer.Option(help="Say what would be silenced, silence nothing.")] = False,
) -> None:
    """Notify nobody of a rule for a while; incidents are kept, and those that begin in it are not told later.

    [bold]Example[/]

      spanmill alert silence cost/spend --for 2h --reason "load test" --org acme
    """
    ns = duration_ns(for_)
    if ns is None or not reason.strip():
        raise Failure(f"--for {for_!r} is no duration, or --reason is empty", "write it as 30m, 2h, 1d", Exit.USAGE)
    until = time.time_ns() + ns
    if dry_run:
        say(f"would silence {rule} of {org} until {utc(until)}")
        return
    with control(data) as engine:
        silence(engine, org, rule, until, reason, actor)
    say(f"{rule} of {org} is silent until {utc(until)}")


def _changed(
    engine: sa.Engine, wanted: RuleFile, groups: list[Any], actor: str, data: Path, form: Form, dry_run: bool
) -> None:
    if dry_run:
        changes = plan_alerts(engine, wanted, groups)
        _show(changes, form)
        say(f"{len(changes)} would change")
        if changes:
            raise typer.Exit(Exit.CHANGES)
        return
    client = connect(find_running(data))  # before anything is written: without the store no job hears of it
    applied = apply_alerts(engine, wanted, groups, actor, time.time_ns())
    _show(applied.changes, form)
    if applied.current is None:
        return
    try:
        if published(client).get(wanted.org, 0) < applied.current.revision:
            _publish(client, applied.current)
    except DatabaseError as error:
        what = f"recorded, but the jobs do not know it: {str(error).splitlines()[0]}"
        raise Failure(what, "apply it again: it is safe to repeat") from error
    say(f"{len(applied.changes)} changed, revision {applied.current.revision}")


def _publish(client: Any, made: AlertSet) -> None:
    publish_rules(client, made.org, made.revision, made.groups, made.changed_at)


def _show(changes: Sequence[Change], form: Form) -> None:
    if changes or form is not Form.table:
        show([vars(change) for change in changes], _CHANGES, form)


def _without(groups: list[Any], name: str) -> list[Any]:
    """The groups without the rule `name` (group/rule). Raises NotFound."""
    kept = [
        {**group, "rules": [rule for rule in group.get("rules") or [] if f"{group['name']}/{rule['name']}" != name]}
        for group in groups
    ]
    if kept == [{**group, "rules": list(group.get("rules") or [])} for group in groups]:
        raise NotFound(f"there is no rule {name!r}: spanmill alert list")
    return [group for group in kept if group["rules"]]
