"""``enrich-dist config``: what the settings are and where each came from."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.settings import flatten, load_settings

app = typer.Typer(no_args_is_help=True, help="Settings: what they are and where they came from.")


@app.callback()
def _group() -> None:
    """Keep ``show`` a command of its own while it is the only one."""


@app.command()
def show(
    config: Config = None,
    overrides: Overrides = None,
    origin: Annotated[bool, typer.Option("--origin", help="Tell where each value came from.")] = False,
) -> None:
    """Print every setting with its value, as a run with the same options would use it."""
    loaded = load_settings(config, overrides or [])
    table = Table("setting", "value", *(["origin"] if origin else []), box=None, pad_edge=False)
    for key, value in sorted(flatten(loaded.settings.model_dump(mode="json")).items()):
        text = "null" if value is None else str(value)
        table.add_row(key, text, *([loaded.origins.get(key, "default")] if origin else []))
    Console(soft_wrap=True).print(table)
