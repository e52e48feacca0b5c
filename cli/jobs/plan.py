"""What a deployment would change, line by line, and whether the job's state survives it. Pure: facts in, plan out."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

FLINK_VERSION = "2.2"  # the minor version that the jobs are built and tested for


class Label(StrEnum):
    """How a change fares with the state of the running job, from harmless to refused."""

    COMPATIBLE = "compatible"
    NEEDS_SAVEPOINT = "needs savepoint"
    LOSES_STATE = "loses state"
    BREAKING = "breaking"


@dataclass(frozen=True)
class Line:
    """One change. cure: what to do about it, '' where nothing is needed."""

    subject: str
    old: str
    new: str
    label: Label
    reason: str
    cure: str = ""


@dataclass(frozen=True)
class Facts:
    """A job as it is or as it is wanted. graph: uids, states (uid -> state name -> schema version), max_parallelism."""

    spec: Mapping[str, Any]
    code: str
    graph: Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """What the cluster and its surroundings say. partitions: of the topic. slots: that the job could have.

    migrations: that the store still needs. absent: topics that the job needs besides the one that it reads.
    """

    flink_version: str
    partitions: int
    slots: int
    migrations: Sequence[str] = ()
    absent: Sequence[str] = ()


@dataclass(frozen=True)
class Plan:
    """Changes from revision `base` (0: none) that runs as `flink_job` ('': does not run) to `wanted`.

    savepoint: URI that the job begins with when it does not run, '' for an empty state. lost: uids whose state the
    operator gave up by name.
    """

    job: str
    target: str
    cluster: str
    base: int
    flink_job: str
    savepoint: str
    wanted: Facts
    lost: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def changes(self) -> bool:
        """Whether applying it would do anything."""
        return bool(self.lines)

    @property
    def refused(self) -> list[Line]:
        """The lines that bar it: breaking ones, and state that nobody gave up by name."""
        return [line for line in self.lines if line.label in (Label.BREAKING, Label.LOSES_STATE) and line.cure]

    @property
    def digest(self) -> str:
        """SHA-256 of all that the plan depends on: equal digests mean equal plans of an unmoved cluster."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"digest": self.digest}, indent=1)


def compare(running: Facts | None, wanted: Facts, place: Place, lost: Sequence[str]) -> tuple[Line, ...]:
    """The lines of a plan. running: whose state the job goes on with; None when it begins with an empty one."""
    lines = [*_cluster(wanted, place), *_tables(place)]
    if running is None:
        buckets = f", {wanted.spec['buckets']} buckets" if "buckets" in wanted.spec else ""
        new = f"parallelism {wanted.spec['parallelism']}{buckets}"
        return (Line("job", "", new, Label.COMPATIBLE, "starts with an empty state, from the log's beginning"), *lines)
    return (*_settings(running.spec, wanted.spec), *_code(running, wanted), *_state(running, wanted, lost), *lines)


def _cluster(wanted: Facts, place: Place) -> Iterator[Line]:
    if not place.flink_version.startswith(FLINK_VERSION + "."):
        yield Line(
            "cluster", place.flink_version, FLINK_VERSION, Label.BREAKING,
            f"the job is built for Flink {FLINK_VERSION}", f"use a cluster of Flink {FLINK_VERSION}",
        )  # fmt: skip
    parallelism = wanted.spec["parallelism"]
    if place.partitions < parallelism:
        yield Line(
            "topic", f"{place.partitions} partitions", f"at least {parallelism}", Label.BREAKING,
            f"{parallelism - place.partitions} of {parallelism} subtasks would have nothing to read",
            f"spanmill migrate --partitions {parallelism}, or --parallelism {max(1, place.partitions)}",
        )  # fmt: skip
    for topic in place.absent:
        yield Line("topic", "", topic, Label.BREAKING, "the job needs it, and it is not there", "spanmill migrate")
    if place.slots < parallelism:
        yield Line(
            "slots", str(place.slots), f"at least {parallelism}", Label.BREAKING,
            "some subtasks would have no TaskManager",
            f"start {parallelism - place.slots} more TaskManagers, or --parallelism {max(1, place.slots)}",
        )  # fmt: skip


def _tables(place: Place) -> Iterator[Line]:
    for migration in place.migrations:
        yield Line("table", "", migration, Label.COMPATIBLE, "is applied before the job starts")


# Settings that the state in the savepoint is bound to: what goes wrong otherwise.
_BOUND = {
    "buckets": "a trace's state would be looked for in another bucket",
    "topic": "the source's offsets are those of the other topic",
}


