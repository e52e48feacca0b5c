"""The notifier with a real broker, a real Alertmanager, a mail server and a webhook: each state of an incident once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from confluent_kafka import Producer

from cli.kafka import Brokers
from cli.local.broker import Broker
from cli.topics import bring
from integration_tests.ground import ROOT
from integration_tests.listeners import Mailbox, Webhook, alertmanager, eventually
from pipelines.jars import fetch, jar_folder, java
from pipelines.ports import free_port
from schemas.cloudevents import headers
from schemas.topics import ALERTS, BUDGET_EVENTS
from services.alerts.senders import signature
from services.control.alerts import apply_alerts
from services.control.database import open_database
from services.control.deliveries import Delivery, deliveries
from services.control.migrate import migrate
from services.control.organisations import create_org
from transforms.alerts.parse import parse_file

SECRET = "0123456789abcdef"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("broker")
    made = Broker(folder / "broker", java(), fetch("broker", jar_folder(), print), folder / "broker.log")
    made.start()
    made.wait_ready(120)
    for topic in (ALERTS, BUDGET_EVENTS):
        bring(Brokers(made.address), topic)
    yield made
    made.kill()


@dataclass
class Notifier:
    """`python -m services.alerts`, for one organisation of the test's own."""

    broker: str
    folder: Path
    org: str
    options: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.engine = open_database(f"sqlite:///{self.folder / 'control.db'}")
        migrate(self.engine, 1)
        create_org(self.engine, self.org, "Test", False, 1)
        self.log = self.folder / "notifier.log"
        self.metrics_port = free_port()

    def receivers(self, *given: dict[str, Any]) -> None:
        names = [one["name"] for one in given]
        file = parse_file({"org": self.org, "receivers": list(given), "budget_events": names})
        apply_alerts(self.engine, file, [], "test", time.time_ns())

    def start(self) -> "Notifier":
        asked = {"brokers": self.broker, "control_url": str(self.engine.url), "metrics_port": self.metrics_port}
        asked |= {"allow_networks": ["127.0.0.0/8"], "retry_s": 0.2, "resend_s": 1, "group": f"alerts-{self.org}"}
        (self.folder / "settings.json").write_text(json.dumps(asked | self.options))
        command = [sys.executable, "-m", "services.alerts", "--settings", str(self.folder / "settings.json")]
        with self.log.open("ab") as log:
            self.process = process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        eventually(lambda: b"ready" in self.log.read_bytes() or process.poll() is not None, 60)
        assert process.poll() is None, self.log.read_text()
        return self

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        self.log.unlink(missing_ok=True)

    def say(self, state: str, id_: str = "i1", receivers: tuple[str, ...] = ("hook",), **changes: Any) -> None:
        now = time.time_ns()
        row = {
            "org": self.org,
            "incident_id": f"{self.org}-{id_}",
            "rule": "cost/spend",
            "kind": "threshold",
            "state": state,
        }
        row |= {"renewed": False, "labels": {"model": "gpt-4o"}, "text": "cost in 5 min: $6, limit above $5"}
        row |= {"severity": "critical", "summary": "Spend\r\nBcc: evil@example.com", "runbook": "", "value": 6.0}
        row |= {"receivers": list(receivers), "started_at": now, "at": now, "valid_until": now + 10**12}
        self._send(ALERTS.name, f"spanmill.alert.{state}", f"{id_}-{state}", row | changes)

    def budget(self, id_: str, **data: Any) -> None:
        event = {"org": self.org, "event_id": f"{self.org}-{id_}", "time": str(10**18)} | data
        self._send(BUDGET_EVENTS.name, "spanmill.budget.threshold", id_, event)

    def _send(self, topic: str, type_: str, id_: str, data: dict[str, Any]) -> None:
        producer = Producer({"bootstrap.servers": self.broker, "acks": "all"})
        named = headers(id_, "/test", type_, self.org, time.time_ns())
        producer.produce(topic, json.dumps(data).encode(), self.org.encode(), headers=named)
        assert producer.flush(30) == 0

    def sent(self) -> dict[tuple[str, str], Delivery]:
        return {(one.receiver, one.state): one for one in deliveries(self.engine, self.org)}

    def metric(self, name: str) -> str:
        text = httpx2.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5).text
        return "\n".join(line for line in text.splitlines() if line.startswith(name))


