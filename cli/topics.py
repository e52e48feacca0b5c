"""Creates topics, and says where an existing one is not as `schemas/topics.py` wants it.

Only what is missing is made: a setting that differs may be so for a reason, and is shown with its cure.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from cli.exits import Exit, Failure
from cli.kafka import Brokers, FoundTopic
from schemas.topics import Topic

_SEEN_S = 30
_POLL_S = 0.05


class TopicState(StrEnum):
    APPLIED = "applied"
    PENDING = "pending"
    DIFFERS = "differs"


@dataclass(frozen=True)
class Difference:
    """A setting of a topic that is not the wanted one. barred: nothing can make it so."""

    setting: str
    found: str
    wanted: str
    cure: str
    barred: bool = False

    def __str__(self) -> str:
        return f"is {self.found}, wanted {self.wanted}: {self.cure}"


@dataclass(frozen=True)
class Look:
    """A topic beside what is wanted. todo: what `bring` would do, '' for nothing."""

    topic: Topic
    todo: str
    differences: tuple[Difference, ...] = ()

    def refuse_barred(self) -> None:
        """Raises Failure (refused) when it can never be what is wanted."""
        for one in self.differences:
            if one.barred:
                what = f"{self.topic.name} cannot be used: {one.setting} is {one.found}, wanted {one.wanted}"
                raise Failure(what, one.cure, Exit.REFUSED)

    def rows(self) -> list[dict[str, Any]]:
        """A row for the topic, or one for each setting of it that differs: migration, state, note."""
        rows: list[tuple[str, TopicState, str | None]]
        rows = [(f"{self.topic.name} {one.setting}", TopicState.DIFFERS, str(one)) for one in self.differences]
        if self.todo or not rows:
            state = TopicState.PENDING if self.todo else TopicState.APPLIED
            rows.insert(0, (self.topic.name, state, self.todo or None))
        return [{"schema": "topic", "migration": name, "state": str(state), "note": note} for name, state, note in rows]


def look(brokers: Brokers, topic: Topic, partitions: int | None = None) -> Look:
    """How `topic` is; with `partitions` it shall have so many. Raises Failure when no broker answers."""
    found, count = brokers.topic(topic.name), brokers.count()
    if found is None:
        new = _new(topic, partitions)
        return Look(topic, f"create with {new.partitions} partitions, replication factor {topic.replicas(count)}")
    todo = f"{found.partitions} partitions become {partitions}" if (partitions or 0) > found.partitions else ""
    return Look(topic, todo, tuple(_differences(brokers.address, topic, found, count, partitions)))


def bring(brokers: Brokers, topic: Topic, partitions: int | None = None) -> Look:
    """Creates `topic` or raises its partitions, waits until the brokers show it, and returns how it was before.

    Raises Failure (refused) before anything is done when it can never be what is wanted.
    """
    before = look(brokers, topic, partitions)
    before.refuse_barred()
    if not before.todo:
        return before
    new = _new(topic, partitions)
    found = brokers.topic(topic.name)
    if found is None:
        replicas = topic.replicas(brokers.count())
        brokers.create_topic(topic.name, new.partitions, replicas, topic.settings(replicas))
    elif found.partitions < new.partitions:
        brokers.raise_partitions(topic.name, new.partitions)
    deadline = time.monotonic() + _SEEN_S
    while brokers.partitions(topic.name) == (found.partitions if found else 0):
        if time.monotonic() > deadline:
            raise Failure(f"{topic.name} was not seen within {_SEEN_S} s", "run it again", Exit.TIMED_OUT)
        time.sleep(_POLL_S)
    return before


def _new(topic: Topic, partitions: int | None) -> Topic:
    return replace(topic, partitions=partitions or topic.partitions)


def _differences(
    address: str, topic: Topic, found: FoundTopic, brokers: int, partitions: int | None
) -> Iterator[Difference]:
    anew = f"delete the topic and what is in it, or take another one: spanmill migrate creates {topic.name}"
    if partitions is not None and found.partitions > partitions:
        cure = f"Kafka takes no partition away: --partitions {found.partitions}, or {anew}"
        yield Difference("partitions", str(found.partitions), str(partitions), cure, barred=True)
    elif partitions is None and found.partitions < topic.partitions:
        cure = f"spanmill migrate --partitions {topic.partitions}"
        yield Difference("partitions", str(found.partitions), f"at least {topic.partitions}", cure)
    # A broker that is down for a moment does not make fewer replicas right.
    replicas = max(found.replicas, topic.replicas(brokers))
    if found.replicas < replicas:
        cure = f'kafka-reassign-partitions.sh --bootstrap-server {address} (Kafka, "Increasing replication factor")'
        yield Difference("replication factor", str(found.replicas), str(replicas), cure)
    for name, wanted in topic.settings(replicas).items():
        value = found.settings.get(name, "")
        if value == wanted:
            continue
        if name == "cleanup.policy" and "compact" in value:
            cure = f"compaction refuses records without a key, which ours are: {anew}"
            yield Difference(name, value, wanted, cure, barred=True)
        else:
            yield Difference(name, value, wanted, _alter(address, topic.name, f"{name}={wanted}"))


def _alter(address: str, topic: str, setting: str) -> str:
    command = f"kafka-configs.sh --bootstrap-server {address} --alter --entity-type topics --entity-name {topic}"
    return f"{command} --add-config {setting}"
