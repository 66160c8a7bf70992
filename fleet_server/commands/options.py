"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", envvar="TILLMEDIC_DATA", help="State folder of this installation.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words.")]
DEFAULT_DATA = Path(".run")
