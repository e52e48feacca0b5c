"""Connections to the control database, and the errors that its functions raise."""

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class InvalidName(ValueError):
    """A name that is not one of the form `[a-z0-9][a-z0-9._-]{0,62}`."""


class Conflict(Exception):
    """Something of that name exists already, with other content."""


class NotFound(Exception):
    """There is nothing of that name."""


def open_database(url: str, timeout_s: float = 5.0) -> sa.Engine:
    """An engine for `url` (sqlite:///FILE or postgresql+DRIVER://...).

    timeout_s: how long a statement waits for SQLite's lock before sqlalchemy.exc.OperationalError.
    """
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True)
    # No pool: an open connection would go on reading a file that was replaced, and bar an exclusive lock.
    engine = sa.create_engine(url, connect_args={"timeout": timeout_s}, poolclass=sa.NullPool)

    @event.listens_for(engine, "connect")
    def enforce_foreign_keys(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


def checked_name(kind: str, name: str) -> str:
    """`name`, or InvalidName that says what a name of this `kind` looks like."""
    if not NAME.fullmatch(name):
        raise InvalidName(
            f"{kind} {name!r} is not a valid name: 1 to 63 of a-z, 0-9, '.', '_', '-', "
            "beginning with a letter or a digit"
        )
    return name