def _settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Line]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if name in _BOUND:
            cure = f"--set {name}={before}, or stop the job and deploy it with --fresh: it reads the log anew"
            yield Line(name, _text(before), _text(after), Label.BREAKING, _BOUND[name], cure)
        else:
            reason = "the job is started again from a savepoint"
            yield Line(name, _text(before), _text(after), Label.NEEDS_SAVEPOINT, reason)


def _code(running: Facts, wanted: Facts) -> Iterator[Line]:
    if running.code != wanted.code:
        reason = "the job is started again from a savepoint"
        yield Line("code", short_code(running.code), short_code(wanted.code), Label.NEEDS_SAVEPOINT, reason)


def short_code(code: str) -> str:
    """A digest's beginning; a reference of an image as it is."""
    return code[:12] if len(code) == 64 and code.isalnum() else code


def _state(running: Facts, wanted: Facts, lost: Sequence[str]) -> Iterator[Line]:
    old, new = running.graph, wanted.graph
    if old["max_parallelism"] != new["max_parallelism"]:
        yield Line(
            "max parallelism", str(old["max_parallelism"]), str(new["max_parallelism"]), Label.BREAKING,
            "keys would belong to other key groups", "keep it, or stop the job and deploy it with --fresh",
        )  # fmt: skip
    for uid in sorted(set(old["uids"]) - set(new["uids"])):
        keyed = ", ".join(old["states"].get(uid, {}))
        if not keyed:
            yield Line(f"operator {uid}", uid, "", Label.COMPATIBLE, "is gone; it kept no state of ours")
            continue
        cure = "" if uid in lost else f"--allow-lost-state {uid}"
        yield Line(f"operator {uid}", uid, "", Label.LOSES_STATE, f"its state ({keyed}) has no reader any more", cure)
    for uid in sorted(set(new["uids"]) - set(old["uids"])):
        yield Line(f"operator {uid}", "", uid, Label.COMPATIBLE, "is new and starts empty")
    for uid in sorted(set(old["uids"]) & set(new["uids"])):
        before, after = old["states"].get(uid, {}), new["states"].get(uid, {})
        yield from _versions(uid, before, after)
        for name in sorted(before.keys() - after.keys()):
            # Flink would say nothing: it refuses only operators that are gone.
            cure = "" if uid in lost else f"--allow-lost-state {uid}"
            yield Line(f"state {uid}.{name}", name, "", Label.LOSES_STATE, "it has no reader any more", cure)


def _versions(uid: str, old: Mapping[str, int], new: Mapping[str, int]) -> Iterator[Line]:
    for name, version in new.items():
        before = old.get(name)
        if before is not None and before < version:
            reason = "the new code reads what the old one wrote; there is no way back to the old one with its state"
            yield Line(f"state {uid}.{name}", f"version {before}", f"version {version}", Label.NEEDS_SAVEPOINT, reason)
        if before is not None and before > version:
            yield Line(
                f"state {uid}.{name}", f"version {before}", f"version {version}", Label.BREAKING,
                "the new code cannot read what the old one wrote",
                "deploy the release that can, or stop the job and deploy it with --fresh",
            )  # fmt: skip


def foreign(operators: Iterable[Mapping[str, Any]], wanted: Facts) -> Iterator[Line]:
    """Lines that bar a savepoint which is not of this job, or was not written in thread mode.

    operators: uid, states, max_parallelism of each, as read from the savepoint.
    """
    found = {operator["uid"]: operator for operator in operators if operator["uid"]}
    ours = not found.keys().isdisjoint(wanted.graph["states"])
    for uid, states in wanted.graph["states"].items():
        if uid not in found and ours:
            continue  # an older release had no such operator: it starts empty
        if uid not in found:
            yield Line(
                "savepoint", "", uid, Label.BREAKING, f"holds no operator {uid}: it is a savepoint of another job",
                "name a savepoint of this job: spanmill job history",
            )  # fmt: skip
            continue
        names = set(found[uid]["states"])
        if names and not set(states) & names:
            yield Line(
                "savepoint", ", ".join(sorted(names)), ", ".join(states), Label.BREAKING,
                f"the states of {uid} have other names, as Flink's process mode gives them: the job would start empty",
                "name a savepoint that was taken in thread mode",
            )  # fmt: skip
        if found[uid]["max_parallelism"] != wanted.graph["max_parallelism"]:
            yield Line(
                "max parallelism", str(found[uid]["max_parallelism"]), str(wanted.graph["max_parallelism"]),
                Label.BREAKING, f"the state of {uid} belongs to other key groups", "name another savepoint",
            )  # fmt: skip


def _text(value: Any) -> str:
    return "" if value is None else json.dumps(value) if isinstance(value, dict) else str(value)
