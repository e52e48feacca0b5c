"""What the notifier makes of what it hears: messages, who is told, and that nobody is held up by another's receiver."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from integration_tests.listeners import Webhook, eventually
from services.alerts.hearing import read_message, receivers_for
from services.alerts.metrics import Metrics
from services.alerts.settings import Settings
from services.alerts.telling import Teller, next_pause_s
from services.control.alerts import apply_alerts, silence
from services.control.database import open_database
from services.control.incidents import hear
from services.control.migrate import migrate
from services.control.organisations import create_org
from transforms.alerts.parse import parse_file

NOW = 1_790_000_000_000_000_000
SECRET = "0123456789abcdef"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = open_database(f"sqlite:///{tmp_path / 'control.db'}")
    migrate(made, NOW)
    yield made
    made.dispose()


def _told(org: str, id_: str, state: str = "firing") -> dict[str, Any]:
    row = {"org": org, "incident_id": id_, "rule": "g/r", "state": state, "labels": {"n": id_}, "receivers": ["hook"]}
    return row | {"started_at": NOW, "at": NOW, "valid_until": NOW + 10**12}


def _receiver(engine: sa.Engine, org: str, url: str) -> None:
    create_org(engine, org, org, False, NOW)
    groups = [{"name": "g", "rules": [{"name": "r", "kind": "absence", "receivers": ["hook"]}]}]
    hook = {"name": "hook", "webhook": {"url": url, "secret": SECRET}}
    file = parse_file({"org": org, "receivers": [hook], "groups": groups, "budget_events": ["hook"]})
    apply_alerts(engine, file, groups, "test", NOW)


def test_messages_that_are_none_are_told_from_those_that_are():
    named = {"ce_type": b"spanmill.alert.firing"}
    whole = json.dumps(_told("acme", "i")).encode()
    found = read_message(named, whole)
    assert found and found["incident_id"] == "i"
    for headers, value in ((named, b"{"), (named, b"[]"), (named, b"{}"), ({}, whole), ({"ce_type": b"\xff"}, whole)):
        assert read_message(headers, value) is None
    budget = {"name": "b", "unit": "UNIT_TOKENS", "limit": "9", "window": "WINDOW_DAY", "team": "search"}
    data = {"org": "acme", "event_id": "e", "kind": "exceeded", "time": "5", "budget": budget}
    event = read_message({"ce_type": b"spanmill.budget.exceeded"}, json.dumps(data).encode())
    assert event and (event["org"], event["rule"], event["severity"]) == ("acme", "budget/b", "critical")
    assert event["labels"] == {"budget": "b", "window": "day", "team": "search"}
    assert event["text"] == "budget b: exceeded; spent 0 tokens and 0 tokens pending of 9 tokens"


def test_a_rule_names_who_is_told_unless_it_is_silent_and_budgets_go_to_whom_the_organisation_says(engine: sa.Engine):
    _receiver(engine, "acme", "https://h.example.com")
    assert receivers_for(engine, _told("acme", "i"), NOW) == ["hook"]
    silence(engine, "acme", "g/r", NOW + 10, "test", "ann")
    assert receivers_for(engine, _told("acme", "i"), NOW) == []
    assert receivers_for(engine, _told("acme", "i"), NOW + 10) == ["hook"]
    assert receivers_for(engine, {"state": "event", "org": "acme", "rule": "budget/b"}, NOW) == ["hook"]
    assert receivers_for(engine, {"state": "event", "org": "nobody", "rule": "budget/b"}, NOW) == []


def test_pauses_grow_to_their_bound():
    settings = Settings.model_validate({"brokers": "", "control_url": ""})
    assert [next_pause_s(settings, n) for n in (1, 2, 3, 9)] == [5, 7.5, 11.25, 30]


def test_a_receiver_that_never_answers_holds_up_its_own_organisation_alone(engine: sa.Engine):
    mute, hook = socket.create_server(("127.0.0.1", 0)), Webhook()
    _receiver(engine, "slow", f"http://127.0.0.1:{mute.getsockname()[1]}/")
    _receiver(engine, "quick", hook.url)
    for number in range(30):
        hear(engine, _told("slow", f"s{number}"), ["hook"], NOW)
    hear(engine, _told("quick", "q"), ["hook"], NOW + 1)
    asked = {"brokers": "", "control_url": "", "allow_networks": ["127.0.0.0/8"], "timeout_s": 20}
    settings = Settings.model_validate(asked)
    teller = Teller(engine, settings, Metrics())
    began = time.monotonic()
    assert teller.tell() == 3  # two of the slow one's
    eventually(lambda: hook.hits, 15)
    assert time.monotonic() - began < 20
    mute.close()
    teller.close()
    hook.close()
