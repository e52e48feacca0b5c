"""Where the store is, and a client for it: a ClickHouse server or the embedded store, over HTTP."""

import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import httpx2
from clickhouse_connect.driver.client import Client


class StoreUnreachable(Exception):
    """The store did not answer in time."""


@dataclass(frozen=True)
class StoreSettings:
    """Address and account of the store."""

    url: str = "http://127.0.0.1:8123"
    user: str = "default"
    password: str = ""
    database: str = "spanmill"


def connect(settings: StoreSettings, **options: Any) -> Client:
    """A client whose statements run in the database, which has to exist. options: clickhouse_connect's.

    It keeps no session, so several threads may use it. Raises clickhouse_connect's OperationalError when the
    store does not answer, DatabaseError when it refuses.
    """
    address = urlsplit(settings.url)
    return clickhouse_connect.get_client(
        host=address.hostname,
        port=address.port,
        interface=address.scheme,
        username=settings.user,
        password=settings.password,
        database=settings.database,
        autogenerate_session_id=False,
        **options,
    )


def connect_impatient(settings: StoreSettings) -> Client:
    """For what a job asks again and again: it must not be held up for long, what was read last is good enough."""
    return connect(settings, connect_timeout=1, send_receive_timeout=2, query_retries=0)


def connect_creating(settings: StoreSettings) -> Client:
    """Like `connect`; creates the database when there is none."""
    with connect(replace(settings, database="default")) as client:
        client.command("CREATE DATABASE IF NOT EXISTS {name:Identifier}", parameters={"name": settings.database})
    return connect(settings)


def wait_ready(settings: StoreSettings, timeout_s: float) -> None:
    """Returns when the store answers its ping. Raises StoreUnreachable after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    with httpx2.Client(timeout=2.0) as client:
        while True:
            try:
                if client.get(f"{settings.url}/ping").status_code == 200:
                    return
                last = "it answers, but not its ping"
            except httpx2.TransportError as error:
                last = str(error)
            if time.monotonic() > deadline:
                raise StoreUnreachable(f"the store at {settings.url} is not ready after {timeout_s:g} s: {last}")
            time.sleep(0.05)
