"""A stand-in for kubectl, an API server and the Flink Kubernetes Operator, as far as `spanmill job` asks them.

Run as a program named kubectl. Objects lie in the folder FAKE_KUBECTL as JSON; each `get` is a step of the operator.
calls.jsonl: what was asked. runs.jsonl: each start of a job: its image, the savepoint it began with.
operator.json says what goes wrong: down, unknown (no such kind), failing and stuck (images), refused (savepoints fail).
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

HOME = Path(os.environ["FAKE_KUBECTL"])
SIGNIFICANT_NOT = ("upgradeMode", "initialSavepointPath", "savepointRedeployNonce", "allowNonRestoredState")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*")
    for option in ("namespace", "context", "output", "filename", "type", "patch", "selector", "tail", "wait"):
        parser.add_argument(f"--{option}")
    parser.add_argument("--request-timeout")
    parser.add_argument("--max-log-requests")
    for flag in ("--ignore-not-found", "--prefix", "--follow"):
        parser.add_argument(flag, action="store_true")
    asked = parser.parse_args()
    verb, *rest = asked.words
    given: Any = json.load(sys.stdin) if asked.filename else json.loads(asked.patch or "null")
    _append("calls", {"verb": verb, "words": rest, "given": given, "namespace": asked.namespace, "argv": sys.argv[1:]})
    wrong = _wrong()
    if wrong.get("down"):
        print(
            "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host?", file=sys.stderr
        )
        return 1
    if wrong.get("unknown") and verb != "logs":
        print('error: the server doesn\'t have a resource type "flinkdeployments"', file=sys.stderr)
        return 1
    match verb:
        case "apply":
            for item in given["items"]:
                apply(item)
        case "patch":
            found = _read(*rest)
            apply(_merged(found, given))
        case "delete":
            _file(*rest).unlink(missing_ok=True)
        case "get":
            if _file(*rest).exists():
                step(*rest)
                print(json.dumps(_read(*rest)))
        case "logs":
            assert asked.selector and asked.tail
            for pod in ("observe-7d9f", "observe-taskmanager-1-1"):
                print(f"[pod/{pod}/flink-main-container] {asked.selector} {asked.tail}")
    return 0


def apply(wanted: dict[str, Any]) -> None:
    kind, name = wanted["kind"], wanted["metadata"]["name"]
    old = _read(kind, name) if _file(kind, name).exists() else {"metadata": {"generation": 0}, "status": {}}
    generation = old["metadata"]["generation"] + (old.get("spec") != wanted.get("spec"))
    new = {**wanted, "metadata": {**wanted["metadata"], "generation": generation}, "status": old["status"]}
    new["todo"] = old.get("todo", [])
    if kind == "FlinkDeployment" and generation != old["metadata"]["generation"]:
        new["todo"] = [{}, *_steps(old, new)]  # it has not seen it at once
    if kind == "FlinkStateSnapshot":
        what = "savepoint" if "savepoint" in wanted["spec"] else "checkpoint"
        failed = what in _wrong().get("refused", [])
        end = {"state": "FAILED", "error": "disk full"} if failed else {"state": "COMPLETED", "path": _path(what)}
        new["todo"] = [{"state": "TRIGGER_PENDING"}, {"state": "IN_PROGRESS"}, end]
    _file(kind, name).write_text(json.dumps(new))


def _steps(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    """The statuses that the operator moves through."""
    seen = {"observedGeneration": new["metadata"]["generation"]}
    before, job = old.get("spec", {}).get("job", {}), new["spec"]["job"]
    nonce = job.get("savepointRedeployNonce")
    redeploy = nonce is not None and nonce != before.get("savepointRedeployNonce")
    significant = [{k: v for k, v in one.items() if k not in SIGNIFICANT_NOT} for one in (before, job)]
    others = [{k: v for k, v in one.get("spec", {}).items() if k != "job"} for one in (old, new)]
    if not redeploy and significant[0] == significant[1] and others[0] == others[1]:
        return [seen]
    was_running = before.get("state") == "running"
    at = old["status"].get("jobStatus", {}).get("upgradeSavepointPath")
    if redeploy or (not was_running and not before and job.get("initialSavepointPath")):
        at = job["initialSavepointPath"]
    elif was_running and job["upgradeMode"] == "savepoint":
        at = _path("savepoint")
    elif job["upgradeMode"] == "stateless":
        at = None
    said = {"jobId": "0a" * 16, **({"upgradeSavepointPath": at} if at else {})}
    if job["state"] == "suspended":
        return [{**seen, "lifecycleState": "SUSPENDED", "jobStatus": {**said, "state": "FINISHED"}}]
    _append("runs", {"image": new["spec"]["image"], "from": at})
    begun = {**seen, "lifecycleState": "DEPLOYED", "jobStatus": {**said, "state": "CREATED"}}
    last = {**seen, "lifecycleState": "STABLE", "jobStatus": {**said, "state": "RUNNING"}, "error": ""}
    if new["spec"]["image"] in _wrong().get("failing", []):
        last |= {"lifecycleState": "FAILED", "jobStatus": {**said, "state": "FAILED"}, "error": "ImagePullBackOff"}
    if new["spec"]["image"] in _wrong().get("stuck", []):
        last = begun
    return [{**seen, "lifecycleState": "UPGRADING", "jobStatus": {**said, "state": "FINISHED"}}, begun, last]


def step(kind: str, name: str) -> None:
    found = _read(kind, name)
    if found.get("todo"):
        found["status"] = {**found["status"], **found["todo"].pop(0)}
        _file(kind, name).write_text(json.dumps(found))


def _path(what: str) -> str:
    taken = HOME / f"{what}s"
    number = len(taken.read_text()) if taken.exists() else 0
    taken.write_text("x" * (number + 1))
    return f"s3://bucket/observe/{what}s/{what}-{number + 1}"


def _merged(old: Any, change: Any) -> Any:
    if not isinstance(change, dict) or not isinstance(old, dict):
        return change
    return {**old, **{key: _merged(old.get(key), value) for key, value in change.items()}}


def _file(kind: str, name: str) -> Path:
    return HOME / f"{kind.split('.')[0].lower().removesuffix('s')}-{name}.json"


def _read(kind: str, name: str) -> dict[str, Any]:
    return json.loads(_file(kind, name).read_text())


def _wrong() -> dict[str, Any]:
    file = HOME / "operator.json"
    return json.loads(file.read_text()) if file.exists() else {}


def _append(name: str, row: dict[str, Any]) -> None:
    with (HOME / f"{name}.jsonl").open("a") as out:
        out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    sys.exit(main())
