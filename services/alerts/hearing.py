"""From the log to the control database: what is said of incidents and of budgets, and who is to be told."""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from google.protobuf import json_format
from sqlalchemy.exc import SQLAlchemyError

from schemas import budget_pb2 as pb
from services.alerts.metrics import Metrics
from services.alerts.settings import Settings
from services.control.alerts import current_alerts, silences
from services.control.incidents import EVENT, hear

_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._PARTITION_EOF)
_MOST = 100


class Ear:
    """Reads the topics. An offset is committed after what it says is in the database: nothing is missed, and what comes
    twice is known."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        asked = {
            "bootstrap.servers": settings.brokers,
            "group.id": settings.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 10_000,  # after which another notifier goes on where one died
            "topic.metadata.refresh.interval.ms": 10_000,
            "allow.auto.create.topics": False,
            "log_level": 0,
        }
        self._consumer = Consumer({**asked, **settings.kafka.librdkafka()})
        self._consumer.subscribe(list(settings.topics))
        self._metrics = metrics

    def listen(self, engine: sa.Engine, now: int, wait_s: float) -> int:
        """Takes down what came within `wait_s`; how many records. Raises SQLAlchemyError, and takes them again then."""
        records = [record for record in self._consumer.consume(_MOST, wait_s) if self._is_record(record)]
        try:
            for record in records:
                self._take(engine, record, now)
        except SQLAlchemyError:
            for record in reversed(records):
                self._consumer.seek(_place(record))
            raise
        if records:
            self._commit()
        return len(records)

    def _commit(self) -> None:
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException:  # they come again, and are known then
            self._metrics.up.labels("log").set(0)

    def close(self) -> None:
        self._consumer.close()

    def _is_record(self, record: Message) -> bool:
        error = record.error()
        if error is None:
            self._metrics.up.labels("log").set(1)
            return True
        if error.code() not in _GONE:
            self._metrics.up.labels("log").set(0)
        return False

    def _take(self, engine: sa.Engine, record: Message, now: int) -> None:
        message = read_message(dict(record.headers() or []), record.value() or b"")
        topic = record.topic() or ""
        if message is None:
            self._metrics.heard.labels(topic, "unreadable").inc()
            return
        news = hear(engine, message, receivers_for(engine, message, now), now)
        self._metrics.heard.labels(topic, "yes" if news else "no").inc()


def receivers_for(engine: sa.Engine, message: Mapping[str, Any], now: int) -> list[str]:
    """Who is to hear of it: whom the rule names, or the organisation for budgets; nobody in a silence."""
    if message["state"] == EVENT:
        return [name for one in current_alerts(engine, message["org"]) for name in one.budget_events]
    if (message["org"], message["rule"]) in silences(engine, now):
        return []
    return list(message["receivers"])


def read_message(headers: Mapping[str, str | bytes | None], value: bytes) -> dict[str, Any] | None:
    """A row of INCIDENTS, or the event of a budget made like one; None for what is neither."""
    try:
        data = json.loads(value)
        named = {name: text.decode() for name, text in headers.items() if isinstance(text, bytes)}
        type_ = named.get("ce_type", "")
        if type_.startswith("spanmill.alert."):
            return {name: data[name] for name in _FIELDS} | data
        if type_.startswith("spanmill.budget."):
            event = json_format.Parse(value, pb.BudgetEvent(), ignore_unknown_fields=True)
            return _of_budget(event) if event.org and event.event_id else None
    except (ValueError, KeyError, TypeError, json_format.ParseError):
        return None
    return None


_FIELDS = ("org", "incident_id", "rule", "state", "labels", "receivers", "started_at", "at", "valid_until")


_SHOWN = ("team", "key_id", "provider", "model")


def _of_budget(event: pb.BudgetEvent) -> dict[str, Any]:
    budget = event.budget
    shown = {"budget": budget.name, "window": pb.Window.Name(budget.window).removeprefix("WINDOW_").lower()}
    shown |= {name: getattr(budget, name) for name in _SHOWN if getattr(budget, name)}
    reached = f"{event.threshold} % reached" if event.kind == "threshold" else event.kind
    spent, pending, limit = (_amount(n, budget.unit) for n in (budget.spent, budget.pending, budget.limit))
    return {
        "org": event.org,
        "incident_id": event.event_id,
        "rule": f"budget/{budget.name}",
        "state": EVENT,
        "labels": shown,
        "text": f"budget {budget.name}: {reached}; spent {spent} and {pending} pending of {limit}",
        "summary": f"budget {budget.name}: {reached}",
        "severity": "warning" if event.kind == "threshold" else "critical",
        "started_at": event.time,
        "at": event.time,
        "valid_until": event.time,
    }


def _amount(value: int, unit: pb.Unit) -> str:
    return f"${value / 10**9:,.2f}" if unit == pb.UNIT_NANO_DOLLARS else f"{value:,} tokens"


def _place(record: Message) -> TopicPartition:
    return TopicPartition(record.topic() or "", record.partition() or 0, record.offset() or 0)
