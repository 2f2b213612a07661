"""Options that several commands share: the settings file and overrides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from enrich_dist.errors import SettingsError
from enrich_dist.settings import LoadedSettings

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file. [default: $ENRICH_DIST_CONFIG, else config/base.yaml]"),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Any setting, over environment and file; can be repeated."),
]
Recipients = Annotated[
    list[str] | None,
    typer.Option(help="Recipients; the setting inputs.recipients. Repeat it for several sources at once."),
]
Member = Annotated[
    str | None,
    typer.Option(help="Table or file of a source that holds several; the setting inputs.recipients_member."),
]


def recipient_values(recipients: list[str] | None, member: str | None) -> list[tuple[str, str | None]]:
    """The settings that the two options stand for."""
    several = json.dumps(recipients) if recipients and len(recipients) > 1 else None
    return [
        ("inputs.recipients", several or (recipients[0] if recipients else None)),
        ("inputs.recipients_member", member),
    ]


def print_overrides(console: Console, loaded: LoadedSettings) -> None:
    """The audit line of every setting that was overridden."""
    for item in loaded.overrides():
        console.print(item.line, style="dim", markup=False, highlight=False, soft_wrap=True)


def column_maps(texts: list[str] | None) -> dict[str, str | None]:
    """``column=header`` texts as a map; an empty header says that the file has no such column.

    Raises ``SettingsError`` for a text without "=".
    """
    found: dict[str, str | None] = {}
    for text in texts or []:
        column, separator, header = text.partition("=")
        if not separator:
            raise SettingsError(f"'{text}' has no '='.", remedy="Write COLUMN=HEADER.")
        found[column.strip()] = header.strip() or None
    return found
