"""What is sent: the webhook body of Alertmanager (version 4), its alerts (API v2), and texts for people.

Sources: Alertmanager's documentation, "webhook_config" and its OpenAPI document of the API v2.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from services.control.deliveries import Delivery

RESOLVED = "resolved"
_NEVER = "0001-01-01T00:00:00Z"


def labels(delivery: Delivery) -> dict[str, str]:
    """What identifies the incident: they stay the same from firing to resolved."""
    message = delivery.message
    named = {str(key): str(value) for key, value in dict(message.get("labels") or {}).items()}
    fixed = {"alertname": delivery.rule, "org": delivery.org, "severity": message.get("severity") or "warning"}
    return named | fixed | {"incident": delivery.incident_id}


def annotations(delivery: Delivery) -> dict[str, str]:
    message = delivery.message
    found = {"summary": message.get("summary") or delivery.rule, "description": message.get("text") or ""}
    return found | ({"runbook_url": message["runbook"]} if message.get("runbook") else {})


def webhook_body(delivery: Delivery, external_url: str) -> bytes:
    """Alertmanager's webhook body with the one alert."""
    status = RESOLVED if delivery.state == RESOLVED else "firing"
    alert = {
        "status": status,
        "labels": labels(delivery),
        "annotations": annotations(delivery),
        "startsAt": _time(delivery.message["started_at"]),
        "endsAt": _time(delivery.message["at"]) if status == RESOLVED else _NEVER,
        "generatorURL": external_url,
        "fingerprint": fingerprint(labels(delivery)),
    }
    body = {
        "version": "4",
        "groupKey": f"{{}}:{{incident={json.dumps(delivery.incident_id)}}}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": delivery.receiver,
        "groupLabels": {"alertname": delivery.rule, "incident": delivery.incident_id},
        "commonLabels": alert["labels"],
        "commonAnnotations": alert["annotations"],
        "externalURL": external_url,
        "alerts": [alert],
    }
    return json.dumps(body).encode()


def alertmanager_alerts(delivery: Delivery, external_url: str, ends_at: int) -> bytes:
    """The body of `POST /api/v2/alerts`. ends_at: UTC ns; in the future while it is firing, so that an Alertmanager
    that is not told any more takes it for resolved."""
    alert = {
        "labels": labels(delivery),
        "annotations": annotations(delivery),
        "startsAt": _time(delivery.message["started_at"]),
        "endsAt": _time(ends_at),
        "generatorURL": external_url,
    }
    return json.dumps([alert]).encode()


def title(delivery: Delivery) -> str:
    state = RESOLVED if delivery.state == RESOLVED else str(delivery.message.get("severity") or "warning")
    return f"[{state}] {delivery.org}: {_line(delivery.message.get('summary') or delivery.rule)}"


def text(delivery: Delivery) -> str:
    """Of a mail or a chat: plain text, a fact a line."""
    message = delivery.message
    lines = [str(message.get("text") or ""), f"rule: {delivery.rule}"]
    lines += [f"{key}: {value}" for key, value in dict(message.get("labels") or {}).items()]
    lines.append(f"since: {_time(message['started_at'])}")
    lines += [f"resolved: {_time(message['at'])}"] if delivery.state == RESOLVED else []
    lines += [f"runbook: {message['runbook']}"] if message.get("runbook") else []
    return "\n".join([*(_line(line) for line in lines if line), f"incident: {delivery.incident_id}"])


def fingerprint(of: Mapping[str, Any]) -> str:
    return blake2b(json.dumps(of, sort_keys=True).encode(), digest_size=8).hexdigest()


def _line(said: object) -> str:
    """On one line: what others wrote must not look like a line of ours, or become a header of a mail."""
    return " ".join(str(said).split())


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
