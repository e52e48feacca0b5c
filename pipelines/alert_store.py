"""The alert rules in the store: what a change of them publishes, and what the jobs read."""

import json
from typing import Any

from clickhouse_connect.driver.client import Client

from transforms.alerts.parse import parse_rules
from transforms.alerts.rules import Rule

_TABLE = "alert_rules"


def publish_rules(client: Client, org: str, revision: int, groups: list[Any], changed_at: int) -> None:
    """Puts a revision of an organisation's rules in force; an older one than is there changes nothing.

    Raises clickhouse_connect's OperationalError when the store does not answer, DatabaseError when it refuses.
    """
    row = [org, revision, json.dumps(groups), changed_at]
    client.insert(_TABLE, [row], column_names=["org", "revision", "groups", "changed_at"])


def published(client: Client) -> dict[str, int]:
    """The revision in force of each organisation. Raises as `publish_rules` does."""
    found = client.query(f"SELECT org, revision FROM {_TABLE} FINAL")
    return {row["org"]: row["revision"] for row in found.named_results()}


def read_rules(client: Client) -> dict[str, tuple[Rule, ...]]:
    """The rules in force by organisation. Raises as `publish_rules` does, and RuleError for those of a newer one."""
    found = client.query(f"SELECT org, groups FROM {_TABLE} FINAL ORDER BY org")
    return {row["org"]: parse_rules(json.loads(row["groups"])) for row in found.named_results()}
