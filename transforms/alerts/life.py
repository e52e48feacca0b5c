"""The life of an incident: ok, pending, firing, and ok again. One step a minute, each minute once."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b


class State(StrEnum):
    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"  # only told, never kept: it is ok from then on


@dataclass(frozen=True)
class Life:
    """since: minute in which it began to be pending, or the incident did. calm: since when it is calm, 0 for not."""

    state: State = State.OK
    since: int = 0
    calm: int = 0


def step(life: Life, minute: int, breached: bool, calm: bool, hold: int, rest: int) -> tuple[Life, State | None]:
    """`life` after `minute`, and the state to tell when it changed.

    breached: beyond the limit. calm: on the safe side of where it resolves; between the two it stays as it is, so that
    a value that trembles about the limit is one incident. hold, rest: minutes of being breached before it fires, and
    of being calm before it is resolved. A minute before the incident began says nothing about it.
    """
    if life.state is State.FIRING:
        if minute < life.since:
            return life, None
        if not calm:
            return Life(State.FIRING, life.since), None
        since = life.calm or minute
        if minute - since >= rest:
            return Life(), State.RESOLVED
        return Life(State.FIRING, life.since, since), None
    if not breached:
        return Life(), State.OK if life.state is State.PENDING else None
    since = life.since if life.state is State.PENDING else minute
    if minute - since >= hold:
        return Life(State.FIRING, since), State.FIRING
    return Life(State.PENDING, since), State.PENDING if life.state is State.OK else None


def incident_id(org: str, rule: str, group: tuple[str, ...], since: int) -> str:
    """Of the incident of a series that began in the minute `since`: the same from the same data, however often it is
    found."""
    return blake2b(repr((org, rule, group, since)).encode(), digest_size=12).hexdigest()
