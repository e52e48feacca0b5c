"""Incidents as the notifier heard of them, and the one notification of each of their states to each receiver.

A message may come any number of times: what is written down decides what is still to be done.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from services.control.tables import alert_deliveries, alert_incidents

Message = Mapping[str, Any]

_FIRING, _RESOLVED, _EXPIRED, _PENDING, _OK = "firing", "resolved", "expired", "pending", "ok"
EVENT = "event"  # said once, never resolved: what a budget has to say
_OPEN = (_PENDING, _FIRING)
# A notifier that died in the middle of a delivery has it so long.
_LEASE_NS = 30 * 10**9


class Status(StrEnum):
    DUE = "due"
    REPEAT = "repeat"  # delivered, to be said again while it is firing
    DONE = "done"
    FAILED = "failed"  # given up


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


@dataclass(frozen=True)
class Delivery:
    """Of an incident's `state` to `receiver`. message: what was told when it became so. error: of the last try."""

    incident_id: str
    state: str
    receiver: str
    org: str
    rule: str
    message: Message
    status: Status
    attempts: int
    error: str
    created_at: int
    next_at: int
    done_at: int | None
    incident_state: str  # of the incident by now


def hear(engine: sa.Engine, message: Message, receivers: Sequence[str], now: int) -> bool:
    """Takes down what was told of an incident; whether it was news. receivers: who is to hear of it when it fires.

    message: a row of INCIDENTS, or of state `event`.
    """
    with engine.begin() as connection:
        was = _find(connection, message["incident_id"])
        state = message["state"]
        if not _is_news(was.state if was else None, state):
            if was and was.state in (_FIRING, _EXPIRED) and state == _FIRING:
                _renew(connection, message)
            return False
        _write(connection, was, message, now)
        if state in (_FIRING, EVENT):
            _supersede(connection, message, now)
            for receiver in receivers:
                _deliver(connection, message, state, receiver, now)
        elif state == _RESOLVED:
            _resolve(connection, message, now)
        return True


def expire(engine: sa.Engine, now: int) -> int:
    """Marks what was not heard of any more, and returns how many: nobody is told, for it may go on."""
    over = (alert_incidents.c.state.in_(_OPEN)) & (alert_incidents.c.valid_until < now)
    with engine.begin() as connection:
        return connection.execute(sa.update(alert_incidents).where(over).values(state=_EXPIRED)).rowcount


def due(engine: sa.Engine, now: int, limit: int = 50) -> list[Delivery]:
    """What is to be delivered now, the oldest first; that it is resolved after that it fires."""
    mine, first = alert_deliveries, alert_deliveries.alias("first")
    waiting = sa.exists().where(
        first.c.incident_id == mine.c.incident_id,
        first.c.receiver == mine.c.receiver,
        first.c.state == _FIRING,
        first.c.status == Status.DUE,
    )
    query = _joined().where(
        mine.c.status.in_((Status.DUE, Status.REPEAT)),
        mine.c.next_at <= now,
        (mine.c.state != _RESOLVED) | ~waiting,
    )
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(mine.c.next_at, mine.c.incident_id).limit(limit)).mappings()
        return [_delivery(row) for row in rows]


def claim(engine: sa.Engine, delivery: Delivery, now: int) -> bool:
    """Whether it is this caller's to deliver now; it is nobody else's for half a minute."""
    with engine.begin() as connection:
        taken = sa.update(alert_deliveries).where(
            _same(delivery),
            alert_deliveries.c.next_at == delivery.next_at,
            alert_deliveries.c.status == delivery.status,
        )
        return connection.execute(taken.values(next_at=now + _LEASE_NS, attempts=delivery.attempts + 1)).rowcount == 1


def delivered(engine: sa.Engine, delivery: Delivery, now: int, again_at: int | None) -> None:
    """It arrived; it is to be said again at `again_at`, or never."""
    status = Status.DONE if again_at is None else Status.REPEAT
    values = {"status": status, "error": "", "done_at": delivery.done_at or now, "next_at": again_at or now}
    _note(engine, delivery, values)


def not_delivered(engine: sa.Engine, delivery: Delivery, error: str, again_at: int | None) -> None:
    """It did not arrive; it is tried again at `again_at`, or given up."""
    status = Status.FAILED if again_at is None else delivery.status
    _note(engine, delivery, {"status": status, "error": error[:1_000], "next_at": again_at or delivery.next_at})


