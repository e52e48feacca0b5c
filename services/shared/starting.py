"""How a process of ours begins: with its settings, and a control database that is up to date."""

import argparse
import logging
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from services.control.database import open_database
from services.control.migrate import MigrationState, status
from services.shared.settings import ServiceSettings, settings_of

Kind = TypeVar("Kind", bound=ServiceSettings)


class CannotStart(Exception):
    """Why, in its text."""


def begin(
    program: str, about: str | None, kind: type[Kind], arguments: list[str] | None, **database: float
) -> tuple[Kind, sa.Engine]:
    """Reads the command line and the settings, sets up logging and opens the control database.

    database: options of `open_database`. Raises CannotStart for settings or a database that cannot be used, and for one
    that lacks migrations.
    """
    parser = argparse.ArgumentParser(f"python -m {program}", description=about)
    variables = f"{kind.model_config.get('env_prefix')}<NAME>"
    parser.add_argument("--settings", type=Path, help=f"a JSON file; {variables} overrides it")
    file: Path | None = parser.parse_args(arguments).settings
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.WARNING)
    try:
        settings = settings_of(kind, file)
        engine = open_database(settings.control_url, **database)
        pending = [m.name for m in status(engine) if m.state is not MigrationState.APPLIED]
    except (FileNotFoundError, ValidationError, SQLAlchemyError) as error:
        raise CannotStart(str(error)) from error
    if pending:
        raise CannotStart(f"the control database lacks migrations: {', '.join(pending)}")
    return settings, engine
