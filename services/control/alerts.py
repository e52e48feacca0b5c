"""Alert rules and receivers of each organisation, and their history. Secrets are given out to the notifier only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from services.control.database import Conflict, NotFound
from services.control.organisations import find_org
from services.control.tables import alert_receivers, alert_sets, alert_silences
from transforms.alerts.parse import RuleFile, parse_rules
from transforms.alerts.receivers import Receiver, ReceiverKind


@dataclass(frozen=True)
class AlertSet:
    """The rules of one organisation. groups: as the file had them. receivers: name -> kind and settings, no secrets."""

    org: str
    revision: int
    groups: list[Any]
    budget_events: tuple[str, ...]
    receivers: Mapping[str, Any]
    actor: str
    changed_at: int  # UTC ns


@dataclass(frozen=True)
class Change:
    what: str  # rule | receiver | budget_events
    name: str
    change: str  # added | changed | removed
    note: str = ""


@dataclass(frozen=True)
class Applied:
    current: AlertSet | None  # after it; None when there is still nothing
    changes: tuple[Change, ...] = field(default=())


def current_alerts(engine: sa.Engine, org: str = "") -> list[AlertSet]:
    """The newest revision of each organisation, or of `org`, in order of their names."""
    newest = sa.select(alert_sets.c.org, sa.func.max(alert_sets.c.revision).label("revision")).group_by(
        alert_sets.c.org
    )
    last = newest.subquery()
    query = sa.select(alert_sets).join(
        last, (alert_sets.c.org == last.c.org) & (alert_sets.c.revision == last.c.revision)
    )
    if org:
        query = query.where(alert_sets.c.org == org)
    with engine.connect() as connection:
        return [_set(row) for row in connection.execute(query.order_by(alert_sets.c.org)).mappings()]


def alert_history(engine: sa.Engine, org: str) -> list[AlertSet]:
    """All revisions of `org`, the newest first."""
    query = sa.select(alert_sets).where(alert_sets.c.org == org).order_by(alert_sets.c.revision.desc())
    with engine.connect() as connection:
        return [_set(row) for row in connection.execute(query).mappings()]


def receivers_of(engine: sa.Engine, org: str) -> dict[str, Receiver]:
    """The receivers of `org` with their secrets."""
    query = sa.select(alert_receivers).where(alert_receivers.c.org == org).order_by(alert_receivers.c.name)
    with engine.connect() as connection:
        return {row["name"]: _receiver(row) for row in connection.execute(query).mappings()}


def plan_alerts(engine: sa.Engine, wanted: RuleFile, groups: list[Any]) -> tuple[Change, ...]:
    """What `apply_alerts` would change. Raises NotFound when there is no such organisation."""
    if find_org(engine, wanted.org) is None:
        raise NotFound(f"there is no organisation {wanted.org!r}: spanmill org create {wanted.org}")
    was = next(iter(current_alerts(engine, wanted.org)), None)
    return _changes(was, receivers_of(engine, wanted.org), wanted, groups)


def apply_alerts(engine: sa.Engine, wanted: RuleFile, groups: list[Any], actor: str, now: int) -> Applied:
    """Makes the rules and receivers of an organisation those of a file; the same file again changes nothing.

    groups: the field of the file that `wanted` was read from. Raises NotFound, and Conflict when somebody else changed
    them at the same time.
    """
    changes = plan_alerts(engine, wanted, groups)
    was = next(iter(current_alerts(engine, wanted.org)), None)
    if not changes:
        return Applied(was)
    shown = {one.name: {"kind": str(one.kind), **one.settings} for one in wanted.receivers}
    made = AlertSet(wanted.org, (was.revision if was else 0) + 1, groups, wanted.budget_events, shown, actor, now)
    body = {"groups": groups, "budget_events": list(wanted.budget_events), "receivers": shown}
    row = {"org": made.org, "revision": made.revision, "body": json.dumps(body), "actor": actor, "changed_at": now}
    mine = alert_receivers.c.org == wanted.org
    try:
        with engine.begin() as connection:
            connection.execute(sa.insert(alert_sets).values(**row))
            connection.execute(sa.delete(alert_receivers).where(mine))
            for one in wanted.receivers:
                connection.execute(sa.insert(alert_receivers).values(**_receiver_row(wanted.org, one)))
    except IntegrityError:
        raise Conflict(f"somebody is changing the alerts of {wanted.org!r} at the moment: try again") from None
    return Applied(made, changes)


def silence(engine: sa.Engine, org: str, rule: str, until: int, reason: str, actor: str) -> None:
    """Notifies nobody of `rule` until then (UTC ns); a time that is over ends a silence. Raises NotFound."""
    found = next(iter(current_alerts(engine, org)), None)
    if found is None or rule not in {one.name for one in parse_rules(found.groups)}:
        raise NotFound(f"{org} has no rule {rule!r}: spanmill alert list")
    row = {"org": org, "rule": rule, "until": until, "reason": reason, "actor": actor}
    with engine.begin() as connection:
        connection.execute(sa.delete(alert_silences).where(alert_silences.c.org == org, alert_silences.c.rule == rule))
        connection.execute(sa.insert(alert_silences).values(**row))


def silences(engine: sa.Engine, now: int) -> dict[tuple[str, str], int]:
    """(org, rule) -> until when (UTC ns) nobody is notified of it."""
    query = sa.select(alert_silences).where(alert_silences.c.until > now)
    with engine.connect() as connection:
        return {(row["org"], row["rule"]): row["until"] for row in connection.execute(query).mappings()}


def _changes(
    was: AlertSet | None, had: Mapping[str, Receiver], wanted: RuleFile, groups: list[Any]
) -> tuple[Change, ...]:
    before = _by_rule(was.groups) if was else {}
    after = _by_rule(groups)
    found = [*_compared("rule", before, after)]
    shown_before = {name: (one.kind, dict(one.settings), one.secret) for name, one in had.items()}
    shown_after = {one.name: (one.kind, dict(one.settings), one.secret) for one in wanted.receivers}
    for change in _compared("receiver", shown_before, shown_after):
        a, b = shown_before.get(change.name), shown_after.get(change.name)
        only_secret = a is not None and b is not None and a[:2] == b[:2]
        found.append(Change(change.what, change.name, change.change, "its secret" if only_secret else ""))
    if (was.budget_events if was else ()) != wanted.budget_events:
        found.append(Change("budget_events", ", ".join(wanted.budget_events) or "nobody", "changed"))
    return tuple(found)


def _by_rule(groups: list[Any]) -> dict[str, Any]:
    return {f"{group['name']}/{rule['name']}": rule for group in groups for rule in group.get("rules") or []}


def _compared(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    found = [Change(what, name, "added") for name in after if name not in before]
    found += [Change(what, name, "changed") for name in after if name in before and before[name] != after[name]]
    return found + [Change(what, name, "removed") for name in before if name not in after]


def _set(row: sa.RowMapping) -> AlertSet:
    body = json.loads(row["body"])
    events = tuple(body["budget_events"])
    return AlertSet(
        row["org"], row["revision"], body["groups"], events, body["receivers"], row["actor"], row["changed_at"]
    )


def _receiver(row: sa.RowMapping) -> Receiver:
    return Receiver(row["name"], ReceiverKind(row["kind"]), json.loads(row["settings"]), row["secret"])


def _receiver_row(org: str, one: Receiver) -> dict[str, Any]:
    settings = json.dumps(dict(one.settings))
    return {"org": org, "name": one.name, "kind": str(one.kind), "settings": settings, "secret": one.secret}
