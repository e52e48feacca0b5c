"""The settings of the jobs, read once at the start."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from pipelines.flink.keys import MAX_PARALLELISM
from pipelines.store import StoreSettings
from schemas.kafka import OPEN, KafkaAccess
from schemas.limits import LIMITS, Limits

_Positive = Annotated[float, Field(gt=0)]
_Count = Annotated[int, Field(gt=0)]
ACCOUNTS = {
    "kafka": "SPANMILL_KAFKA",
    "store_user": "SPANMILL_STORE_USER",
    "store_password": "SPANMILL_STORE_PASSWORD",
}


class JobSettings(BaseModel):
    """What every job has. A value that is missing or unknown is refused."""

    # An error names the setting, not its value, which may be a password.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    brokers: str
    kafka: KafkaAccess = OPEN
    topic: str  # that the job reads
    store_url: str  # ClickHouse HTTP protocol
    store_user: str = "default"
    store_password: str = ""
    database: str
    parallelism: Annotated[int, Field(ge=1, le=MAX_PARALLELISM)]
    checkpoint_s: _Positive
    alert_topic: str = ""  # that incidents are written to; '': no alerts

    @property
    def store(self) -> StoreSettings:
        return StoreSettings(self.store_url, self.store_user, self.store_password, self.database)

    @property
    def bound(self) -> dict[str, int]:
        """The settings that the state is bound to."""
        return {}


class ObserveSettings(JobSettings):
    """What `jobs/observe.yaml` and a settings file say together."""

    buckets: Annotated[int, Field(ge=1, le=MAX_PARALLELISM)]  # fixed for the life of the state
    batch_bytes: _Count
    linger_ms: _Count
    tick_ms: _Count
    quiet_gap_s: _Positive
    horizon_s: _Positive
    limits: Limits = LIMITS
    budget_topic: str = ""  # that the ledger's entries are written to, for the budget job; '': to none

    @property
    def bound(self) -> dict[str, int]:
        return {"buckets": self.buckets}


class BudgetSettings(JobSettings):
    """What `jobs/budget.yaml` and a settings file say together."""

    replies_topic: str
    events_topic: str
    journal_topic: str  # on its way to the store
    linger_ms: _Count  # how long rows for the store are gathered
    batch_bytes: _Count


SETTINGS: Mapping[str, type[JobSettings]] = {"observe": ObserveSettings, "budget": BudgetSettings}


class LocalPlace(BaseModel):
    """What a run in a Flink of its own needs besides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path  # checkpoints, logs and scratch files
    heap_mb: _Count


Settings = TypeVar("Settings", bound=JobSettings)


def load_local(kind: type[Settings], spec: Path, settings: Path) -> tuple[Settings, LocalPlace]:
    """The `settings` and `local` sections of the YAML spec, overlaid with the JSON object in the file `settings`.

    Raises pydantic.ValidationError naming what is missing, unknown or out of range.
    """
    asked = {**defaults(spec, "local"), **json.loads(settings.read_text())}
    place = {name: asked.pop(name) for name in LocalPlace.model_fields if name in asked}
    return kind.model_validate(asked), LocalPlace.model_validate(place)


def load_application(kind: type[Settings], settings: Path, environment: Mapping[str, str]) -> Settings:
    """The JSON object in the file `settings`, overlaid with what the environment holds as a place's secrets.

    SPANMILL_KAFKA is a JSON object (schemas/kafka.py). Raises pydantic.ValidationError like load_local.
    """
    secrets: dict[str, Any] = {name: environment.get(variable) for name, variable in ACCOUNTS.items()}
    if secrets["kafka"]:
        secrets["kafka"] = KafkaAccess.model_validate_json(secrets["kafka"])
    secrets = {name: value for name, value in secrets.items() if value}
    return kind.model_validate({**json.loads(settings.read_text()), **secrets})


def defaults(spec: Path, place: str) -> dict[str, Any]:
    """What the YAML spec says for `place`, local or cluster."""
    sections = YAML(typ="safe").load(spec)
    return {**sections["settings"], **sections[place]}
