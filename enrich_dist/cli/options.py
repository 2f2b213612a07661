"""Options and helpers that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enrich_dist.core.console import PlainConsole

if TYPE_CHECKING:
    from enrich_dist.settings import LoadedSettings
    from enrich_dist.store.run_directory import RunDirectory

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file. Default: $ENRICH_DIST_CONFIG, else config/base.yaml."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override any setting; can be repeated."),
]
WorkDir = Annotated[Path | None, typer.Option(help="Work directory of the runs; the setting paths.work_dir.")]
Json = Annotated[bool, typer.Option("--json", help="Print only a JSON document.")]


def load_settings(config: Path | None, overrides: Iterable[str] | None = None) -> LoadedSettings:
    """Read, override and validate the settings. Imports them now, so that ``--help`` does not wait."""
    from enrich_dist import settings

    return settings.load_settings(config, list(overrides or []))


def override_texts(values: Iterable[tuple[str, object]]) -> list[str]:
    """Return KEY=VALUE texts of the options that were given (``settings.override_texts``)."""
    from enrich_dist import settings

    return settings.override_texts(values)


def run_directory(config: Path | None, overrides: list[str] | None, work_dir: Path | None = None) -> RunDirectory:
    """Return the run directory of ``paths.work_dir``."""
    from enrich_dist.store.run_directory import RunDirectory

    texts = [*(overrides or []), *override_texts([("paths.work_dir", work_dir)])]
    return RunDirectory(load_settings(config, texts).settings.paths.work_dir)


def print_text(text: str) -> None:
    """Print a document of several lines as it is, without wrapping."""
    sys.stdout.write(text)


def print_json(document: object) -> None:
    """Print a JSON document, in ASCII: it has the same meaning in every locale, and no control characters."""
    print_text(json.dumps(document, indent=2).replace("\x7f", "\\u007f") + "\n")


def print_overrides(console: PlainConsole, loaded: LoadedSettings) -> None:
    """Print the audit line of every overridden setting."""
    for item in loaded.overrides():
        console.print(item.line, style="dim", soft_wrap=True)
