"""The settings of a process: a JSON file, overridden by environment variables."""

from pathlib import Path
from typing import TypeVar

from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from schemas.kafka import OPEN, KafkaAccess


class ServiceSettings(BaseSettings):
    """Settings of a process: what its JSON file says, under what the environment says."""

    brokers: str  # Kafka bootstrap servers
    control_url: str  # SQLAlchemy URL of the control database
    kafka: KafkaAccess = OPEN

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, JsonConfigSettingsSource(settings_cls)


Kind = TypeVar("Kind", bound=ServiceSettings)


def settings_of(kind: type[Kind], file: Path | None) -> Kind:
    """The settings in `file`, under those of the environment.

    Raises FileNotFoundError, and pydantic.ValidationError for a setting that is missing, unknown or wrong.
    """
    if file is None:
        return kind()  # pyright: ignore[reportCallIssue]: the environment gives the required ones
    if not file.is_file():
        raise FileNotFoundError(f"there is no settings file {file}")

    class FromFile(kind):
        model_config = SettingsConfigDict(json_file=file)

    # A class with a variable for its base is hidden from the type checker; the file gives the required settings.
    return FromFile()  # pyright: ignore[reportReturnType, reportCallIssue]
