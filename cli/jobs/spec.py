"""What a job is asked to be: the project's YAML spec, what the place says, and what the command line says, in order."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cli.exits import Exit, Failure
from cli.local.profile import Running
from pipelines.flink.settings import SETTINGS, defaults
from schemas.topics import SPANS

_JOBS = Path(__file__).parents[2] / "jobs"


@dataclass(frozen=True)
class JobSpec:
    """name; entry: the Python module; settings: all of them, validated, but those of SECRET."""

    name: str
    entry: str
    settings: dict[str, Any]


# How a job proves itself belongs to the place: it is added when the job is submitted, and in no plan or history.
SECRET = ("kafka", "store_user", "store_password")


def access_of(running: Running) -> dict[str, Any]:
    return {"kafka": running.kafka, "store_user": running.store_user, "store_password": running.store_password}


def known_jobs() -> list[str]:
    """The jobs that this version ships, in order."""
    return sorted(path.stem for path in _JOBS.glob("*.yaml"))


def job_spec(job: str, running: Running, file: Path | None, sets: Sequence[str], parallelism: int | None) -> JobSpec:
    """The spec of `job` on the cluster `running`, under `file` (YAML of settings), `sets` (NAME=VALUE), `parallelism`.

    Raises Failure (usage) that names what is unknown or wrong.
    """
    if job not in known_jobs():
        raise Failure(f"there is no job {job!r}", f"the jobs are: {', '.join(known_jobs())}", Exit.USAGE)
    path = _JOBS / f"{job}.yaml"
    asked = defaults(path, "cluster") | {"brokers": running.broker, "store_url": running.store}
    if asked["topic"] == SPANS.name:  # which a place may name otherwise
        asked["topic"] = running.topic
    asked |= _from_file(file) | dict(_pair(text) for text in sets)
    if parallelism is not None:
        asked["parallelism"] = parallelism
    try:
        settings = SETTINGS[job].model_validate(asked)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise Failure(f"the settings of {job} are wrong: {problems}", f"see jobs/{job}.yaml", Exit.USAGE) from error
    said = settings.model_dump(mode="json", exclude=set(SECRET))
    return JobSpec(job, YAML(typ="safe").load(path)["entry"], said)


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        read = YAML(typ="safe").load(file)
    except (OSError, YAMLError) as error:
        raise Failure(f"{file} cannot be read: {error}", code=Exit.USAGE) from error
    if not isinstance(read, dict):
        raise Failure(f"{file} holds no settings", "write one a line: quiet_gap_s: 10", Exit.USAGE)
    return read


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Failure(f"--set {text!r} is not NAME=VALUE", "--set horizon_s=900", Exit.USAGE)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
