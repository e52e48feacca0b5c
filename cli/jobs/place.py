"""What a deployment has to know of the cluster and its surroundings, and the migrations that it runs."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from clickhouse_connect.driver.exceptions import Error

from cli.exits import Exit, Failure
from cli.jobs.flink_rest import FlinkRest
from cli.jobs.plan import Place
from cli.kafka import brokers_of
from cli.local.profile import Running
from pipelines.migrate import migrate, plan
from pipelines.store import connect_creating
from schemas.migrations import CLICKHOUSE, MigrationError


def place_of(running: Running, rest: FlinkRest, job: str, settings: Mapping[str, Any]) -> Place:
    """What there is for the job `job` with `settings`. Raises Failure when something does not answer or fit."""
    partitions, absent, migrations = surroundings(running, settings)
    return Place(rest.version(), partitions, rest.free_slots(job), migrations, absent)


def surroundings(running: Running, settings: Mapping[str, Any]) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """Partitions of the topic that the job reads, topics that it needs besides and that are not there, and migrations
    that the store needs. Raises Failure like place_of."""
    try:
        with connect_creating(running.store_settings) as client:
            pending = tuple(f"{migration.number:04}_{migration.name}" for migration in plan(client, CLICKHOUSE))
    except MigrationError as error:
        raise Failure(str(error), "spanmill migrate --status", Exit.REFUSED) from error
    except (Error, OSError) as error:
        raise Failure(f"the store at {running.store} does not answer: {error}", code=Exit.CANNOT_CONNECT) from error
    brokers = brokers_of(running.broker, running.kafka)
    others = [value for name, value in settings.items() if name.endswith("_topic") and value]
    absent = tuple(name for name in others if not brokers.partitions(name))
    return brokers.partitions(settings["topic"]), absent, pending


def migrate_store(running: Running, say: Callable[[str], None]) -> None:
    with connect_creating(running.store_settings) as client:
        for applied in migrate(client, CLICKHOUSE, time.time_ns()):
            say(f"store: applied {applied.number:04}_{applied.name}")
