"""The one notification of each state of an incident to each receiver: who does it when, and how it went."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from services.control.tables import alert_deliveries, alert_incidents

FIRING, RESOLVED = "firing", "resolved"
# A notifier that died in the middle of a delivery has it so long.
_LEASE_NS = 30 * 10**9


class Status(StrEnum):
    DUE = "due"
    REPEAT = "repeat"  # delivered, to be said again while it is firing
    DONE = "done"
    FAILED = "failed"  # given up


@dataclass(frozen=True)
class Delivery:
    """Of an incident's `state` to `receiver`. message: what was told when it became so. error: of the last try."""

    incident_id: str
    state: str
    receiver: str
    org: str
    rule: str
    message: Mapping[str, Any]
    status: Status
    attempts: int
    error: str
    created_at: int
    next_at: int
    done_at: int | None
    incident_state: str  # of the incident by now


def due(engine: sa.Engine, now: int, limit: int = 50) -> list[Delivery]:
    """What is to be delivered now, the oldest first; that it is resolved after that it fires."""
    mine, first = alert_deliveries, alert_deliveries.alias("first")
    waiting = sa.exists().where(
        first.c.incident_id == mine.c.incident_id,
        first.c.receiver == mine.c.receiver,
        first.c.state == FIRING,
        first.c.status == Status.DUE,
    )
    query = _joined().where(
        mine.c.status.in_((Status.DUE, Status.REPEAT)),
        mine.c.next_at <= now,
        (mine.c.state != RESOLVED) | ~waiting,
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


def deliveries(engine: sa.Engine, org: str = "", limit: int = 10_000) -> list[Delivery]:
    """Deliveries of `org` or of all, the newest first."""
    query = _joined().order_by(alert_deliveries.c.created_at.desc())
    if org:
        query = query.where(alert_deliveries.c.org == org)
    with engine.connect() as connection:
        return [_delivery(row) for row in connection.execute(query.limit(limit)).mappings()]


def _note(engine: sa.Engine, delivery: Delivery, values: Mapping[str, Any]) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(alert_deliveries).where(_same(delivery)).values(**values))


def _same(delivery: Delivery) -> sa.ColumnElement[bool]:
    table = alert_deliveries.c
    return sa.and_(
        table.incident_id == delivery.incident_id, table.state == delivery.state, table.receiver == delivery.receiver
    )


def _joined() -> sa.Select[Any]:
    on = alert_deliveries.c.incident_id == alert_incidents.c.incident_id
    columns = (alert_incidents.c.rule, alert_incidents.c.state.label("incident_state"))
    return sa.select(alert_deliveries, *columns).join(alert_incidents, on)


def _delivery(row: sa.RowMapping) -> Delivery:
    return Delivery(**{**row, "message": json.loads(row["message"]), "status": Status(row["status"])})
