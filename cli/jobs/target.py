"""What every kind of cluster that jobs run on can do, and what is the same for all: how a job begins, its history."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import sqlalchemy as sa

from cli.exits import Exit, Failure
from cli.jobs.client import JobClient
from cli.jobs.plan import Plan
from cli.jobs.spec import JobSpec
from cli.local.profile import Running
from services.control.jobs import Revision, RevisionState

# How long a revision that ran well before may at least take to be well again: going back is no time to be impatient.
WAY_BACK_S = 600.0


class TargetName(StrEnum):
    session = "session"
    kubernetes = "kubernetes"


@dataclass(frozen=True)
class Wish:
    """How a job shall begin. savepoint: '' takes the newest of its history. fresh: with an empty state."""

    lost: tuple[str, ...] = ()
    savepoint: str = ""
    fresh: bool = False


class Target(Protocol):
    """A cluster, its history and its lock. operator: who gives the commands.

    Each method raises Failure when the cluster does not answer, or refuses, or is not well in time.
    """

    @property
    def name(self) -> TargetName: ...
    @property
    def running(self) -> Running: ...
    @property
    def engine(self) -> sa.Engine: ...
    @property
    def operator(self) -> str: ...

    def states(self) -> Mapping[str, str]:
        """Job -> how it is, of those that the cluster knows."""
        ...

    def live(self, job: str) -> Revision | None:
        """The revision that runs, None when the job does not run. Raises Failure for one of somebody else."""
        ...

    def client(self, spec: JobSpec) -> AbstractContextManager[JobClient]:
        """A client process with the code that a deployment would bring."""
        ...

    def plan(self, spec: JobSpec, client: JobClient, wish: Wish) -> Plan:
        """What would change on the cluster as it is now."""
        ...

    def apply(self, spec: JobSpec, plan: Plan, client: JobClient, timeout: float) -> Revision:
        """Does what `plan` says; when the new revision is not well, the old one runs again, and Failure is raised."""
        ...

    def rollback(self, entry: str, job: str, number: int | None, timeout: float) -> Revision:
        """Goes back to revision `number` (None: the one before) as a new revision."""
        ...

    def stop(self, job: str) -> Revision: ...
    def savepoint(self, job: str) -> Revision: ...
    def status(self, job: str) -> dict[str, Any]: ...

    def logs(self, job: str, lines: int, follow: bool) -> Iterator[str]:
        """Lines with their ends, begun with the process's name."""
        ...


def require_live(target: Target, job: str) -> Revision:
    return running_one(target.live(job), job)


def running_one(live: Revision | None, job: str) -> Revision:
    """`live` itself. Raises Failure when there is none."""
    if live is None:
        raise Failure(f"{job} does not run", f"spanmill job deploy {job}", Exit.REFUSED)
    return live


def beginning(history: Sequence[Revision], job: str, live: Revision | None, wish: Wish) -> tuple[str, Revision | None]:
    """The savepoint that a job which does not run begins with ('': none), and the revision whose state it goes on with.

    Raises Failure when `wish` is of a beginning and the job runs, or when its state is nowhere.
    """
    if live:
        if wish.fresh or wish.savepoint:
            what = f"{job} runs: it must be stopped before it can begin anew"
            raise Failure(what, f"spanmill job stop {job}", Exit.REFUSED)
        return "", live
    if wish.fresh:
        return "", None
    if wish.savepoint:
        return wish.savepoint, next((r for r in history if r.savepoint == wish.savepoint), None)
    for revision in history:
        if revision.savepoint:
            return revision.savepoint, revision
        if revision.flink_job and revision.state is not RevisionState.FAILED:
            raise Failure(
                f"revision {revision.revision} of {job} ended without a savepoint",
                "name a savepoint or retained checkpoint with --from URI, or begin anew from the log with --fresh",
                Exit.REFUSED,
            )
    return "", None


def new_revision(target: TargetName, spec: JobSpec, plan: Plan, operator: str, now: int) -> Revision:
    return Revision(
        job=spec.name, revision=0, target=target, spec=spec.settings, code=plan.wanted.code,
        graph=plan.wanted.graph, state=RevisionState.DEPLOYING, message="", flink_job="", started_from=plan.savepoint,
        savepoint="", operator=operator, created_at=now, changed_at=now,
    )  # fmt: skip


def revision_number(history: Sequence[Revision], number: int | None) -> Revision:
    """Revision `number`, or when None the one that ran well before the newest that did. Raises Failure."""
    ran = [revision for revision in history if revision.flink_job and revision.state is not RevisionState.FAILED]
    found = [r for r in ran if r.revision == number] if number is not None else ran[1:2]
    if not found:
        what = f"revision {number} never ran well" if number else "there is no earlier revision that ran well"
        raise Failure(what, "spanmill job history JOB", Exit.REFUSED)
    return found[0]
