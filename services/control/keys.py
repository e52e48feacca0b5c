"""API keys: `sm_<key id>_<256 random bits>_<checksum>`.

A key is shown once, when it is made; the database keeps its SHA-256. A slow hash would add nothing against
256 random bits and cost every request. The checksum (CRC-32 of all before it, as in GitHub's tokens) tells a
mistyped key from a revoked one without a look-up, and lets secret scanners recognise keys.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass

import sqlalchemy as sa

from services.control.database import NotFound, checked_name
from services.control.organisations import find_org
from services.control.tables import keys, organisations

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY = re.compile(r"(sm_[a-z0-9]{12}_[0-9A-Za-z]{43})_([0-9A-Za-z]{6})")


@dataclass(frozen=True)
class Key:
    key_id: str
    org: str
    team: str  # '' for a key of the whole organisation
    name: str
    prefix: str  # the part of the key that may be shown
    created_at: int  # UTC ns
    revoked_at: int | None  # UTC ns


@dataclass(frozen=True)
class Grant:
    """Who a request belongs to."""

    org: str
    team: str
    key_id: str
    redact: bool


_KEY_COLUMNS = [column for column in keys.c if column.name != "sha256"]


def create_key(engine: sa.Engine, org: str, team: str, name: str, now: int) -> tuple[Key, str]:
    """Make a key for `org` at `now` (UTC ns); returns it and its secret, which is not stored.

    Raises InvalidName, or NotFound when there is no such organisation.
    """
    if team:
        checked_name("team", team)
    if find_org(engine, org) is None:
        raise NotFound(f"there is no organisation {org!r}")
    key_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))
    prefix = f"sm_{key_id}"
    body = f"{prefix}_{_base62(secrets.randbits(256), 43)}"
    secret = f"{body}_{_checksum(body)}"
    key = Key(key_id, org, team, name, prefix, now, None)
    with engine.begin() as connection:
        connection.execute(sa.insert(keys).values(**vars(key), sha256=digest(secret)))
    return key, secret


def list_keys(engine: sa.Engine, org: str | None = None) -> list[Key]:
    """The keys of `org`, or of all organisations; revoked ones too, oldest first."""
    query = sa.select(*_KEY_COLUMNS).order_by(keys.c.org, keys.c.created_at, keys.c.key_id)
    if org is not None:
        query = query.where(keys.c.org == org)
    with engine.connect() as connection:
        return [Key(**row) for row in connection.execute(query).mappings()]


def revoke_key(engine: sa.Engine, key_id: str, now: int) -> Key:
    """Revoke a key at `now` (UTC ns); one that is revoked already keeps its time. Raises NotFound."""
    with engine.begin() as connection:
        connection.execute(
            sa.update(keys).where(keys.c.key_id == key_id, keys.c.revoked_at.is_(None)).values(revoked_at=now)
        )
        row = connection.execute(sa.select(*_KEY_COLUMNS).where(keys.c.key_id == key_id)).mappings().first()
    if row is None:
        raise NotFound(f"there is no key {key_id!r}")
    return Key(**row)


def find_key(engine: sa.Engine, sha256: str) -> Grant | None:
    """The grant of the key with this SHA-256 (hex); None when there is none or it is revoked."""
    query = (
        sa.select(keys.c.org, keys.c.team, keys.c.key_id, organisations.c.redact)
        .join(organisations, organisations.c.org == keys.c.org)
        .where(keys.c.sha256 == sha256, keys.c.revoked_at.is_(None))
    )
    with engine.connect() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else Grant(**row)


def team_of_key(engine: sa.Engine, org: str, key_id: str) -> str | None:
    """The team of a key of `org`, '' for none; None when `org` has no such key or it is revoked."""
    query = sa.select(keys.c.team).where(keys.c.key_id == key_id, keys.c.org == org, keys.c.revoked_at.is_(None))
    with engine.connect() as connection:
        return connection.execute(query).scalar()


def digest(secret: str) -> str:
    """SHA-256 of a key, in hex: the form in which it is stored and looked up."""
    return hashlib.sha256(secret.encode()).hexdigest()


def well_formed(secret: str) -> bool:
    """Whether `secret` has the form of a key and the right checksum."""
    match = _KEY.fullmatch(secret)
    return match is not None and _checksum(match[1]) == match[2]


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), 6)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
