"""`spanmill migrate`: the topics of the log, and the schema of the store and of the control database."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from pydantic import ValidationError

from cli.client import connect
from cli.control import ELSEWHERE, control, opened
from cli.exits import Exit, Failure
from cli.kafka import Brokers, brokers_of
from cli.local.profile import Running, find_running
from cli.options import DATA, Data, Output
from cli.output import Form, paper, say, show
from cli.topics import Look, bring, look
from pipelines.migrate import migrate as migrate_store
from pipelines.migrate import plan, sql
from pipelines.migrate import status as store_status
from pipelines.store import StoreSettings, connect_creating
from pipelines.store import connect as connect_store
from schemas.kafka import KafkaAccess
from schemas.migrations import CLICKHOUSE, MigrationError, load
from schemas.topics import SPANS, TOPICS, Topic
from services.control.migrate import status as control_status


def register(commands: typer.Typer) -> None:
    commands.command("migrate")(migrate)


def migrate(
    data: Data = DATA,
    status: Annotated[bool, typer.Option("--status", help="Only show what was applied.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Print what would be done, do nothing.")] = False,
    partitions: Annotated[
        int | None, typer.Option(min=1, help="Raise the log's topic to so many partitions; they never become fewer.")
    ] = None,
    store_url: Annotated[
        str,
        typer.Option(envvar="SPANMILL_STORE_URL", help="A store elsewhere; its password: SPANMILL_STORE_PASSWORD."),
    ] = "",
    store_user: Annotated[str, typer.Option(envvar="SPANMILL_STORE_USER", help="Whom it knows.")] = "default",
    control_url: Annotated[
        str,
        typer.Option(envvar=ELSEWHERE, help="A control database elsewhere, postgresql+psycopg://…"),
    ] = "",
    brokers: Annotated[
        str,
        typer.Option(envvar="SPANMILL_BROKERS", help="Kafka elsewhere; its account: SPANMILL_KAFKA, as JSON."),
    ] = "",
    output: Output = Form.table,
) -> None:
    """Bring topics and schema of a running store up to date; done already, it changes nothing. spanmill up does it too.

    A setting of an existing topic that is not the usual one is shown with its cure and left alone.

    [bold]Examples[/]

      spanmill migrate --status

      spanmill migrate --dry-run

      spanmill migrate --partitions 8

      spanmill migrate --store-url http://clickhouse:8123 --control-url postgresql+psycopg://spanmill@postgres/spanmill
    """
    log = _log_elsewhere(brokers) if brokers or store_url else _log_of(find_running(data))
    if store_url:
        client = _elsewhere(store_url, store_user, create=not (status or dry_run))
    else:
        client = connect(find_running(data))
    try:
        if dry_run:
            _show_plan(_looked(log, partitions), sql(plan(client, CLICKHOUSE)))
            return
        if not status:
            _bring_topics(log, partitions)
            applied = migrate_store(client, CLICKHOUSE, time.time_ns())
            say(f"store: {len(applied)} migrations applied")
    except MigrationError as error:
        raise Failure(str(error), "restore the file as it was, and write a new one", Exit.REFUSED) from error
    rows = [row for topic in _looked(log, partitions) for row in topic.rows()]
    done = {row.number: row.status for row in store_status(client)}
    rows += [
        {"schema": "store", "migration": f"{m.number:04}_{m.name}", "state": done.get(m.number, "pending")}
        for m in load(CLICKHOUSE)
    ]
    with opened(control_url) if control_url else control(data) as engine:
        rows += [{"schema": "control", "migration": m.name, "state": str(m.state)} for m in control_status(engine)]
    show(rows, ["schema", "migration", "state", "note"], output)


def _elsewhere(url: str, user: str, create: bool) -> Client:
    """A client of the store at a URL. Raises Failure.

    create: makes its database when there is none; else it is one of the server's own, in which nothing is applied.
    """
    settings = StoreSettings(url, user, os.environ.get("SPANMILL_STORE_PASSWORD", ""))
    try:
        if create:
            return connect_creating(settings)
        server = connect_store(replace(settings, database="default"))
        there = server.command("EXISTS DATABASE {name:Identifier}", parameters={"name": settings.database})
        return connect_store(settings) if there else server
    except OperationalError as error:
        raise Failure(f"the store at {url} does not answer", code=Exit.CANNOT_CONNECT) from error
    except DatabaseError as error:
        raise Failure(f"the store at {url} refuses: {error}") from error


@dataclass(frozen=True)
class _Log:
    """topics: that of raw spans, the one that may get more partitions, and the others."""

    brokers: Brokers
    topics: tuple[Topic, ...]


def _log_of(running: Running) -> _Log | None:
    """None in a context that says no broker."""
    topics = tuple(replace(one, name=running.topic) if one is SPANS else one for one in TOPICS)
    return _Log(brokers_of(running.broker, running.kafka), topics) if running.broker else None


def _log_elsewhere(address: str) -> _Log | None:
    """None for no address. Raises Failure when the account in the environment is none."""
    try:
        access = KafkaAccess.model_validate_json(os.environ.get("SPANMILL_KAFKA") or "{}")
    except ValidationError as error:
        raise Failure(f"SPANMILL_KAFKA is wrong: {error}", "see schemas/kafka.py", Exit.USAGE) from error
    return _Log(Brokers(address, access), TOPICS) if address else None


def _wanted(log: _Log | None, partitions: int | None) -> Iterator[tuple[Brokers, Topic, int | None]]:
    """More partitions are for the topic of raw spans: the order of an organisation's budgets is that of one."""
    if log:
        yield from ((log.brokers, topic, None if number else partitions) for number, topic in enumerate(log.topics))


def _looked(log: _Log | None, partitions: int | None) -> list[Look]:
    return [look(*wanted) for wanted in _wanted(log, partitions)]


def _bring_topics(log: _Log | None, partitions: int | None) -> None:
    for wanted in _wanted(log, partitions):
        before = bring(*wanted)
        say(f"topic {before.topic.name}: {before.todo or 'nothing to do'}")


def _show_plan(topics: Sequence[Look], statements: str) -> None:
    """SQL, what is done to topics as comments. Raises Failure (refused) when one can never be what is wanted."""
    for row in (row for topic in topics for row in topic.rows()):
        paper.print(f"-- topic {row['migration']}: {row['state']} {row['note'] or ''}".rstrip(), markup=False)
    paper.print(statements, markup=False)
    for topic in topics:
        topic.refuse_barred()
