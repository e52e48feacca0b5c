"""Alert rules, incidents and deliveries in the control database, on SQLite and on Postgres."""

from typing import Any

import pytest
import sqlalchemy as sa

from services.control.alerts import (
    alert_history,
    apply_alerts,
    current_alerts,
    plan_alerts,
    receivers_of,
    silence,
    silences,
)
from services.control.database import NotFound
from services.control.deliveries import Status, claim, delivered, deliveries, due, not_delivered
from services.control.incidents import expire, hear, incidents
from tests.services.control.engines import NOW
from transforms.alerts.parse import parse_file

RULE = {"name": "spend", "kind": "threshold", "metric": "cost", "above": 5, "receivers": ["hook"]}
HOOK = {"name": "hook", "webhook": {"url": "https://hooks.example.com/a", "secret": "0123456789abcdef"}}
SECOND = 10**9


def _apply(engine: sa.Engine, *rules: dict[str, Any], hook: dict[str, Any] = HOOK, now: int = NOW):
    groups = [{"name": "cost", "rules": list(rules)}]
    wanted = parse_file({"org": "local", "receivers": [hook], "groups": groups})
    planned = plan_alerts(engine, wanted, groups)
    applied = apply_alerts(engine, wanted, groups, "ann", now)
    assert applied.changes == planned
    return [(change.what, change.name, change.change, change.note) for change in applied.changes]


def test_a_file_is_applied_once_and_each_change_is_a_revision(engine: sa.Engine):
    assert _apply(engine, RULE) == [("rule", "cost/spend", "added", ""), ("receiver", "hook", "added", "")]
    assert _apply(engine, RULE, now=NOW + 1) == []
    other = RULE | {"name": "tokens"}
    new_secret = {"name": "hook", "webhook": {**HOOK["webhook"], "secret": "fedcba9876543210"}}
    changes = _apply(engine, RULE | {"above": 6}, other, hook=new_secret, now=NOW + 2)
    assert changes == [
        ("rule", "cost/tokens", "added", ""),
        ("rule", "cost/spend", "changed", ""),
        ("receiver", "hook", "changed", "its secret"),
    ]
    assert _apply(engine, other, hook=new_secret, now=NOW + 3) == [("rule", "cost/spend", "removed", "")]
    assert [(one.revision, one.actor, one.changed_at - NOW) for one in alert_history(engine, "local")] == [
        (3, "ann", 3),
        (2, "ann", 2),
        (1, "ann", 0),
    ]
    [current] = current_alerts(engine)
    assert current.groups == [{"name": "cost", "rules": [other]}]
    assert receivers_of(engine, "local")["hook"].secret == "fedcba9876543210"
    assert "fedcba" not in repr(alert_history(engine, "local")) + repr(current)


def test_an_organisation_that_is_not_there_has_no_alerts(engine: sa.Engine):
    wanted = parse_file({"org": "nobody"})
    with pytest.raises(NotFound, match="spanmill org create nobody"):
        apply_alerts(engine, wanted, [], "ann", NOW)


def test_a_silence_ends_by_itself_and_wants_a_rule(engine: sa.Engine):
    _apply(engine, RULE)
    silence(engine, "local", "cost/spend", NOW + 5, "test", "ann")
    assert silences(engine, NOW) == {("local", "cost/spend"): NOW + 5}
    assert silences(engine, NOW + 5) == {}
    with pytest.raises(NotFound, match="no rule 'cost/x'"):
        silence(engine, "local", "cost/x", NOW, "test", "ann")


def _told(state: str, id_: str = "i1", at: int = 0, labels: str = "{}") -> dict[str, Any]:
    started = NOW + at
    row = {"org": "local", "incident_id": id_, "rule": "cost/spend", "state": state, "labels": labels, "text": state}
    return row | {"started_at": started, "at": started, "valid_until": started + 100 * SECOND}


def _states(engine: sa.Engine) -> list[tuple[str, str]]:
    return sorted((one.incident_id, one.state) for one in incidents(engine))


def test_each_state_is_one_delivery_however_often_it_is_told(engine: sa.Engine):
    for state in ("pending", "firing", "firing", "pending", "resolved", "resolved", "firing", "pending"):
        hear(engine, _told(state), ["a", "b"], NOW)
    assert _states(engine) == [("i1", "resolved")]
    found = sorted((one.state, one.receiver, one.status) for one in deliveries(engine))
    assert found == [(state, who, "due") for state in ("firing", "resolved") for who in ("a", "b")]


def test_what_was_pending_only_is_told_to_nobody(engine: sa.Engine):
    for state in ("pending", "ok", "ok"):
        hear(engine, _told(state), ["a"], NOW)
    assert (_states(engine), deliveries(engine)) == ([("i1", "ok")], [])
    hear(engine, _told("resolved", "i2"), ["a"], NOW)
    assert deliveries(engine) == []


def test_that_it_is_resolved_waits_for_that_it_fires(engine: sa.Engine):
    hear(engine, _told("firing"), ["a"], NOW)
    hear(engine, _told("resolved"), ["a"], NOW)
    [first] = due(engine, NOW)
    assert (first.state, first.message["text"], first.incident_state) == ("firing", "firing", "resolved")
    assert claim(engine, first, NOW) and not claim(engine, first, NOW)
    assert due(engine, NOW) == []
    not_delivered(engine, first, "refused", NOW + 5 * SECOND)
    [again] = due(engine, NOW + 5 * SECOND)
    assert (again.state, again.attempts, again.error, again.status) == ("firing", 1, "refused", Status.DUE)
    delivered(engine, again, NOW + 5 * SECOND, None)
    [last] = due(engine, NOW + 5 * SECOND)
    assert last.state == "resolved"
    not_delivered(engine, last, "no such address", None)
    assert due(engine, NOW + 500 * SECOND) == []
    assert {one.state: one.status for one in deliveries(engine)} == {"firing": "done", "resolved": "failed"}


def test_a_notifier_that_died_gives_its_delivery_back(engine: sa.Engine):
    hear(engine, _told("firing"), ["a"], NOW)
    [one] = due(engine, NOW)
    assert claim(engine, one, NOW)
    assert due(engine, NOW + 29 * SECOND) == []
    assert [again.attempts for again in due(engine, NOW + 30 * SECOND)] == [1]


def test_what_is_not_heard_of_expires_unsaid_and_may_go_on(engine: sa.Engine):
    hear(engine, _told("firing"), ["a"], NOW)
    assert expire(engine, NOW + 99 * SECOND) == 0
    assert expire(engine, NOW + 101 * SECOND) == 1
    assert _states(engine) == [("i1", "expired")]
    assert hear(engine, _told("firing", at=60 * SECOND), ["a"], NOW) is False
    assert (_states(engine), len(deliveries(engine))) == ([("i1", "firing")], 1)


def test_an_incident_that_a_replay_did_not_find_ends_where_the_next_of_its_series_begins(engine: sa.Engine):
    hear(engine, _told("firing", "i1", labels='{"model": "a"}'), ["a"], NOW)
    hear(engine, _told("firing", "i2", labels='{"model": "b"}'), ["a"], NOW)
    hear(engine, _told("firing", "i3", at=60 * SECOND, labels='{"model": "a"}'), ["a"], NOW)
    assert _states(engine) == [("i1", "resolved"), ("i2", "firing"), ("i3", "firing")]
    assert sorted((one.incident_id, one.state) for one in deliveries(engine)) == [
        ("i1", "firing"),
        ("i1", "resolved"),
        ("i2", "firing"),
        ("i3", "firing"),
    ]
