"""Incidents as the notifier heard of them. A message may come any number of times: what is written down decides whether
it is news, and each state of an incident is due to each of its receivers once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from services.control.deliveries import FIRING, RESOLVED, Status
from services.control.tables import alert_deliveries, alert_incidents

Message = Mapping[str, Any]

_EXPIRED, _PENDING, _OK = "expired", "pending", "ok"
EVENT = "event"  # said once, never resolved: what a budget has to say
_OPEN = (_PENDING, FIRING)


@dataclass(frozen=True)
class Incident:
    """state: pending | firing | resolved | ok (was pending) | event | expired (firing, but not heard of any more)."""

    incident_id: str
    org: str
    rule: str
    state: str
    message: Message
    started_at: int  # UTC ns, like all times here
    changed_at: int
    valid_until: int


def hear(engine: sa.Engine, message: Message, receivers: Sequence[str], now: int) -> bool:
    """Takes down what was told of an incident; whether it was news. receivers: who is to hear of it when it fires.

    message: a row of INCIDENTS, or of state `event`.
    """
    with engine.begin() as connection:
        was = _find(connection, message["incident_id"])
        state = message["state"]
        if not _is_news(was.state if was else None, state):
            if was and was.state in (FIRING, _EXPIRED) and state == FIRING:
                _renew(connection, message)
            return False
        _write(connection, was, message, now)
        if state in (FIRING, EVENT):
            _supersede(connection, message, now)
            for receiver in receivers:
                _deliver(connection, message, state, receiver, now)
        elif state == RESOLVED:
            _resolve(connection, message, now)
        return True


def expire(engine: sa.Engine, now: int) -> int:
    """Marks what was not heard of any more, and returns how many: nobody is told, for it may go on."""
    over = (alert_incidents.c.state.in_(_OPEN)) & (alert_incidents.c.valid_until < now)
    with engine.begin() as connection:
        return connection.execute(sa.update(alert_incidents).where(over).values(state=_EXPIRED)).rowcount


def incidents(engine: sa.Engine, org: str = "", only_open: bool = False, limit: int = 1_000) -> list[Incident]:
    """Incidents of `org` or of all, the newest first."""
    query = sa.select(alert_incidents).order_by(alert_incidents.c.changed_at.desc(), alert_incidents.c.incident_id)
    if org:
        query = query.where(alert_incidents.c.org == org)
    if only_open:
        query = query.where(alert_incidents.c.state.in_(_OPEN))
    with engine.connect() as connection:
        return [_incident(row) for row in connection.execute(query.limit(limit)).mappings()]


def _is_news(was: str | None, state: str) -> bool:
    match state:
        case "pending":
            return was is None
        case "ok":
            return was == _PENDING
        case "firing":
            return was in (None, _PENDING, _OK)
        case "resolved":
            return was not in (RESOLVED, EVENT)
        case _:
            return was is None


def _renew(connection: sa.Connection, message: Message) -> None:
    values = {"state": FIRING, "valid_until": message["valid_until"]}
    connection.execute(sa.update(alert_incidents).where(_is(message["incident_id"])).values(**values))


def _write(connection: sa.Connection, was: Incident | None, message: Message, now: int) -> None:
    values = {name: message[name] for name in ("incident_id", "org", "rule", "state", "started_at", "valid_until")}
    values |= {"message": json.dumps(dict(message)), "changed_at": now}
    if was:
        connection.execute(sa.update(alert_incidents).where(_is(was.incident_id)).values(**values))
    else:
        connection.execute(sa.insert(alert_incidents).values(**values))


def _supersede(connection: sa.Connection, message: Message, now: int) -> None:
    """A series has one incident at a time: one that a replay did not find again ends where the next begins."""
    query = sa.select(alert_incidents).where(
        alert_incidents.c.org == message["org"],
        alert_incidents.c.rule == message["rule"],
        alert_incidents.c.state.in_((_PENDING, FIRING, _EXPIRED)),
        alert_incidents.c.incident_id != message["incident_id"],
    )
    for row in connection.execute(query).mappings().all():
        other = _incident(row)
        if other.message.get("labels") == message.get("labels"):
            ended = {**other.message, "state": RESOLVED, "at": message["started_at"]}
            _write(connection, other, ended, now)
            _resolve(connection, ended, now)


def _resolve(connection: sa.Connection, message: Message, now: int) -> None:
    """Whoever was told, or is to be told, that it fires is told that it is over."""
    query = sa.select(alert_deliveries.c.receiver).where(
        alert_deliveries.c.incident_id == message["incident_id"], alert_deliveries.c.state == FIRING
    )
    for receiver in connection.scalars(query).all():
        _deliver(connection, message, RESOLVED, receiver, now)


def _deliver(connection: sa.Connection, message: Message, state: str, receiver: str, now: int) -> None:
    key = {"incident_id": message["incident_id"], "state": state, "receiver": receiver}
    rest = {"org": message["org"], "message": json.dumps(dict(message)), "status": Status.DUE, "attempts": 0}
    times = {"created_at": now, "next_at": now, "done_at": None}
    connection.execute(sa.insert(alert_deliveries).values(**key, **rest, **times, error=""))


def _is(incident_id: str) -> sa.ColumnElement[bool]:
    return alert_incidents.c.incident_id == incident_id


def _find(connection: sa.Connection, incident_id: str) -> Incident | None:
    query = sa.select(alert_incidents).where(_is(incident_id)).with_for_update()
    row = connection.execute(query).mappings().first()
    return None if row is None else _incident(row)


def _incident(row: sa.RowMapping) -> Incident:
    return Incident(**{**row, "message": json.loads(row["message"])})
