"""A job under the Flink Kubernetes Operator as a target of the commands.

The operator does what a session cluster has no one for: it sees that another FlinkDeployment is applied, takes the
savepoint, stops and starts. The command applies, waits until the resource is STABLE and a checkpoint of the new
revision is complete, and applies the previous FlinkDeployment again when that does not come in time.

Which revision a FlinkDeployment is, an annotation says: a job keeps its Flink id over upgrades.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from cli.exits import Exit, Failure
from cli.jobs import code as code_store
from cli.jobs.client import JobClient, job_client
from cli.jobs.kubectl import Kubectl, Object, Waiting
from cli.jobs.kubernetes import DIGEST, GO_ON, REVISION, Site, Start, digest, marked, render, site_of, snapshot
from cli.jobs.place import migrate_store, surroundings
from cli.jobs.plan import FLINK_VERSION, Facts, Label, Line, Place, Plan, compare, foreign
from cli.jobs.spec import JobSpec, access_of, known_jobs
from cli.jobs.target import WAY_BACK_S, TargetName, Wish, beginning, new_revision, revision_number, running_one
from cli.local.profile import Running
from services.control.jobs import Revision, RevisionState, add_revision, note, revisions

_KIND, _SNAPSHOT = "flinkdeployments.flink.apache.org", "flinkstatesnapshots.flink.apache.org"
_SAVEPOINT_S = 600.0
_ENDED = ("FAILED", "ROLLED_BACK")


@dataclass(frozen=True)
class Operated:
    """image: '' for the context's."""

    running: Running
    kubectl: Kubectl
    engine: sa.Engine
    operator: str
    say: Callable[[str], None]
    now: Callable[[], int]
    image: str = ""

    @property
    def name(self) -> TargetName:
        return TargetName.kubernetes

    @property
    def _site(self) -> Site:
        return site_of(self.running, self.image)

    def _history(self, job: str) -> list[Revision]:
        return revisions(self.engine, job, self.name)

    def states(self) -> Mapping[str, str]:
        found = {job: self.kubectl.get(_KIND, job) for job in known_jobs()}
        return {job: _job_status(one).get("state") or _lifecycle(one) for job, one in found.items() if one}

    def live(self, job: str) -> Revision | None:
        found = self.kubectl.get(_KIND, job)
        if found is None:
            return None
        known = {str(revision.revision): revision for revision in self._history(job)}
        revision = known.get(found["metadata"].get("annotations", {}).get(REVISION, ""))
        if revision is None:
            raise Failure(
                f"a FlinkDeployment {job!r} is in {self.kubectl.namespace} that was not deployed with this command",
                f"take a savepoint, kubectl delete {_KIND} {job}, then spanmill job deploy {job} --from URI",
                Exit.REFUSED,
            )
        over = found["spec"]["job"].get("state") == "suspended" or (_seen(found) and _lifecycle(found) == "FAILED")
        return None if over else revision

    def client(self, spec: JobSpec) -> AbstractContextManager[JobClient]:
        return job_client(spec.entry, {**spec.settings, **access_of(self.running)}, code_store.ROOT)

    def plan(self, spec: JobSpec, client: JobClient, wish: Wish) -> Plan:
        """What would change. The graph is that of the code beside this command, which must be the image's version."""
        site = self._site
        wanted = Facts(spec.settings, site.image, client.ask("graph"))
        live = self.live(spec.name)
        savepoint, before = beginning(self._history(spec.name), spec.name, live, wish)
        facts = Facts(before.spec, before.code, before.graph) if before else None
        lines = compare(facts, wanted, self._place(spec.settings), wish.lost)
        if live:
            lines += tuple(self._drift(live, site))
        if savepoint:
            lines += tuple(self._inspected(client, savepoint, before, wanted))
            lines += (Line("job", "", savepoint, Label.COMPATIBLE, "starts from this savepoint"),)
        return Plan(
            job=spec.name,
            target=self.name,
            cluster=f"namespace {self.kubectl.namespace}",
            base=before.revision if before else 0,
            flink_job=(live.flink_job or spec.name) if live else "",
            savepoint=savepoint,
            wanted=wanted,
            lost=wish.lost,
            lines=lines,
        )

    def _place(self, settings: Mapping[str, Any]) -> Place:
        """The image brings its Flink, and Kubernetes as many TaskManagers as the job asks for."""
        partitions, absent, migrations = surroundings(self.running, settings)
        return Place(f"{FLINK_VERSION}.", partitions, settings["parallelism"], migrations, absent)

    def _drift(self, live: Revision, site: Site) -> Iterator[Line]:
        """A line when the running revision would be rendered otherwise today: folders or Flink options are others."""
        found = self.kubectl.get(_KIND, live.job) or {"metadata": {}}
        old = found["metadata"].get("annotations", {}).get(DIGEST, "")
        new = digest(render(live.job, live.spec, replace(site, image=live.code)))
        if old != new:
            reason = "folders or Flink options are others: the job is started again from a savepoint"
            yield Line("manifest", old[:12], new[:12], Label.NEEDS_SAVEPOINT, reason)

    def _inspected(self, client: JobClient, savepoint: str, before: Revision | None, wanted: Facts) -> Iterator[Line]:
        """Lines that bar a savepoint. One that is not in the history can be read where this machine has its folder."""
        if savepoint.startswith("file:"):
            yield from foreign(client.ask("inspect", savepoint=savepoint)["operators"], wanted)
        elif before is None:
            self.say(f"{savepoint} is not in the history and out of reach here: whose it is was not checked")

    def apply(self, spec: JobSpec, plan: Plan, client: JobClient, timeout: float) -> Revision:
        migrate_store(self.running, self.say)
        revision = add_revision(self.engine, new_revision(self.name, spec, plan, self.operator, self.now()))
        lost = bool(plan.lost)
        if plan.savepoint:
            start = Start(plan.savepoint, self._nonce(), lost)
        else:
            start = Start(lost=lost, fresh=not plan.flink_job)
        return self._bring(revision, self.live(spec.name), start, timeout)

    def _nonce(self) -> int:
        return self.now() // 10**6

    def _bring(self, revision: Revision, old: Revision | None, start: Start, timeout: float) -> Revision:
        """Makes `revision` the running one; `old` runs again when it is not well."""
        job = revision.job
        before = self.kubectl.get(_KIND, job)
        start = replace(
            start, fresh=start.fresh and before is not None
        )  # else there is nothing that it could go on with
        try:
            self._apply(revision, start)
            revision = self._wait_well(revision, timeout)
        except Failure as failure:
            self._note(revision, RevisionState.FAILED, failure.what)
            if old and before:
                self._back(before, self._replaced(old, before, start, revision), revision, failure, timeout)
            else:
                self._give_up(job)
            raise
        if old and before:
            self._replaced(old, before, start, revision)
        if start.fresh:  # from now on nothing may be lost; the operator takes this for no change of the job
            self.kubectl.patch(_KIND, job, {"spec": {"job": {"upgradeMode": "savepoint"}}})
        return self._note(revision, RevisionState.RUNNING, "")

    def _apply(self, revision: Revision, start: Start) -> None:
        site = replace(self._site, image=revision.code)
        asked = digest(render(revision.job, revision.spec, site))
        begin = f" from {start.savepoint}" if start.savepoint else ""
        self.say(f"revision {revision.revision}: applying{begin}")
        self.kubectl.apply(marked(render(revision.job, revision.spec, site, start), revision.revision, asked))

    def _replaced(self, old: Revision, before: Object, start: Start, new: Revision) -> Revision:
        """`old` with the savepoint that the operator took of it, if it came so far."""
        taken = "" if start.savepoint else self._taken(old.job, before)
        if not taken and not start.savepoint:
            self.say("the operator names no savepoint of the upgrade")
        changes = {"savepoint": taken} if taken else {}
        message = f"replaced by revision {new.revision}"
        return note(self.engine, old, self.now(), state=RevisionState.STOPPED, message=message, **changes)

    def _taken(self, job: str, before: Object) -> str:
        """The savepoint of an upgrade or a stop since `before`, '' for none."""
        path = _job_status(self.kubectl.get(_KIND, job)).get("upgradeSavepointPath") or ""
        return "" if path == _job_status(before).get("upgradeSavepointPath") else path

    def _back(self, before: Object, old: Revision, new: Revision, failure: Failure, timeout: float) -> None:
        """Applies the FlinkDeployment `before` again; its ConfigMap is still there. Raises Failure with the outcome.

        Without a new savepoint the operator has not stopped the job yet, and takes the old spec for no change.
        """
        self.say(f"going back to revision {old.revision}")
        taken = old.savepoint if self._redeployed(before) else ""
        spec = {**before["spec"], "job": {**before["spec"]["job"], "state": "running", "upgradeMode": "savepoint"}}
        if taken:
            spec["job"] |= {"initialSavepointPath": taken, "savepointRedeployNonce": self._nonce()}
        kept = {key: before["metadata"][key] for key in ("name", "namespace", "labels") if key in before["metadata"]}
        marks = {key: before["metadata"]["annotations"][key] for key in (REVISION, DIGEST)}
        again = {**{key: before[key] for key in ("apiVersion", "kind")}, "metadata": {**kept, "annotations": marks}}
        try:
            self.kubectl.apply([{**again, "spec": spec}])
            self._note(self._wait_well(old, max(timeout, WAY_BACK_S)), RevisionState.RUNNING, "")
        except Failure as second:
            raise Failure(
                f"revision {new.revision} is not well: {failure.what}\n"
                f"revision {old.revision} could not be started again either: {second.what}",
                f"spanmill job status {new.job}; spanmill job history {new.job}",
            ) from failure
        raise Failure(
            f"revision {new.revision} is not well: {failure.what}\nrevision {old.revision} runs again",
            f"spanmill job logs {new.job}; spanmill job history {new.job}",
        ) from failure

    def _redeployed(self, before: Object) -> bool:
        """Whether the operator has stopped what ran at `before`."""
        now = self.kubectl.get(_KIND, before["metadata"]["name"])
        return _job_status(now).get("upgradeSavepointPath") != _job_status(before).get("upgradeSavepointPath")

    def _give_up(self, job: str) -> None:
        """Ends what is not well and replaced nothing. A savepoint that it began with stays."""
        if self.kubectl.get(_KIND, job):
            self.kubectl.patch(_KIND, job, {"spec": {"job": {"state": "suspended", "upgradeMode": "stateless"}}})

    def _wait_well(self, revision: Revision, timeout: float) -> Revision:
        """Returns when the operator calls it STABLE, the job runs, and a checkpoint asked for after that is complete.

        Raises Failure as soon as the operator gave it up, or after `timeout` seconds with what is missing.
        """
        waiting, said = Waiting(timeout), ""
        while missing := self._missing(revision.job):
            if missing != said:
                self.say(said := missing)
            waiting.pause(missing)
        flink_job = _job_status(self.kubectl.get(_KIND, revision.job)).get("jobId") or revision.job
        revision = note(self.engine, revision, self.now(), flink_job=flink_job)
        self.say("running, waiting for a checkpoint")
        self._snapshot(revision, "checkpoint", waiting)
        return revision

    def _missing(self, job: str) -> str:
        try:
            found = self.kubectl.get(_KIND, job)
        except Failure as failure:
            if failure.code is not Exit.CANNOT_CONNECT:  # an API server that fails over comes back
                raise
            return failure.what
        state, lifecycle = _job_status(found).get("state") or "not started", _lifecycle(found)
        error = (found or {}).get("status", {}).get("error", "")
        if _seen(found) and lifecycle in _ENDED:
            raise Failure(f"the operator gave up ({lifecycle}): {error or 'it says no reason'}")
        if _seen(found) and lifecycle == "STABLE" and state == "RUNNING":
            return ""
        place = (
            f"{lifecycle.lower()}, the job is {state.lower()}" if _seen(found) else "the operator has not seen it yet"
        )
        return f"{place}; {error}" if error else place

    def _snapshot(self, revision: Revision, kind: str, waiting: Waiting) -> str:
        """Takes a savepoint or a checkpoint of the running job; its URI."""
        job = revision.job
        name = f"{job}-{revision.revision}-{kind}-{self._nonce():x}"
        self.kubectl.apply([snapshot(job, self.kubectl.namespace, name, kind)])
        while True:
            status = (self.kubectl.get(_SNAPSHOT, name) or {}).get("status") or {}
            if status.get("state") == "COMPLETED":
                break
            if status.get("state") in ("FAILED", "ABANDONED"):
                raise Failure(f"no {kind} could be taken: {status.get('error') or 'the operator says no reason'}")
            waiting.pause(f"waiting for a {kind}" + (f": {status['error']}" if status.get("error") else ""))
        if kind == "checkpoint":  # it has told what it was for; the object of a savepoint stays for others to see
            self.kubectl.delete(_SNAPSHOT, name)
        return status["path"]

    def rollback(self, entry: str, job: str, number: int | None, timeout: float) -> Revision:
        target, live = revision_number(self._history(job), number), self.live(job)
        start = Start(target.savepoint, self._nonce(), lost=True)
        if live:
            wanted, facts = Facts(target.spec, target.code, target.graph), Facts(live.spec, live.code, live.graph)
            if facts == wanted:
                self.say(f"revision {live.revision} is the same already")
                return live
            refused = [line for line in compare(facts, wanted, self._place(target.spec), ()) if line.cure]
            if refused and target.savepoint:
                self.say(f"{refused[0].subject}: {refused[0].reason}")
                self.say(f"going back to the savepoint of revision {target.revision}: rows since are written again")
                live = self.savepoint(job)
            elif refused:
                raise Failure(f"{refused[0].subject}: {refused[0].reason}", refused[0].cure, Exit.REFUSED)
            else:
                start = replace(GO_ON, lost=True)
        elif not target.savepoint:
            what = f"{job} does not run, and revision {target.revision} left no savepoint"
            raise Failure(what, f"spanmill job deploy {job} --from URI", Exit.REFUSED)
        new = replace(target, state=RevisionState.DEPLOYING, message="", flink_job="", started_from=start.savepoint,
                      savepoint="", operator=self.operator, created_at=self.now(), changed_at=self.now())  # fmt: skip
        return self._bring(add_revision(self.engine, new), live, start, timeout)

    def stop(self, job: str) -> Revision:
        live = running_one(self.live(job), job)
        before = self.kubectl.get(_KIND, job) or {}
        self.kubectl.patch(_KIND, job, {"spec": {"job": {"state": "suspended"}}})
        waiting = Waiting(_SAVEPOINT_S)
        while not _seen(found := self.kubectl.get(_KIND, job)) or _lifecycle(found) != "SUSPENDED":
            waiting.pause("the operator has not stopped it yet")
        live = self._note(live, RevisionState.STOPPED, "stopped")
        taken = self._taken(job, before)
        if not taken:
            raise Failure(f"{job} is stopped, but the operator names no savepoint", f"spanmill job status {job}")
        return note(self.engine, live, self.now(), savepoint=taken)

    def savepoint(self, job: str) -> Revision:
        live = running_one(self.live(job), job)
        uri = self._snapshot(live, "savepoint", Waiting(_SAVEPOINT_S))
        return note(self.engine, live, self.now(), savepoint=uri)

    def status(self, job: str) -> dict[str, Any]:
        """What the operator says, of a job that is stopped too."""
        found = self.kubectl.get(_KIND, job)
        if found is None:
            raise Failure(f"{job} does not run", f"spanmill job deploy {job}", Exit.REFUSED)
        said, now = found.get("status", {}), _job_status(found)
        number = found["metadata"].get("annotations", {}).get(REVISION)
        return {
            "job": job,
            "revision": int(number) if number else None,
            "flink_job": now.get("jobId"),
            "state": (now.get("state") or "not started").lower(),
            "lifecycle": _lifecycle(found).lower(),
            "image": found["spec"].get("image"),
            "parallelism": found["spec"]["job"].get("parallelism"),
            "task_managers": said.get("taskManager", {}).get("replicas"),
            "savepoint": now.get("upgradeSavepointPath"),
            "last_failure": said.get("error"),
        }

    def logs(self, job: str, lines: int, follow: bool) -> Iterator[str]:
        running_one(self.live(job), job)
        return self.kubectl.logs(f"app={job},type=flink-native-kubernetes", lines, follow)

    def _note(self, revision: Revision, state: RevisionState, message: str) -> Revision:
        return note(self.engine, revision, self.now(), state=state, message=message)


def _job_status(found: Object | None) -> Object:
    return ((found or {}).get("status") or {}).get("jobStatus") or {}


def _lifecycle(found: Object | None) -> str:
    return ((found or {}).get("status") or {}).get("lifecycleState") or "CREATED"


def _seen(found: Object | None) -> bool:
    """Whether the status is of the spec that was applied last."""
    if found is None:
        return False
    return (found.get("status") or {}).get("observedGeneration", 0) >= found["metadata"].get("generation", 1)