def waiting(engine: sa.Engine) -> int:
    """How many deliveries failed at least once and are to be tried again."""
    table = alert_deliveries.c
    unheard = (table.status != Status.FAILED) & (table.error != "")
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(alert_deliveries).where(unheard)) or 0


def incidents(engine: sa.Engine, org: str = "", only_open: bool = False, limit: int = 1_000) -> list[Incident]:
    """Incidents of `org` or of all, the newest first."""
    query = sa.select(alert_incidents).order_by(alert_incidents.c.changed_at.desc(), alert_incidents.c.incident_id)
    if org:
        query = query.where(alert_incidents.c.org == org)
    if only_open:
        query = query.where(alert_incidents.c.state.in_(_OPEN))
    with engine.connect() as connection:
        return [_incident(row) for row in connection.execute(query.limit(limit)).mappings()]


def deliveries(engine: sa.Engine, org: str = "", limit: int = 10_000) -> list[Delivery]:
    """Deliveries of `org` or of all, the newest first."""
    query = _joined().order_by(alert_deliveries.c.created_at.desc())
    if org:
        query = query.where(alert_deliveries.c.org == org)
    with engine.connect() as connection:
        return [_delivery(row) for row in connection.execute(query.limit(limit)).mappings()]


def _is_news(was: str | None, state: str) -> bool:
    match state:
        case "pending":
            return was is None
        case "ok":
            return was == _PENDING
        case "firing":
            return was in (None, _PENDING, _OK)
        case "resolved":
            return was not in (_RESOLVED, EVENT)
        case _:
            return was is None


def _renew(connection: sa.Connection, message: Message) -> None:
    values = {"state": _FIRING, "valid_until": message["valid_until"]}
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
        alert_incidents.c.state.in_((_PENDING, _FIRING, _EXPIRED)),
        alert_incidents.c.incident_id != message["incident_id"],
    )
    for row in connection.execute(query).mappings().all():
        other = _incident(row)
        if other.message.get("labels") == message.get("labels"):
            ended = {**other.message, "state": _RESOLVED, "at": message["started_at"]}
            _write(connection, other, ended, now)
            _resolve(connection, ended, now)


def _resolve(connection: sa.Connection, message: Message, now: int) -> None:
    """Whoever was told, or is to be told, that it fires is told that it is over."""
    query = sa.select(alert_deliveries.c.receiver).where(
        alert_deliveries.c.incident_id == message["incident_id"], alert_deliveries.c.state == _FIRING
    )
    for receiver in connection.scalars(query).all():
        _deliver(connection, message, _RESOLVED, receiver, now)


def _deliver(connection: sa.Connection, message: Message, state: str, receiver: str, now: int) -> None:
    key = {"incident_id": message["incident_id"], "state": state, "receiver": receiver}
    rest = {"org": message["org"], "message": json.dumps(dict(message)), "status": Status.DUE, "attempts": 0}
    times = {"created_at": now, "next_at": now, "done_at": None}
    connection.execute(sa.insert(alert_deliveries).values(**key, **rest, **times, error=""))


def _note(engine: sa.Engine, delivery: Delivery, values: Mapping[str, Any]) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(alert_deliveries).where(_same(delivery)).values(**values))


def _same(delivery: Delivery) -> sa.ColumnElement[bool]:
    table = alert_deliveries.c
    return sa.and_(
        table.incident_id == delivery.incident_id, table.state == delivery.state, table.receiver == delivery.receiver
    )


def _is(incident_id: str) -> sa.ColumnElement[bool]:
    return alert_incidents.c.incident_id == incident_id


def _find(connection: sa.Connection, incident_id: str) -> Incident | None:
    query = sa.select(alert_incidents).where(_is(incident_id)).with_for_update()
    row = connection.execute(query).mappings().first()
    return None if row is None else _incident(row)


def _joined() -> sa.Select[Any]:
    on = alert_deliveries.c.incident_id == alert_incidents.c.incident_id
    columns = (alert_incidents.c.rule, alert_incidents.c.state.label("incident_state"))
    return sa.select(alert_deliveries, *columns).join(alert_incidents, on)


def _incident(row: sa.RowMapping) -> Incident:
    return Incident(**{**row, "message": json.loads(row["message"])})


def _delivery(row: sa.RowMapping) -> Delivery:
    return Delivery(**{**row, "message": json.loads(row["message"]), "status": Status(row["status"])})
