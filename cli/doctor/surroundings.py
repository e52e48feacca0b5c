"""Whether what an instance stands on is as the product needs it: schemas, topic, Flink, checkpoints."""

import os
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from clickhouse_connect.driver.exceptions import Error
from sqlalchemy.exc import SQLAlchemyError

from cli.client import connect
from cli.doctor.check import Check
from cli.exits import Failure
from cli.jobs.flink_rest import FlinkRest
from cli.kafka import brokers_of
from cli.local.profile import Running
from pipelines.flink.checkpoints import newest
from pipelines.migrate import plan
from schemas.limits import LIMITS
from schemas.migrations import CLICKHOUSE, MigrationError
from services.control.database import open_database
from services.control.migrate import MigrationState, status

_LEAST_RETENTION_MS = 86_400_000  # so long may the job be away
_OLDEST_CHECKPOINT_S = 120.0
_JOB = "observe"


def schemas(running: Running) -> Iterator[Check]:
    """The migrations of the store and of the control database."""
    try:
        with connect(running) as client:
            pending = [f"{one.number:04}_{one.name}" for one in plan(client, CLICKHOUSE)]
        yield Check("store schema", not pending, ", ".join(pending) or "up to date", "spanmill migrate")
    except MigrationError as error:
        yield Check("store schema", False, str(error), "restore the migration's file as it was")
    except (Failure, Error) as error:
        yield Check("store schema", False, str(error), "see the store's log")
    if not running.control:
        return
    engine = open_database(running.control)
    try:
        wrong = [f"{one.name} {one.state}" for one in status(engine) if one.state is not MigrationState.APPLIED]
        yield Check("control schema", not wrong, ", ".join(wrong) or "up to date", "spanmill migrate")
    except SQLAlchemyError as error:
        yield Check("control schema", False, str(error).splitlines()[0], "see the control database's log")
    finally:
        engine.dispose()


def topic(running: Running) -> Iterator[Check]:
    """Whether a request of the largest size fits into the topic, and waits long enough there for the job."""
    brokers, name = brokers_of(running.broker, running.kafka), f"topic {running.topic}"
    try:
        found = brokers.topic(running.topic)
    except Failure as error:
        yield Check(name, False, str(error), error.hint)
        return
    if found is None:
        yield Check(name, False, "not there", "spanmill migrate")
        return
    yield Check(name, True, f"{found.partitions} partitions")
    alter = f"kafka-configs.sh --alter --topic {running.topic} --add-config"
    retention, largest = int(found.settings["retention.ms"]), int(found.settings["max.message.bytes"])
    kept = "for ever" if retention < 0 else f"{retention / 86_400_000:.1f} days"
    enough = retention < 0 or retention >= _LEAST_RETENTION_MS
    yield Check(f"{name}: retention", enough, kept, f"{alter} retention.ms={7 * _LEAST_RETENTION_MS}")
    needed = max(LIMITS.body_bytes, LIMITS.inflated_bytes) + 2**16
    fits = largest >= needed
    yield Check(f"{name}: record", fits, f"up to {largest:,} bytes", f"{alter} max.message.bytes={32 * 2**20}")


def flink(running: Running) -> Iterator[Check]:
    """Version, the folder of the checkpoints, the job and its newest checkpoint."""
    rest, ours = FlinkRest(running.flink), version("apache-flink")
    try:
        found = rest.version()
        same = found.split(".")[:2] == ours.split(".")[:2]
        yield Check("Flink", same, f"{found} at {running.flink}", f"this is for Flink {ours}: upgrade the cluster")
        yield from _checkpoint_folder(running.checkpoints)
        jobs = rest.running(_JOB)
        if not jobs:
            yield Check(f"job {_JOB}", False, "does not run", f"spanmill job deploy {_JOB}")
            return
        job = rest.job(jobs[0])
        tasks = f"{job.state}, {job.running} of {job.tasks} tasks run, {job.restarts} restarts"
        yield Check(f"job {_JOB}", job.all_running, tasks, f"spanmill job logs {_JOB}; {job.failure}".strip("; "))
        done = rest.checkpoints(jobs[0])["latest"]["completed"]
        age = None if done is None else time.time() - done["latest_ack_timestamp"] / 1000
        yield _age(age, "Flink's page, Checkpoints, has the reason of each that failed")
    except Failure as error:
        yield Check("Flink", False, str(error), error.hint or "see jobmanager.log")


def embedded_checkpoint(data: Path, job_log: str) -> Check:
    found = newest(data / "observe" / "checkpoints")
    return _age(None if found is None else time.time() - (found / "_metadata").stat().st_mtime, f"see {job_log}")


def _age(seconds: float | None, cure: str) -> Check:
    found = "none was completed yet" if seconds is None else f"{max(0, seconds):.0f} s old"
    return Check("newest checkpoint", seconds is not None and seconds < _OLDEST_CHECKPOINT_S, found, cure)


def _checkpoint_folder(uri: str) -> Iterator[Check]:
    if not uri:
        return
    place = urlsplit(uri)
    if place.scheme != "file":
        yield Check("checkpoint folder", True, f"{uri}: only the cluster can tell, by the newest checkpoint")
        return
    folder = Path(unquote(place.path))
    writable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    yield Check("checkpoint folder", writable, str(folder), f"mkdir -p {folder}, and let Flink's account write there")
