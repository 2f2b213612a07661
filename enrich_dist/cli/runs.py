"""``enrich-dist runs``: the runs of a work directory, one of them, and what changed between two; from files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.settings import load_settings, override_texts

if TYPE_CHECKING:
    from enrich_dist.store.run_directory import RunDirectory

app = typer.Typer(no_args_is_help=True, help="The runs of a work directory: list, one run, what changed between two.")

Json = Annotated[bool, typer.Option("--json", help="Print a JSON document and nothing else.")]
WorkDir = Annotated[Path | None, typer.Option(help="Where the runs wrote; the setting paths.work_dir.")]
_RUN = "Beginning of a run's id, or latest or previous."


@app.command("ls")
def list_runs(
    as_json: Json = False, work_dir: WorkDir = None, config: Config = None, overrides: Overrides = None
) -> None:
    """List all runs that were judged, the newest first."""
    from enrich_dist.reporting import runs as tables
    from enrich_dist.runs.entry import published_release
    from enrich_dist.runs.journal import read_runs

    directory = _directory(work_dir, config, overrides)
    runs, current = read_runs(directory), published_release(directory)
    if as_json:
        _print_json(tables.runs_document(runs, current))
    elif runs:
        _console().print(tables.runs_table(runs, current))
    else:
        _console().print("No run was judged here yet. Start with: enrich-dist run")


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help=_RUN)] = "latest",
    as_json: Json = False,
    work_dir: WorkDir = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Tell of a run its inputs, settings, rates, steps, memory and failures."""
    from enrich_dist.reporting import runs as tables
    from enrich_dist.runs.entry import published_release
    from enrich_dist.runs.journal import find_run

    directory = _directory(work_dir, config, overrides)
    found, current = find_run(directory, run), published_release(directory)
    if as_json:
        _print_json(tables.run_document(found, current))
    else:
        tables.print_run(_console(), found, current)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help=_RUN)] = "previous",
    new: Annotated[str, typer.Argument(metavar="NEW", help=_RUN)] = "latest",
    awards: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every award that is not as it was to this .csv or .parquet file."),
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Companies to show of each kind of change.")] = 5,
    as_json: Json = False,
    work_dir: WorkDir = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Tell what changed between two runs: inputs, settings, rates, and which awards gained, lost or changed a match."""
    from enrich_dist.reporting import runs as tables
    from enrich_dist.runs.diff import compare_runs
    from enrich_dist.runs.journal import find_run

    directory = _directory(work_dir, config, overrides)
    before, now = (find_run(directory, name) for name in (old, new))
    found = compare_runs(directory, before, now, examples=examples, table=awards)
    if as_json:
        _print_json(tables.difference_document(found))
        return
    console = _console()
    tables.print_difference(console, found)
    if awards is not None:
        console.print(f"Awards  {awards}")


def _directory(work_dir: Path | None, config: Path | None, overrides: list[str] | None) -> RunDirectory:
    from enrich_dist.store.run_directory import RunDirectory

    texts = [*(overrides or []), *override_texts([("paths.work_dir", work_dir)])]
    return RunDirectory(load_settings(config, texts).settings.paths.work_dir)


def _print_json(document: object) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _console() -> Console:
    return Console(highlight=False, markup=False)