@pytest.fixture
def notifier(broker: Broker, tmp_path: Path) -> Iterator[Notifier]:
    made = Notifier(broker.address, tmp_path, f"org-{time.monotonic_ns()}")
    yield made
    made.kill()
    made.engine.dispose()


@pytest.fixture
def hook() -> Iterator[Webhook]:
    made = Webhook()
    yield made
    made.close()


def _hook(url: str) -> dict[str, Any]:
    return {"name": "hook", "webhook": {"url": url, "secret": SECRET}}


def test_a_webhook_hears_of_each_state_once_in_alertmanagers_form_and_signed(notifier: Notifier, hook: Webhook):
    notifier.receivers(_hook(hook.url))
    notifier.start()
    for state in ("pending", "firing", "firing", "resolved", "resolved"):
        notifier.say(state)
    notifier.say("firing", "i2")
    eventually(lambda: len(hook.hits) >= 3, 60, notifier.log.read_text)
    eventually(lambda: {one.status for one in notifier.sent().values()} == {"done"})
    told = [(alert["status"], alert["labels"]["incident"].removeprefix(f"{notifier.org}-")) for alert in hook.alerts()]
    # that the second began ended nothing: the first was over
    assert sorted(told) == [("firing", "i1"), ("firing", "i2"), ("resolved", "i1")]
    sent, body = hook.hits[0]
    assert json.loads(body)["version"] == "4" and json.loads(body)["receiver"] == "hook"
    assert sent["webhook-signature"] == signature(SECRET, sent["webhook-id"], int(sent["webhook-timestamp"]), body)
    assert 'outcome="delivered"' in notifier.metric("llmops_alert_deliveries_total")
    assert len(hook.hits) == 3


def test_a_failure_is_tried_again_shown_and_survives_kill_9_and_what_was_told_is_not_told_again(
    notifier: Notifier, hook: Webhook
):
    other = Webhook(*[503] * 4)
    notifier.receivers(_hook(hook.url), {"name": "other", "webhook": {"url": other.url, "secret": SECRET}})
    notifier.start()
    notifier.say("firing", receivers=("hook", "other"))
    eventually(lambda: len(other.hits) >= 2 and len(hook.hits) == 1)
    eventually(lambda: "answered 503" in notifier.sent()["other", "firing"].error)
    notifier.kill()
    notifier.options = {"group": f"again-{notifier.org}"}  # all that was ever said is heard again
    notifier.start()
    eventually(lambda: notifier.sent()["other", "firing"].status == "done", 90)
    assert (len(hook.hits), len(other.hits), notifier.sent()["other", "firing"].error) == (1, 5, "")
    assert len({sent["webhook-id"] for sent, _ in other.hits}) == 1
    other.close()


def test_what_was_said_while_it_was_down_is_told_when_it_is_back(notifier: Notifier, hook: Webhook):
    notifier.receivers(_hook(hook.url))
    notifier.start()
    assert notifier.process
    os.kill(notifier.process.pid, signal.SIGTERM)
    assert notifier.process.wait(30) == 0
    notifier.log.unlink()
    notifier.say("firing")
    notifier.start()
    eventually(lambda: hook.hits)
    assert [alert["status"] for alert in hook.alerts()] == ["firing"]


def test_an_alertmanager_is_told_as_long_as_it_fires_and_notifies_once(
    notifier: Notifier, hook: Webhook, tmp_path: Path
):
    with alertmanager(tmp_path / "am", hook.url) as url:
        notifier.receivers({"name": "am", "alertmanager": {"url": url}})
        notifier.start()
        notifier.say("firing", receivers=("am",))
        eventually(lambda: hook.hits)
        eventually(lambda: notifier.sent()["am", "firing"].attempts >= 4)
        [alert] = httpx2.get(f"{url}/api/v2/alerts", timeout=5).json()
        assert (alert["labels"]["alertname"], alert["labels"]["model"], alert["status"]["state"]) == (
            "cost/spend",
            "gpt-4o",
            "active",
        )
        notifier.say("resolved", receivers=("am",))
        eventually(lambda: len(hook.hits) == 2)
        eventually(lambda: notifier.sent()["am", "firing"].status == "done")
        assert [one["status"] for one in hook.alerts()] == ["firing", "resolved"]
        assert httpx2.get(f"{url}/api/v2/alerts", timeout=5).json() == []


