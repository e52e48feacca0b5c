"""`spanmill alert`: rules that raise incidents, receivers that hear of them."""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.alerts.files import checked, read_file
from cli.alerts.past import fired, past_metrics, plot, points
from cli.client import connect
from cli.commands import alert_changes
from cli.control import control, utc
from cli.exits import Exit, Failure
from cli.local.profile import find_running
from cli.options import DATA, Data, Output
from cli.output import Form, paper, say, show
from services.control.alerts import AlertSet, alert_history, current_alerts, silences
from services.control.deliveries import Delivery, deliveries
from services.control.incidents import Incident, incidents
from transforms.alerts.cells import MINUTE_NS
from transforms.alerts.fields import duration_ns
from transforms.alerts.parse import parse_rules
from transforms.alerts.replay import replay
from transforms.alerts.rules import Kind, Rule
from transforms.alerts.tell import named

commands = typer.Typer(no_args_is_help=True, help="Alerts: rules over metrics, incidents, notifications.")
alert_changes.register(commands)

Org = Annotated[str, typer.Option(help="Only this organisation's.")]
_RULES = ["org", "rule", "kind", "measures", "state", "since", "severity", "receivers", "undelivered"]
_INCIDENTS = ["org", "rule", "state", "labels", "text", "started_at", "changed_at", "delivered", "failing", "error"]
_MOST_DAYS = 60


@commands.command("list")
def list_(org: Org = "", data: Data = DATA, output: Output = Form.table) -> None:
    """List the rules with their state, and how many notifications of them did not arrive.

    [bold]Example[/]

      spanmill alert list --org acme
    """
    with control(data) as engine:
        sets, open_, sent = current_alerts(engine, org), incidents(engine, org, only_open=True), deliveries(engine, org)
        quiet = silences(engine, time.time_ns())
    rows = [_rule_row(one, rule, open_, sent, quiet) for one in sets for rule in parse_rules(one.groups)]
    show(rows, _RULES, output)


@commands.command("show")
def show_(org: Annotated[str, typer.Argument(help="Whose.")] = "local", data: Data = DATA) -> None:
    """Show an organisation's rules and receivers as JSON, without secrets.

    [bold]Example[/]

      spanmill alert show acme
    """
    with control(data) as engine:
        found = current_alerts(engine, org)
    if not found:
        raise Failure(f"{org} has no alerts", "spanmill alert apply FILE", Exit.REFUSED)
    [one] = found
    shown = {"org": org, "revision": one.revision, "receivers": dict(one.receivers), "groups": one.groups}
    sys.stdout.write(json.dumps(shown | {"budget_events": list(one.budget_events)}, indent=2) + "\n")


@commands.command("history")
def history(
    org: Annotated[str, typer.Argument(help="Whose.")] = "local", data: Data = DATA, output: Output = Form.table
) -> None:
    """Show who changed the rules, and when; the newest first.

    [bold]Example[/]

      spanmill alert history acme
    """
    with control(data) as engine:
        rows = [
            {"revision": one.revision, "changed_at": utc(one.changed_at), "actor": one.actor}
            | {"rules": len(parse_rules(one.groups)), "receivers": ", ".join(one.receivers)}
            for one in alert_history(engine, org)
        ]
    show(rows, ["revision", "changed_at", "actor", "rules", "receivers"], output)


@commands.command("incidents")
def incidents_(
    org: Org = "",
    open_: Annotated[bool, typer.Option("--open", help="Only those that are pending or firing.")] = False,
    data: Data = DATA,
    output: Output = Form.table,
) -> None:
    """List incidents, the newest first, and whether their notifications arrived.

    [bold]Examples[/]

      spanmill alert incidents --open

      spanmill alert incidents --org acme -o json
    """
    with control(data) as engine:
        found, sent = incidents(engine, org, only_open=open_), deliveries(engine, org)
    show([_incident_row(one, sent) for one in found], _INCIDENTS, output)


