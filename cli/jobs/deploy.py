"""Makes plans for a job on a session cluster, applies them, and goes back by itself when the new revision is not well.

Order of an upgrade: everything that can fail is prepared while the old revision runs (client process, code, tables);
then savepoint and stop, submit, wait until all tasks run, a checkpoint is complete and the lag is zero or falling.
When that does not come in time the new revision is cancelled and the old one is started again from its savepoint; a
rollback does the same.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from cli.exits import Exit, Failure
from cli.jobs import code as code_store
from cli.jobs.client import JobClient, job_client
from cli.jobs.flink_rest import FlinkRest, JobState
from cli.jobs.place import migrate_store, place_of
from cli.jobs.plan import Facts, Label, Line, Plan, compare, foreign
from cli.jobs.spec import JobSpec, access_of
from cli.jobs.target import WAY_BACK_S, TargetName, Wish, beginning, new_revision, revision_number, running_one
from cli.kafka import brokers_of
from cli.local.profile import Running
from pipelines.flink.source import group_of
from services.control.jobs import Revision, RevisionState, add_revision, note, revisions

_POLL_S = 0.2
_LAG_POLL_S = 2.0
_SAVEPOINT_S = 600.0


@dataclass(frozen=True)
class Cluster:
    """A session cluster and what belongs to it. now: UTC ns. operator: who gives the commands."""

    running: Running
    rest: FlinkRest
    engine: sa.Engine
    operator: str
    say: Callable[[str], None]
    now: Callable[[], int]


def live_revision(cluster: Cluster, job: str) -> Revision | None:
    """The revision that runs, None when the job does not run.

    Raises Failure when a job of this name runs which is not in the history.
    """
    live = cluster.rest.running(job)
    known = {revision.flink_job: revision for revision in _history(cluster, job) if revision.flink_job}
    for flink_job in live:
        if flink_job not in known:
            raise Failure(
                f"a job {job!r} runs as {flink_job} that was not deployed with this command",
                f"stop it in Flink ({cluster.running.flink}), then deploy",
                Exit.REFUSED,
            )
    return known[live[0]] if live else None


def make_plan(cluster: Cluster, spec: JobSpec, client: JobClient, wish: Wish) -> Plan:
    """What would change on the cluster as it is now."""
    graph = client.ask("graph")
    wanted = Facts(spec.settings, code_store.digest(), graph)
    live = live_revision(cluster, spec.name)
    place = place_of(cluster.running, cluster.rest, spec.name, spec.settings)
    savepoint, before = beginning(_history(cluster, spec.name), spec.name, live, wish)
    facts = Facts(before.spec, before.code, before.graph) if before else None
    lines = compare(facts, wanted, place, wish.lost)
    if savepoint:
        lines += tuple(foreign(client.ask("inspect", savepoint=savepoint)["operators"], wanted))
        lines += (Line("job", "", savepoint, Label.COMPATIBLE, "starts from this savepoint"),)
    return Plan(
        job=spec.name,
        target=TargetName.session,
        cluster=cluster.running.flink,
        base=before.revision if before else 0,
        flink_job=live.flink_job if live else "",
        savepoint=savepoint,
        wanted=wanted,
        lost=wish.lost,
        lines=lines,
    )


def _history(cluster: Cluster, job: str) -> list[Revision]:
    return revisions(cluster.engine, job, TargetName.session)


def apply(cluster: Cluster, spec: JobSpec, plan: Plan, client: JobClient, timeout: float) -> Revision:
    """Does what `plan` says. Raises Failure when the new revision is not well; then the old one runs again."""
    store_code = code_store.store(cluster.running.code)
    migrate_store(cluster.running, cluster.say)
    revision = add_revision(
        cluster.engine, new_revision(TargetName.session, spec, plan, cluster.operator, cluster.now())
    )
    old = live_revision(cluster, spec.name)
    savepoint = plan.savepoint
    if old:
        cluster.say(f"revision {old.revision}: taking a savepoint, stopping")
        try:
            savepoint = cluster.rest.stop(old.flink_job, cluster.running.savepoints, _SAVEPOINT_S)
        except Failure as failure:
            _note(cluster, revision, RevisionState.FAILED, failure.what)
            raise
        old = note(
            cluster.engine, old, cluster.now(), savepoint=savepoint, state=RevisionState.STOPPED,
            message=f"replaced by revision {revision.revision}",
        )  # fmt: skip
    return _bring(cluster, spec.entry, revision, old, client, store_code, savepoint, bool(plan.lost), timeout)


def _bring(
    cluster: Cluster, entry: str, revision: Revision, old: Revision | None,
    client: JobClient, code: Path, savepoint: str, lost: bool, timeout: float,
) -> Revision:  # fmt: skip
    """Makes `revision` the running one; `old`, which was stopped for it, runs again when it is not well."""
    try:
        return _start(cluster, revision, client, code, savepoint, lost, timeout)
    except Failure as failure:
        _note(cluster, revision, RevisionState.FAILED, failure.what)
        if old is None:
            raise
        try:
            back(cluster, entry, old, timeout)
        except Failure as second:
            raise Failure(
                f"revision {revision.revision} is not well: {failure.what}\n"
                f"revision {old.revision} could not be started again either: {second.what}",
                f"spanmill job status {old.job}; spanmill job deploy {old.job} --from {old.savepoint}",
            ) from failure
        raise Failure(
            f"revision {revision.revision} is not well: {failure.what}\nrevision {old.revision} runs again",
            f"spanmill job logs {old.job}; spanmill job history {old.job}",
        ) from failure


def back(cluster: Cluster, entry: str, old: Revision, timeout: float) -> Revision:
    """Starts the revision `old` again, with its own code, from its savepoint. It is not ended when it is late."""
    cluster.say(f"going back to revision {old.revision}")
    kept = code_store.stored(cluster.running.code, old.code)
    with job_client(entry, {**old.spec, **access_of(cluster.running)}, kept) as client:
        old = _submit(cluster, old, client, kept, old.savepoint, lost=False)
    wait_well(cluster, old.flink_job, old.spec["topic"], max(timeout, WAY_BACK_S))
    return _note(cluster, old, RevisionState.RUNNING, "")


def _start(
    cluster: Cluster, revision: Revision, client: JobClient, code: Path, savepoint: str, lost: bool, timeout: float
) -> Revision:
    revision = _submit(cluster, revision, client, code, savepoint, lost)
    try:
        wait_well(cluster, revision.flink_job, revision.spec["topic"], timeout)
    except Failure:
        cluster.rest.cancel(revision.flink_job, _SAVEPOINT_S)
        raise
    return _note(cluster, revision, RevisionState.RUNNING, "")


def _submit(
    cluster: Cluster, revision: Revision, client: JobClient, code: Path, savepoint: str, lost: bool
) -> Revision:
    cluster.say(f"revision {revision.revision}: submitting" + (f" from {savepoint}" if savepoint else ""))
    asked = {"rest": cluster.running.flink, "savepoint": savepoint or None, "lost": lost, "code": str(code)}
    flink_job = client.ask("submit", **asked)["job"]
    now = cluster.now()
    return note(cluster.engine, revision, now, flink_job=flink_job, state=RevisionState.DEPLOYING, message="")


def wait_well(cluster: Cluster, flink_job: str, topic: str, timeout: float) -> None:
    """Returns when all tasks run, a checkpoint is complete and the lag on `topic` is zero or falling.

    Raises Failure as soon as the job has ended, or after `timeout` seconds with what is missing.
    """
    deadline = time.monotonic() + timeout
    said, missing, lag = "", "", None
    while True:
        try:
            job = cluster.rest.job(flink_job)
            if job.state in ("FAILED", "CANCELED", "FINISHED"):
                raise Failure(f"the job {job.state.lower()}: {job.failure or 'nobody said why'}")
            missing = _missing(job)
            if not missing:
                before, lag = lag, lag_of(cluster, job.name, topic)
                if not lag or (before is not None and lag < before):
                    cluster.say(f"running, checkpoint {job.checkpoints} complete, {lag:,} records behind")
                    return
                missing = f"the lag is {lag:,} records and not falling"
            reason = f"; last failure: {job.failure}" if job.failure else ""
        except Failure as failure:
            if failure.code is not Exit.CANNOT_CONNECT:  # a JobManager or broker that fails over comes back
                raise
            missing, reason = failure.what, ""
        if missing != said:
            cluster.say(said := missing)
        if time.monotonic() > deadline:
            raise Failure(f"not well within {timeout:.0f} s: {missing}{reason}", code=Exit.TIMED_OUT)
        time.sleep(_LAG_POLL_S if lag is not None else _POLL_S)


def lag_of(cluster: Cluster, job: str, topic: str) -> int:
    """Records of `topic` that no checkpoint of the job covers."""
    log = brokers_of(cluster.running.broker, cluster.running.kafka)
    return log.lag(topic, group_of(job))


def _missing(job: JobState) -> str:
    if not job.all_running:
        return f"{job.running} of {job.tasks} tasks run" if job.tasks else "the tasks are not scheduled yet"
    return "" if job.checkpoints else "waiting for the first checkpoint"


def _note(cluster: Cluster, revision: Revision, state: RevisionState, message: str) -> Revision:
    return note(cluster.engine, revision, cluster.now(), state=state, message=message)


def stop(cluster: Cluster, job: str) -> Revision:
    """Stops the job with a savepoint. Raises Failure when it does not run."""
    live = require_live(cluster, job)
    uri = cluster.rest.stop(live.flink_job, cluster.running.savepoints, _SAVEPOINT_S)
    return note(cluster.engine, live, cluster.now(), savepoint=uri, state=RevisionState.STOPPED, message="stopped")


def savepoint(cluster: Cluster, job: str) -> Revision:
    """Takes a savepoint of the running job. Raises Failure when it does not run."""
    live = require_live(cluster, job)
    uri = cluster.rest.savepoint(live.flink_job, cluster.running.savepoints, _SAVEPOINT_S)
    return note(cluster.engine, live, cluster.now(), savepoint=uri)


def require_live(cluster: Cluster, job: str) -> Revision:
    return running_one(live_revision(cluster, job), job)


def rollback(cluster: Cluster, entry: str, job: str, number: int | None, timeout: float) -> Revision:
    """Goes back to revision `number` (None: the one before), with its settings and its code, as a new revision.

    From a savepoint taken now when its code can read that, and then no row is written twice; else from the savepoint
    that it left, and then the rows since are computed and written again (the same rows: their keys replace them).
    """
    target = revision_number(_history(cluster, job), number)
    live = live_revision(cluster, job)
    wanted = Facts(target.spec, target.code, target.graph)
    kept = code_store.stored(cluster.running.code, target.code)
    if not kept.exists():
        raise Failure(f"the code of revision {target.revision} is not in {kept} any more", code=Exit.REFUSED)
    savepoint, stopped = target.savepoint, None
    if live:
        if Facts(live.spec, live.code, live.graph) == wanted:
            cluster.say(f"revision {live.revision} is the same already")
            return live
        place = place_of(cluster.running, cluster.rest, job, target.spec)
        lines = compare(Facts(live.spec, live.code, live.graph), wanted, place, ())
        refused = [line for line in lines if line.cure]
        if refused and not target.savepoint:
            raise Failure(f"{refused[0].subject}: {refused[0].reason}", refused[0].cure, Exit.REFUSED)
        stopped = stop(cluster, job)
        if refused:
            cluster.say(f"{refused[0].subject}: {refused[0].reason}")
            cluster.say(f"going back to the savepoint of revision {target.revision}: rows since then are written again")
        else:
            savepoint = stopped.savepoint
    new = replace(target, state=RevisionState.DEPLOYING, message="", flink_job="", started_from=savepoint, savepoint="",
                  operator=cluster.operator, created_at=cluster.now(), changed_at=cluster.now())  # fmt: skip
    revision = add_revision(cluster.engine, new)
    with job_client(entry, {**target.spec, **access_of(cluster.running)}, kept) as client:
        return _bring(cluster, entry, revision, stopped, client, kept, savepoint, bool(savepoint), timeout)
