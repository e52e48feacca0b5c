"""The control database as the commands use it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, OperationalError

from cli.contexts import chosen, read_contexts
from cli.exits import Exit, Failure
from cli.local.profile import find_running, sqlite_url
from services.control.database import Conflict, InvalidName, NotFound, open_database
from services.control.migrate import ChangedMigration, migrate

ELSEWHERE = "SPANMILL_CONTROL_URL"  # of a deployment, whose commands have no data folder


@contextmanager
def control(data: Path) -> Iterator[sa.Engine]:
    """The control database of `data`, or the one that SPANMILL_CONTROL_URL names, brought up to date.

    Its named errors become Failures.
    """
    url = os.environ.get(ELSEWHERE)
    if not url:
        data.mkdir(parents=True, exist_ok=True)
    with opened(url or control_url(data)) as engine:
        yield engine


def control_url(data: Path) -> str:
    """SQLAlchemy's URL. An embedded instance need not run: its database is a file. Raises Failure for a cluster's."""
    embedded = (data / "control.db").exists() or not (data / "postgres").exists()
    elsewhere = chosen.get() or (not (data / "control.db").exists() and read_contexts().current)
    if elsewhere or not embedded or (data / "run.json").exists():
        return find_running(data).require("control").control
    return sqlite_url(data)


@contextmanager
def opened(url: str) -> Iterator[sa.Engine]:
    """The control database at `url`, brought up to date; its named errors become Failures."""
    try:
        engine = open_database(url)
    except ArgumentError as error:
        raise Failure(f"{url!r} is no URL of a database", "postgresql+psycopg://USER@HOST/NAME", Exit.USAGE) from error
    try:
        migrate(engine, time.time_ns())
        yield engine
    except InvalidName as error:
        raise Failure(str(error), code=Exit.USAGE) from error
    except (Conflict, NotFound, ChangedMigration) as error:
        raise Failure(str(error), code=Exit.REFUSED) from error
    except OperationalError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise Failure(f"the control database {where} cannot be used: {error.orig}") from error
    finally:
        engine.dispose()


def utc(ns: int | None) -> str | None:
    """UTC ns as RFC 3339 to the second; None stays None."""
    return None if ns is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // 10**9))
