"""The settings of the observe job, read once at the start."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

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


class ObserveSettings(BaseModel):
    """What `jobs/observe.yaml` and a settings file say together. A value that is missing or unknown is refused."""

    # An error names the setting, not its value, which may be a password.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    brokers: str
    kafka: KafkaAccess = OPEN
    topic: str
    store_url: str  # ClickHouse HTTP protocol
    store_user: str = "default"
    store_password: str = ""
    database: str
    parallelism: Annotated[int, Field(ge=1, le=MAX_PARALLELISM)]
    buckets: Annotated[int, Field(ge=1, le=MAX_PARALLELISM)]  # fixed for the life of the state
    batch_bytes: _Count
    linger_ms: _Count
    tick_ms: _Count
    checkpoint_s: _Positive
    quiet_gap_s: _Positive
    horizon_s: _Positive
    limits: Limits = LIMITS
    alert_topic: str = ""  # that incidents are written to; '': no alerts
    budget_topic: str = ""  # that the ledger's entries are written to, for the budget job; '': to none

    @property
    def store(self) -> StoreSettings:
        return StoreSettings(self.store_url, self.store_user, self.store_password, self.database)


class LocalSettings(ObserveSettings):
    """And what a run in a Flink of its own needs."""

    folder: Path  # checkpoints, logs and scratch files
    heap_mb: _Count


def load_local(spec: Path, settings: Path) -> LocalSettings:
    """The `settings` and `local` sections of the YAML spec, overlaid with the JSON object in the file `settings`.

    Raises pydantic.ValidationError naming what is missing, unknown or out of range.
    """
    asked = {**defaults(spec, "local"), **json.loads(settings.read_text())}
    return LocalSettings.model_validate(asked)


def load_application(settings: Path, environment: Mapping[str, str]) -> ObserveSettings:
    """The JSON object in the file `settings`, overlaid with what the environment holds as a place's secrets.

    SPANMILL_KAFKA is a JSON object (schemas/kafka.py). Raises pydantic.ValidationError like load_local.
    """
    secrets: dict[str, Any] = {name: environment.get(variable) for name, variable in ACCOUNTS.items()}
    if secrets["kafka"]:
        secrets["kafka"] = KafkaAccess.model_validate_json(secrets["kafka"])
    secrets = {name: value for name, value in secrets.items() if value}
    return ObserveSettings.model_validate({**json.loads(settings.read_text()), **secrets})


def defaults(spec: Path, place: str) -> dict[str, Any]:
    """What the YAML spec says for `place`, local or cluster."""
    sections = YAML(typ="safe").load(spec)
    return {**sections["settings"], **sections[place]}