@commands.command("test")
def test(
    rule: Annotated[str, typer.Argument(help="The rule, as group/name.")],
    over: Annotated[str, typer.Option(help="How far back, as 6h, 7d.")] = "7d",
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The rule is in this file, applied or not."),
    ] = None,
    org: Annotated[str, typer.Option(help="Whose metrics.")] = "local",
    data: Data = DATA,
    output: Output = Form.table,
) -> None:
    """Show when a rule would have fired on the metrics of the past, with a plot. Nobody is notified.

    [bold]Examples[/]

      spanmill alert test cost/spend --over 7d

      spanmill alert test cost/spend --file alerts.yaml -o json
    """
    ns = duration_ns(over)
    if ns is None or not MINUTE_NS <= ns <= _MOST_DAYS * 86_400 * 10**9:
        raise Failure(f"--over {over!r} is no duration of 1m to {_MOST_DAYS}d", "write it as 6h or 7d", Exit.USAGE)
    wanted = _found(rule, file, org, data)
    if wanted.kind is Kind.BUDGET:
        raise Failure("a rule on budgets has no past in the metrics", code=Exit.REFUSED)
    last = time.time_ns() // MINUTE_NS - 1
    first = last - ns // MINUTE_NS + 1
    found = replay(org, wanted, past_metrics(connect(find_running(data)), org, first, last), first, last)
    rows = fired(found)
    if output in (Form.json, Form.jsonl):
        show(
            [{"rule": rule, "org": org, "fired": rows, "points": points(found, wanted)}],
            ["rule", "org", "fired", "points"],
            output,
        )
        return
    if output is Form.table and found.points:
        paper.print(plot(found, wanted, min(paper.width, 120), sys.stdout.isatty()), markup=False)
    show(rows, ["fired_at", "resolved_at", "labels", "value", "text"], output)
    say(f"it would have fired {len(rows)} times in {over}" if found.points else f"{org} has no metrics in {over}")


def _found(name: str, file: Path | None, org: str, data: Path) -> Rule:
    if file:
        given = read_file(file)
        rules = checked(
            {**given, "receivers": None, "budget_events": None, "groups": _mute(given.get("groups"))}, file, {}
        ).rules
    else:
        with control(data) as engine:
            rules = tuple(rule for one in current_alerts(engine, org) for rule in parse_rules(one.groups))
    for rule in rules:
        if rule.name == name:
            return rule
    known = ", ".join(rule.name for rule in rules) or "none"
    raise Failure(f"there is no rule {name!r} of {org}; there are: {known}", "spanmill alert list", Exit.REFUSED)


def _mute(groups: Any) -> Any:
    """The groups without whom their rules notify: a test needs no secrets."""
    if not isinstance(groups, list):
        return groups
    return [
        {**group, "rules": [{k: v for k, v in rule.items() if k != "receivers"} for rule in group.get("rules") or []]}
        for group in groups
    ]


def _rule_row(
    one: AlertSet, rule: Rule, open_: list[Incident], sent: list[Delivery], quiet: dict[tuple[str, str], int]
) -> dict[str, Any]:
    mine = [incident for incident in open_ if (incident.org, incident.rule) == (one.org, rule.name)]
    states = Counter(incident.state for incident in mine)
    state = "firing" if states["firing"] else "pending" if states["pending"] else "ok"
    if until := quiet.get((one.org, rule.name)):
        state += f", silent until {utc(until)}"
    failing = [d for d in sent if (d.org, d.rule) == (one.org, rule.name) and d.status in ("due", "failed") and d.error]
    return {
        "org": one.org,
        "rule": rule.name,
        "kind": str(rule.kind),
        "measures": named(rule),
        "state": f"{state} ({len(mine)})" if len(mine) > 1 else state,
        "since": utc(min((incident.started_at for incident in mine), default=None)),
        "severity": rule.severity,
        "receivers": ", ".join(rule.receivers),
        "undelivered": len(failing),
    }


def _incident_row(one: Incident, sent: list[Delivery]) -> dict[str, Any]:
    mine = [delivery for delivery in sent if delivery.incident_id == one.incident_id]
    failing = [delivery for delivery in mine if delivery.error and delivery.status != "done"]
    return {
        "org": one.org,
        "rule": one.rule,
        "state": one.state,
        "labels": one.message.get("labels", ""),
        "text": one.message.get("text", ""),
        "started_at": utc(one.started_at),
        "changed_at": utc(one.changed_at),
        "delivered": ", ".join(f"{d.receiver}:{d.state}" for d in mine if d.done_at),
        "failing": ", ".join(f"{d.receiver}:{d.state}" for d in failing),
        "error": failing[0].error if failing else None,
        "incident_id": one.incident_id,
    }
