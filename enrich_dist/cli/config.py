"""``enrich-dist config``: show, validate and document the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from enrich_dist.cli.options import Config, Overrides, load_settings, print_text
from enrich_dist.core.console import PlainConsole
from enrich_dist.errors import EXIT_BAD_INPUT, SettingsError

Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write to this file instead.")]

_BEGINNINGS = ('{\n  "$schema"', "# Settings\n")  # of the schema and of the reference

app = typer.Typer(no_args_is_help=True, help="Settings: show, validate, schema, reference.")


@app.command()
def show(
    config: Config = None,
    overrides: Overrides = None,
    origin: Annotated[bool, typer.Option("--origin", help="Show where each value was set.")] = False,
) -> None:
    """Print every setting with its value, as a run with the same options would use it.

    Example: `enrich-dist config show --origin --config config/sample.yaml`
    """
    table = Table("setting", "value", *(["origin"] if origin else []), box=None, pad_edge=False)
    for item in load_settings(config, overrides).used():
        table.add_row(item.key, item.value, *([item.origin] if origin else []))
    PlainConsole().print(table)


@app.command()
def validate(config: Config = None, overrides: Overrides = None) -> None:
    """Report all errors of the settings before any work starts. Exit code 2 if a run would be refused.

    It also checks what they name: inputs, certificates, packages, directories and the checkpoint location.

    Example: `enrich-dist config validate --config production.yaml`
    """
    console = PlainConsole()
    try:
        loaded = load_settings(config, overrides)
    except SettingsError as error:
        for part in error.parts:
            console.print(Text.assemble(("error    ", "bold red"), str(part)))
        raise typer.Exit(EXIT_BAD_INPUT) from None
    from enrich_dist.preflight.runner import find_settings_problems

    problems = find_settings_problems(loaded)
    for problem in problems:
        label = ("warning  ", "yellow") if problem.is_warning else ("error    ", "bold red")
        console.print(Text.assemble(label, str(problem.error)))
        for origin in problem.origins:
            console.print(f"         {origin}", style="dim")
    if not all(problem.is_warning for problem in problems):
        raise typer.Exit(EXIT_BAD_INPUT)
    console.print(f"Valid: {len(loaded.used())} settings, {len(loaded.overrides())} of them overridden.")


@app.command()
def schema(out: Out = None) -> None:
    """Print the JSON Schema of settings files, for editors.

    Example: `enrich-dist config schema --out settings.schema.json`
    """
    from enrich_dist.settings.documentation import settings_schema

    _write(json.dumps(settings_schema(), indent=2, ensure_ascii=False) + "\n", out)


@app.command()
def reference(out: Out = None) -> None:
    """Print the reference of all settings as Markdown: docs/reference/settings.md.

    Example: `enrich-dist config reference --out docs/reference/settings.md`
    """
    from enrich_dist.settings.documentation import render_reference

    _write(render_reference(), out)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        print_text(text)
    else:
        from enrich_dist.core.files import write_file
        from enrich_dist.core.owned_files import begins_with, require_replaceable

        require_replaceable(out, option="--out", is_ours=begins_with(*_BEGINNINGS))
        write_file(out, text)
