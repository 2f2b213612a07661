"""Options that several commands share: the settings file and overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file. [default: $ENRICH_DIST_CONFIG, else config/base.yaml]"),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Any setting, over environment and file; can be repeated."),
]
