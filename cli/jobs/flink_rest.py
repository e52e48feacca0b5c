"""What the commands ask of a Flink cluster over its REST interface (Flink documentation, "REST API")."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2

from cli.exits import Exit, Failure

_POLL_S = 0.2
ENDED = ("FINISHED", "CANCELED", "FAILED", "SUSPENDED")


@dataclass(frozen=True)
class JobState:
    """How a job is. checkpoints: completed since it was submitted. failure: the newest exception, '' for none."""

    id: str
    name: str
    state: str
    running: int  # tasks
    tasks: int
    checkpoints: int
    restarts: int
    failure: str

    @property
    def all_running(self) -> bool:
        return self.state == "RUNNING" and self.running == self.tasks > 0


class FlinkRest:
    """A cluster at http://host:port. Each method raises Failure when the cluster does not answer or refuses."""

    def __init__(self, url: str, timeout: float = 10) -> None:
        self.url = url
        self._timeout = timeout

    def version(self) -> str:
        return self._get("/config")["flink-version"]

    def jobs(self) -> list[dict[str, Any]]:
        """jid, name, state of each job that the cluster knows, the newest first."""
        return sorted(self._get("/jobs/overview")["jobs"], key=lambda job: -job["start-time"])

    def free_slots(self, name: str) -> int:
        """Slots that the job `name` could have: those that are free, and those that it has."""
        free = self._get("/overview")["slots-available"]
        held = [vertex["parallelism"] for job in self.running(name) for vertex in self._get(f"/jobs/{job}")["vertices"]]
        return free + max(held, default=0)

    def running(self, name: str) -> list[str]:
        """Ids of the jobs of this name that have not ended."""
        return [job["jid"] for job in self.jobs() if job["name"] == name and job["state"] not in ENDED]

    def job(self, job: str) -> JobState:
        found = self._get(f"/jobs/{job}")
        tasks = found["status-counts"]
        checkpoints = self._get(f"/jobs/{job}/checkpoints")["counts"]
        entries = self._get(f"/jobs/{job}/exceptions?maxExceptions=1")["exceptionHistory"]["entries"]
        parallel = [vertex["tasks"] for vertex in found["vertices"]]
        return JobState(
            id=job,
            name=found["name"],
            state=found["state"],
            running=sum(vertex["RUNNING"] for vertex in parallel),
            tasks=sum(sum(vertex.values()) for vertex in parallel),
            checkpoints=checkpoints["completed"],
            restarts=int(self._job_metric(job, "numRestarts") or 0) if tasks else 0,
            failure=_reason(entries[0]["stacktrace"]) if entries else "",
        )

    def checkpoints(self, job: str) -> dict[str, Any]:
        return self._get(f"/jobs/{job}/checkpoints")

    def _job_metric(self, job: str, name: str) -> str | None:
        values = self._get(f"/jobs/{job}/metrics?get={name}")
        return values[0]["value"] if values else None

    def task_managers(self, job: str) -> list[str]:
        """Ids of the TaskManagers that run tasks of the job, in order."""
        vertices = [vertex["id"] for vertex in self._get(f"/jobs/{job}")["vertices"]]
        subtasks = [task for vertex in vertices for task in self._get(f"/jobs/{job}/vertices/{vertex}")["subtasks"]]
        return sorted({task["taskmanager-id"] for task in subtasks})

    def busy_ms(self, job: str) -> dict[str, float]:
        """ms that each vertex of the graph was busy since the job was submitted, all subtasks together."""
        found = {}
        for vertex in self._get(f"/jobs/{job}")["vertices"]:
            subtasks = self._get(f"/jobs/{job}/vertices/{vertex['id']}")["subtasks"]
            found[vertex["name"]] = sum(task["metrics"]["accumulated-busy-time"] for task in subtasks)
        return found

    def savepoint(self, job: str, folder: str, timeout: float) -> str:
        """Takes a savepoint of a running job; its URI."""
        body = {"cancel-job": False, "target-directory": folder, "formatType": "CANONICAL"}
        return self._awaited(job, self._post(f"/jobs/{job}/savepoints", body), timeout)

    def stop(self, job: str, folder: str, timeout: float) -> str:
        """Stops a job with a savepoint; the savepoint's URI. A job that fails to write one goes on."""
        body = {"drain": False, "targetDirectory": folder, "formatType": "CANONICAL"}
        uri = self._awaited(job, self._post(f"/jobs/{job}/stop", body), timeout)
        self.wait_ended(job, timeout)
        return uri

    def cancel(self, job: str, timeout: float) -> None:
        """Ends a job without a savepoint; one that has ended already stays so."""
        self._asked("PATCH", f"/jobs/{job}?mode=cancel", ok=(202, 404, 409))
        self.wait_ended(job, timeout)

    def wait_ended(self, job: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self._get(f"/jobs/{job}")["state"] not in ENDED:
            if time.monotonic() > deadline:
                raise Failure(f"the job {job} did not end within {timeout:.0f} s", code=Exit.TIMED_OUT)
            time.sleep(_POLL_S)

    def _awaited(self, job: str, trigger: dict[str, str], timeout: float) -> str:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            answer = self._get(f"/jobs/{job}/savepoints/{trigger['request-id']}")
            if answer["status"]["id"] == "COMPLETED":
                done = answer["operation"]
                if "location" in done:
                    return done["location"]
                raise Failure(f"no savepoint could be taken: {_reason(done['failure-cause']['stack-trace'])}")
            time.sleep(_POLL_S)
        raise Failure(f"no savepoint within {timeout:.0f} s; the job runs on", code=Exit.TIMED_OUT)

    def logs(self) -> Iterator[tuple[str, str]]:
        """(process, its log) of the JobManager and of each TaskManager."""
        yield "jobmanager", self._asked("GET", "/jobmanager/log").text
        for manager in self._get("/taskmanagers")["taskmanagers"]:
            path = f"/taskmanagers/{quote(manager['id'], safe='')}/log"
            yield f"taskmanager {manager['id']}", self._asked("GET", path).text

    def _get(self, path: str) -> Any:
        return self._asked("GET", path).json()

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._asked("POST", path, json=body).json()

    def _asked(self, method: str, path: str, ok: tuple[int, ...] = (), **body: Any) -> httpx2.Response:
        try:
            answer = httpx2.request(method, self.url + path, timeout=self._timeout, **body)
        except httpx2.HTTPError as error:
            what = f"Flink at {self.url} does not answer: {error}"
            raise Failure(what, "spanmill cluster status", Exit.CANNOT_CONNECT) from error
        if answer.status_code >= 400 and answer.status_code not in ok:
            raise Failure(f"Flink refused {method} {path}: {answer.status_code} {_errors(answer)}")
        return answer


def _errors(answer: httpx2.Response) -> str:
    try:
        return "; ".join(_reason(error) for error in answer.json()["errors"])
    except (ValueError, KeyError):
        return answer.text[:500]


def _reason(trace: str) -> str:
    """The innermost message of a Java stack trace."""
    causes = [line for line in trace.splitlines() if line.startswith("Caused by: ")]
    return (causes[-1].removeprefix("Caused by: ") if causes else trace.split("\n", 1)[0]).strip()
