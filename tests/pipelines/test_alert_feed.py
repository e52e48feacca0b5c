"""The feed of alert rules, against a store that runs."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from pipelines.alert_feed import RuleFeed
from pipelines.alert_store import publish_rules, published
from pipelines.migrate import migrate
from pipelines.store import StoreSettings, StoreUnreachable, connect_creating
from pipelines.store_feed import EVERY_NS
from schemas.migrations import CLICKHOUSE
from tests.store_process import StoreProcess, running_store

NOW = 1_790_000_000_000_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store") / "data") as process:
        yield process


@pytest.fixture
def settings(store: StoreProcess) -> StoreSettings:
    made = replace(store.settings, database=f"d{time.monotonic_ns()}")
    with connect_creating(made) as client:
        migrate(client, CLICKHOUSE, NOW)
    return made


@pytest.fixture
def client(settings: StoreSettings) -> Iterator[Client]:
    with connect_creating(settings) as connected:
        yield connected


def _groups(*names: str) -> list[dict[str, Any]]:
    return [{"name": "g", "rules": [{"name": n, "kind": "threshold", "metric": "calls", "above": 1} for n in names]}]


def _names(feed: RuleFeed, now: int) -> dict[str, list[str]]:
    return {org: [rule.name for rule in rules] for org, rules in feed.current(now).items()}


def test_new_rules_hold_within_five_seconds_and_older_revisions_change_nothing(settings: StoreSettings, client: Client):
    feed = RuleFeed(settings)
    assert _names(feed, NOW) == {}
    publish_rules(client, "acme", 2, _groups("a", "b"), NOW)
    assert _names(feed, NOW + EVERY_NS - 1) == {}
    assert _names(feed, NOW + EVERY_NS) == {"acme": ["g/a", "g/b"]}
    publish_rules(client, "acme", 1, _groups("old"), NOW)
    publish_rules(client, "other", 1, _groups("c"), NOW)
    assert _names(feed, NOW + 2 * EVERY_NS) == {"acme": ["g/a", "g/b"], "other": ["g/c"]}
    assert published(client) == {"acme": 2, "other": 1}
    feed.close()


def test_rules_that_cannot_be_read_leave_the_last_ones_in_force(settings: StoreSettings, client: Client):
    publish_rules(client, "acme", 1, _groups("a"), NOW)
    feed = RuleFeed(settings)
    assert _names(feed, NOW) == {"acme": ["g/a"]}
    publish_rules(client, "acme", 2, [{"name": "g", "rules": [{"name": "x", "kind": "of a newer version"}]}], NOW)
    assert _names(feed, NOW + EVERY_NS) == {"acme": ["g/a"]}
    assert (feed.misses, feed.trouble.startswith("RuleError")) == (1, True)
    feed.close()


def test_without_a_store_there_are_no_rules_to_begin_with(tmp_path: Path):
    feed = RuleFeed(StoreSettings("http://127.0.0.1:9"), patience_s=0)
    with pytest.raises(StoreUnreachable, match="no alert rules could be read"):
        feed.current(NOW)