def test_a_mail_is_one_of_plain_text_and_its_subject_is_one_line(notifier: Notifier):
    mailbox = Mailbox()
    notifier.options = {"smtp_host": "127.0.0.1", "smtp_port": mailbox.port, "smtp_mode": "insecure"}
    notifier.options |= {"smtp_from": "alerts@example.com"}
    notifier.receivers({"name": "mail", "email": ["ann@example.com", "bob@example.com"]})
    notifier.start()
    notifier.say("firing", receivers=("mail",))
    eventually(lambda: [one.status for one in notifier.sent().values()] == ["done"], 60, notifier.log.read_text)
    told = sorted(to for _, receivers, _ in mailbox.mails for to in receivers)
    assert told == ["ann@example.com", "bob@example.com"]
    assert all("evil@example.com" not in receivers for _, receivers, _ in mailbox.mails)
    content = mailbox.mails[0][2]
    assert "\nBcc:" not in content and "limit above $5" in content
    mailbox.close()


def test_a_chat_goes_to_hosts_that_the_operator_allows_only(notifier: Notifier, hook: Webhook):
    chat = {"name": "chat", "chat": f"json://127.0.0.1:{hook.port}/verysecret"}
    notifier.receivers(chat)
    notifier.start()
    notifier.say("firing", receivers=("chat",))
    eventually(lambda: [one.status for one in notifier.sent().values()] == ["failed"])
    assert (hook.hits, "verysecret" in notifier.sent()["chat", "firing"].error) == ([], False)
    notifier.kill()
    notifier.options = {"chat_hosts": ["127.0.0.1"]}
    notifier.start()
    notifier.say("firing", "i2", receivers=("chat",), labels={"model": "b"})
    eventually(lambda: hook.hits)
    assert json.loads(hook.hits[0][1])["title"].startswith("[critical] ")
    assert "verysecret" not in notifier.log.read_text()


def test_without_leave_no_address_inside_is_reached_and_it_is_not_tried_again(notifier: Notifier, hook: Webhook):
    hosts = ["127.0.0.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "localhost", "[64:ff9b::7f00:1]"]
    notifier.options = {"allow_networks": []}
    notifier.receivers(
        *(
            {"name": f"h{n}", "webhook": {"url": f"http://{h}:{hook.port}/", "secret": SECRET}}
            for n, h in enumerate(hosts)
        )
    )
    notifier.start()
    notifier.say("firing", receivers=tuple(f"h{n}" for n in range(len(hosts))))
    eventually(lambda: len(notifier.sent()) == len(hosts) and all(one.error for one in notifier.sent().values()))
    assert hook.hits == []
    assert 'outcome="forbidden"' in notifier.metric("llmops_alert_deliveries_total")


def test_what_a_budget_says_goes_to_the_receivers_of_its_organisation(notifier: Notifier, hook: Webhook):
    notifier.receivers(_hook(hook.url))
    notifier.start()
    budget = {"name": "team-a", "unit": "UNIT_NANO_DOLLARS", "limit": str(10 * 10**9), "spent": str(8 * 10**9)}
    for _ in range(2):
        notifier.budget("e1", kind="threshold", threshold=80, budget=budget)
    notifier.budget("broken", time="never")
    notifier.say("firing")
    eventually(lambda: len(hook.hits) == 2)
    said = {alert["labels"]["alertname"]: alert["annotations"]["description"] for alert in hook.alerts()}
    assert said["budget/team-a"] == "budget team-a: 80 % reached; spent $8.00 and $0.00 pending of $10.00"


def test_a_control_database_that_is_locked_loses_nothing(notifier: Notifier, hook: Webhook):
    notifier.receivers(_hook(hook.url))
    notifier.start()
    with notifier.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        notifier.say("firing")
        eventually(lambda: 'llmops_alert_up{part="control"} 0.0' in notifier.metric("llmops_alert_up"), 30)
        assert hook.hits == []
        connection.rollback()
    eventually(lambda: hook.hits)
    assert len(hook.hits) == 1
    assert sa.inspect(notifier.engine).has_table("alert_deliveries")
