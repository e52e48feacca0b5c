"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from cli.local.profile import DEFAULT_DATA
from cli.output import Form

Data = Annotated[
    Path,
    typer.Option(envvar="SPANMILL_DATA", help="The data folder.", file_okay=False, resolve_path=True),
]
Output = Annotated[Form, typer.Option("--output", "-o", help="The form of the data on standard output.")]

DATA = DEFAULT_DATA
