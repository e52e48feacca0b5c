"""The history of deployed jobs, and the lock that keeps two operators from changing one job at once."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from services.control.database import Conflict, checked_name
from services.control.tables import job_locks, job_revisions


class RevisionState(StrEnum):
    DEPLOYING = "deploying"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Revision:
    """One deployment of a job. spec: its whole settings. code: SHA-256 of its code.

    graph: uids, and the schema version of each keyed state. flink_job: the id that Flink gave it. started_from: the
    savepoint it began with, '' for an empty state. savepoint: the newest one that was taken of it, '' for none.
    """

    job: str
    revision: int
    target: str  # session | kubernetes
    spec: Mapping[str, Any]
    code: str
    graph: Mapping[str, Any]
    state: RevisionState
    message: str
    flink_job: str
    started_from: str
    savepoint: str
    operator: str
    created_at: int  # UTC ns
    changed_at: int  # UTC ns


def revisions(engine: sa.Engine, job: str, target: str = "") -> list[Revision]:
    """All revisions of `job`, or those on `target` alone, the newest first."""
    query = sa.select(job_revisions).where(job_revisions.c.job == job).order_by(job_revisions.c.revision.desc())
    if target:
        query = query.where(job_revisions.c.target == target)
    with engine.connect() as connection:
        return [_revision(row) for row in connection.execute(query).mappings()]


def jobs(engine: sa.Engine) -> list[str]:
    """The names of all jobs that were ever deployed, in order."""
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(job_revisions.c.job).distinct().order_by(job_revisions.c.job)))


def add_revision(engine: sa.Engine, revision: Revision) -> Revision:
    """Writes `revision` down under the next number of its job and returns it so. Raises InvalidName."""
    checked_name("job", revision.job)
    newest = sa.select(sa.func.max(job_revisions.c.revision)).where(job_revisions.c.job == revision.job)
    texts = {"spec": json.dumps(dict(revision.spec)), "graph": json.dumps(dict(revision.graph))}
    while True:
        with engine.connect() as connection:
            numbered = replace(revision, revision=(connection.scalar(newest) or 0) + 1)
        try:
            with engine.begin() as connection:
                connection.execute(sa.insert(job_revisions).values(**{**vars(numbered), **texts}))
            return numbered
        except IntegrityError:
            # Somebody whose lock ran out took the number; when nobody did, it is another fault.
            with engine.connect() as connection:
                if (connection.scalar(newest) or 0) < numbered.revision:
                    raise


def note(engine: sa.Engine, revision: Revision, now: int, **changes: str) -> Revision:
    """`revision` with `changes` of state, message, flink_job or savepoint, written down at `now` (UTC ns)."""
    mine = (job_revisions.c.job == revision.job) & (job_revisions.c.revision == revision.revision)
    with engine.begin() as connection:
        connection.execute(sa.update(job_revisions).where(mine).values(**changes, changed_at=now))
        return _revision(connection.execute(sa.select(job_revisions).where(mine)).mappings().one())


@dataclass(frozen=True)
class Lock:
    job: str
    token: str


def take_lock(engine: sa.Engine, job: str, holder: str, now: int, until: int) -> Lock:
    """Takes the lock of `job` until `until` (UTC ns) at most. Raises Conflict that names who holds it."""
    lock = Lock(job, secrets.token_hex(16))
    row = {"job": job, "holder": holder, "token": lock.token, "taken_at": now, "expires_at": until}
    with engine.begin() as connection:
        over = (job_locks.c.job == job) & (job_locks.c.expires_at < now)
        connection.execute(sa.delete(job_locks).where(over))
    try:
        with engine.begin() as connection:
            connection.execute(sa.insert(job_locks).values(**row))
    except IntegrityError:
        with engine.connect() as connection:
            found = connection.scalar(sa.select(job_locks.c.holder).where(job_locks.c.job == job))
        raise Conflict(f"{found or 'somebody'} is changing the job {job!r} at the moment: try again later") from None
    return lock


def release_lock(engine: sa.Engine, lock: Lock) -> None:
    """Gives the lock back; one that was lost to another holder stays with it."""
    mine = (job_locks.c.job == lock.job) & (job_locks.c.token == lock.token)
    with engine.begin() as connection:
        connection.execute(sa.delete(job_locks).where(mine))


def _revision(row: sa.RowMapping) -> Revision:
    texts = {"spec": json.loads(row["spec"]), "graph": json.loads(row["graph"]), "state": RevisionState(row["state"])}
    return Revision(**{**row, **texts})
