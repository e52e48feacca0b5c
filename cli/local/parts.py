"""The parts that are Python of ours: how each is started and where its settings are written."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cli.exits import Exit, Failure
from cli.kafka import Brokers
from cli.local.process import Child
from cli.local.profile import TOPIC, Profile
from cli.topics import bring
from pipelines.jars import JarError, fetch, jar_folder
from pipelines.migrate import migrate as migrate_store
from pipelines.store import StoreSettings, connect_creating
from schemas.migrations import CLICKHOUSE, MigrationError
from schemas.topics import TOPICS
from services.control.database import open_database
from services.control.migrate import migrate as migrate_control

# Gateway and broker come first, so that an application never waits for what is done with its spans.
_BACKGROUND = 10


def jars(set_name: str, say: Callable[[str], None]) -> list[Path]:
    """The jars of a set, fetched when missing. Raises Failure when they cannot be had."""
    try:
        return fetch(set_name, jar_folder(), say)
    except JarError as error:
        raise Failure(str(error)) from error


def store(profile: Profile, port: int) -> Child:
    """The ClickHouse engine behind its HTTP protocol, on loopback whatever the gateway listens on."""
    args = ["-m", "services.store", "--data", str(profile.data / "store"), "--host", "127.0.0.1", "--port", str(port)]
    return _python("store", args, profile, _BACKGROUND)


def gateway(profile: Profile, broker: str, control: str, http_port: int, grpc_port: int) -> Child:
    settings = {
        "brokers": broker,
        "control_url": control,
        "topic": TOPIC,
        "http_host": profile.host,
        "http_port": http_port,
        "grpc_host": profile.host,
        "grpc_port": grpc_port,
        "guard_dir": str(profile.data),
        "org_bytes_per_s": 0,  # on a machine of one's own only the disk and the broker press back
    }
    return _python("gateway", ["-m", "services.gateway", "--settings", _write(profile, "gateway", settings)], profile)


def observe(profile: Profile, broker: str, store_url: str) -> Child:
    settings = {
        "brokers": broker,
        "topic": TOPIC,
        "store_url": store_url,
        "folder": str(profile.data / "observe"),
        "quiet_gap_s": profile.quiet_gap_s,
        "horizon_s": profile.horizon_s,
    }
    args = ["-m", "jobs.observe", "--local", "--settings", _write(profile, "observe", settings)]
    return _python("observe", args, profile, _BACKGROUND)


def alerts(profile: Profile, broker: str, control: str, metrics_port: int) -> Child:
    """The notifier; SPANMILL_ALERTS_<NAME> of the environment reach it too."""
    settings = {"brokers": broker, "control_url": control, "metrics_port": metrics_port}
    args = ["-m", "services.alerts", "--settings", _write(profile, "alerts", settings)]
    return _python("alerts", args, profile, _BACKGROUND)


def budget(profile: Profile, broker: str, store_url: str) -> Child:
    """The job. It does not stand back as the others in the background do: an application waits for its decision."""
    settings = {"brokers": broker, "store_url": store_url, "folder": str(profile.data / "budget")}
    return _python(
        "budget", ["-m", "jobs.budget", "--local", "--settings", _write(profile, "budget", settings)], profile
    )


def budget_service(
    profile: Profile, broker: str, control: str, store_url: str, http_port: int, grpc_port: int
) -> Child:
    settings = {
        "brokers": broker,
        "control_url": control,
        "http_host": profile.host,
        "http_port": http_port,
        "grpc_host": profile.host,
        "grpc_port": grpc_port,
        "store_url": store_url,
    }
    name = "budget-service"
    return _python(name, ["-m", "services.budget", "--settings", _write(profile, name, settings)], profile)


def _python(name: str, args: list[str], profile: Profile, nice: int = 0) -> Child:
    return Child(name, [sys.executable, *args], profile.logs / f"{name}.log", nice=nice)


def _write(profile: Profile, name: str, settings: Mapping[str, object]) -> str:
    path = profile.data / f"{name}.json"
    path.touch(0o600)
    path.write_text(json.dumps(settings, indent=1))
    return str(path)


def topics(broker: str, say: Callable[[str], None]) -> None:
    """Creates the topics that are not there, and says what an existing one has otherwise."""
    for topic in TOPICS:
        for one in bring(Brokers(broker), topic).differences:
            say(f"{topic.name} {one.setting} {one}")


def migrate(control: str, store_url: str) -> None:
    """Brings the control database and the store's schema up to date."""
    engine = open_database(control)
    migrate_control(engine, time.time_ns())
    engine.dispose()
    try:
        with connect_creating(StoreSettings(store_url)) as client:
            migrate_store(client, CLICKHOUSE, time.time_ns())
    except MigrationError as error:
        raise Failure(f"the store's schema cannot be brought up to date: {error}", code=Exit.REFUSED) from error
