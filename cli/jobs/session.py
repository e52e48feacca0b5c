"""A Flink session cluster as a target of the commands; cli/jobs/deploy.py does the work."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from cli.jobs import deploy
from cli.jobs.client import JobClient, job_client
from cli.jobs.code import store
from cli.jobs.deploy import Cluster
from cli.jobs.flink_rest import FlinkRest
from cli.jobs.plan import Plan
from cli.jobs.spec import JobSpec, access_of
from cli.jobs.target import TargetName, Wish
from services.control.jobs import Revision


class Session(Cluster):
    @property
    def name(self) -> TargetName:
        return TargetName.session

    def states(self) -> Mapping[str, str]:
        return {job["name"]: job["state"] for job in reversed(self.rest.jobs())}

    def live(self, job: str) -> Revision | None:
        return deploy.live_revision(self, job)

    def client(self, spec: JobSpec) -> AbstractContextManager[JobClient]:
        return job_client(spec.entry, {**spec.settings, **access_of(self.running)}, store(self.running.code))

    def plan(self, spec: JobSpec, client: JobClient, wish: Wish) -> Plan:
        return deploy.make_plan(self, spec, client, wish)

    def apply(self, spec: JobSpec, plan: Plan, client: JobClient, timeout: float) -> Revision:
        return deploy.apply(self, spec, plan, client, timeout)

    def rollback(self, entry: str, job: str, number: int | None, timeout: float) -> Revision:
        return deploy.rollback(self, entry, job, number, timeout)

    def stop(self, job: str) -> Revision:
        return deploy.stop(self, job)

    def savepoint(self, job: str) -> Revision:
        return deploy.savepoint(self, job)

    def status(self, job: str) -> dict[str, Any]:
        live = deploy.require_live(self, job)
        now = self.rest.job(live.flink_job)
        latest = self.rest.checkpoints(live.flink_job)["latest"]["completed"] or {}
        return {
            "job": job,
            "revision": live.revision,
            "flink_job": now.id,
            "state": now.state.lower(),
            "tasks": f"{now.running}/{now.tasks}",
            "lag_records": deploy.lag_of(self, job, live.spec["topic"]),
            "checkpoints": now.checkpoints,
            "checkpoint_bytes": latest.get("state_size"),
            "checkpoint_ms": latest.get("end_to_end_duration"),
            "restarts": now.restarts,
            "last_failure": now.failure or None,
        }

    def logs(self, job: str, lines: int, follow: bool) -> Iterator[str]:
        deploy.require_live(self, job)
        seen: dict[str, int] = {}
        yield from _new_lines(self.rest, seen, lines)
        while follow:
            time.sleep(1)
            yield from _new_lines(self.rest, seen, lines)


def _new_lines(rest: FlinkRest, seen: dict[str, int], lines: int) -> Iterator[str]:
    """What each log has beyond `seen` characters, or its last `lines` when it is new. Brings `seen` up to date."""
    lengths = {}
    for process, text in rest.logs():
        new = text[seen[process] :].splitlines() if process in seen else text.splitlines()[-lines:]
        yield from (f"{process}  {line}\n" for line in new)
        lengths[process] = len(text)
    seen.clear()
    seen.update(lengths)
