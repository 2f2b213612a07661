"""Options and helpers that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from enrich_dist.settings import LoadedSettings, load_settings, override_texts

if TYPE_CHECKING:
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


def run_directory(config: Path | None, overrides: list[str] | None, work_dir: Path | None = None) -> RunDirectory:
    """Return the run directory of ``paths.work_dir``."""
    from enrich_dist.store.run_directory import RunDirectory

    texts = [*(overrides or []), *override_texts([("paths.work_dir", work_dir)])]
    return RunDirectory(load_settings(config, texts).settings.paths.work_dir)


def plain_console(*, stderr: bool = False) -> Console:
    """Return a console that neither wraps, highlights nor interprets markup."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False)


def print_json(document: object) -> None:
    """Print a JSON document."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_overrides(console: Console, loaded: LoadedSettings) -> None:
    """Print the audit line of every overridden setting."""
    for item in loaded.overrides():
        console.print(item.line, style="dim", markup=False, highlight=False, soft_wrap=True)
