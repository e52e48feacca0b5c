"""One rule over its series: takes what the minutes added up to, closes minutes, and says what changed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter

from transforms.alerts.cells import Sums
from transforms.alerts.judge import Verdict, is_early, judge
from transforms.alerts.life import Life, State, incident_id, step
from transforms.alerts.rules import OTHER, Rule
from transforms.alerts.series import Group, Series, place

# A firing incident is told again so often; who has not heard of it for RENEW + GRACE minutes may take it for gone.
RENEW, GRACE = 5, 15


@dataclass(frozen=True)
class Change:
    """What is told of an incident: at the end of `minute` it was `state`. since: the minute in which it began."""

    org: str
    rule: Rule
    group: Group
    incident_id: str
    state: State
    since: int
    minute: int
    value: float | None
    limit: float | None
    band: tuple[float, float] | None
    renewed: bool = False


def take(found: dict[Group, Series], minutes: Iterable[int], rows: Iterable[tuple[int, Group, Sums]]) -> set[Group]:
    """Sets what each series added up to in `minutes`, those without a row to nothing; the groups that have rows."""
    new: dict[Group, dict[int, Sums]] = {}
    for minute, group, sums in rows:
        series = place(found, group)
        if series is found.get(group):
            new.setdefault(group, {})[minute] = sums
        else:
            others = new.setdefault(tuple(OTHER for _ in group), {}).setdefault(minute, {})
            for name, value in sums.items():
                others[name] = others.get(name, 0) + value
    for minute in minutes:
        for series in found.values():
            series.open.pop(minute, None)
    for group, sums_of in new.items():
        found[group].open |= sums_of
        found[group].first = found[group].first or min(sums_of)
    return set(new)


def peek(org: str, rule: Rule, found: dict[Group, Series], groups: Iterable[Group], minutes: range) -> Iterator[Change]:
    """Incidents that begin in a minute which is not over, of rules that need not wait for its end."""
    if not is_early(rule):
        return
    for group in sorted(groups):
        series = found[group]
        for minute in minutes:
            if series.life.state is State.FIRING or minute not in series.open:
                continue
            verdict = judge(rule, series, minute)
            if verdict and verdict.breached:
                series.life = Life(State.FIRING, minute)
                yield _change(org, rule, group, series.life, State.FIRING, minute, verdict)


def close(org: str, rule: Rule, found: dict[Group, Series], minute: int, open_from: int) -> Iterator[Change]:
    """One step of each series at the end of `minute`; minutes before `open_from` can change no more."""
    for group, series in sorted(found.items(), key=itemgetter(0)):
        verdict = judge(rule, series, minute) if minute >= series.first else None
        if verdict:
            series.baseline = verdict.baseline or series.baseline
            before = series.life
            series.life, told = step(before, minute, verdict.breached, verdict.calm, rule.hold, rule.calm)
            life = series.life if series.life.since else before
            if told:
                yield _change(org, rule, group, life, told, minute, verdict)
        since = series.life.since
        if series.life.state is State.FIRING and minute > since and (minute - since) % RENEW == 0:
            verdict = verdict or Verdict(None, None, True, False)  # an anomaly between two of its steps
            yield _change(org, rule, group, series.life, State.FIRING, minute, verdict, renewed=True)
        series.freeze(rule, min(minute, open_from - 1))
        if series.is_over(rule, minute):
            yield from end(org, rule, {group: series}, minute)
            del found[group]


def end(org: str, rule: Rule, found: dict[Group, Series], minute: int) -> Iterator[Change]:
    """What is open ends: nobody asks any more."""
    for group, series in sorted(found.items(), key=itemgetter(0)):
        told = {State.FIRING: State.RESOLVED, State.PENDING: State.OK}.get(series.life.state)
        if told:
            yield _change(org, rule, group, series.life, told, minute, Verdict(None, None, False, True))


def _change(
    org: str, rule: Rule, group: Group, life: Life, state: State, minute: int, verdict: Verdict, renewed: bool = False
) -> Change:
    id_ = incident_id(org, rule.name, group, life.since)
    return Change(org, rule, group, id_, state, life.since, minute, verdict.value, verdict.limit, verdict.band, renewed)
