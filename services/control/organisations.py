"""Organisations: the tenants. Their data and their costs never mix."""

from dataclasses import dataclass

import sqlalchemy as sa

from services.control.database import Conflict, NotFound, checked_name
from services.control.tables import organisations


@dataclass(frozen=True)
class Organisation:
    org: str
    name: str
    redact: bool  # message texts of this organisation are redacted before they are stored
    created_at: int  # UTC ns


def create_org(engine: sa.Engine, org: str, name: str, redact: bool, now: int) -> Organisation:
    """Create an organisation at `now` (UTC ns); the same one again is a no-op.

    Raises InvalidName, or Conflict when `org` exists with another name or switch.
    """
    wanted = Organisation(checked_name("organisation", org), name, redact, now)
    with engine.begin() as connection:
        existing = _find(connection, org)
        if existing is None:
            connection.execute(sa.insert(organisations).values(**vars(wanted)))
            return wanted
    if (existing.name, existing.redact) != (name, redact):
        raise Conflict(
            f"organisation {org!r} exists with name {existing.name!r} and redact {existing.redact}, "
            f"not with name {name!r} and redact {redact}"
        )
    return existing


def list_orgs(engine: sa.Engine) -> list[Organisation]:
    """All organisations, by their identifier."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(organisations).order_by(organisations.c.org))
        return [Organisation(**row) for row in rows.mappings()]


def find_org(engine: sa.Engine, org: str) -> Organisation | None:
    """The organisation `org`, or None."""
    with engine.connect() as connection:
        return _find(connection, org)


def set_redact(engine: sa.Engine, org: str, redact: bool) -> Organisation:
    """Switch the redaction of an organisation. Raises NotFound."""
    with engine.begin() as connection:
        connection.execute(sa.update(organisations).where(organisations.c.org == org).values(redact=redact))
        changed = _find(connection, org)
    if changed is None:
        raise NotFound(f"there is no organisation {org!r}")
    return changed


def _find(connection: sa.Connection, org: str) -> Organisation | None:
    row = connection.execute(sa.select(organisations).where(organisations.c.org == org)).mappings().first()
    return None if row is None else Organisation(**row)
