"""``enrich-dist runs``: the runs of a work directory, one of them, and the difference of two; from files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Json, Overrides, WorkDir, print_json, run_directory

app = typer.Typer(no_args_is_help=True, help="Runs of a work directory: ls, show, diff.")

_RUN = "Run id or its first characters, latest, or previous."


@app.command("ls")
def list_runs(
    as_json: Json = False, work_dir: WorkDir = None, config: Config = None, overrides: Overrides = None
) -> None:
    """List all judged runs, the newest first.

    Example: `enrich-dist runs ls --work-dir work`
    """
    from enrich_dist.reporting import runs as tables
    from enrich_dist.runs.journal import read_runs
    from enrich_dist.runs.records import published_release

    directory = run_directory(config, overrides, work_dir)
    runs, current = read_runs(directory), published_release(directory)
    if as_json:
        print_json(tables.runs_document(runs, current))
    else:
        text = "No judged run here yet. To start one: enrich-dist run"
        Console(highlight=False, markup=False).print(tables.runs_table(runs, current) if runs else text)


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help=_RUN)] = "latest",
    as_json: Json = False,
    work_dir: WorkDir = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Show the inputs, settings, rates, steps, memory and failures of a run.

    Example: `enrich-dist runs show previous`
    """
    from enrich_dist.reporting import runs as tables
    from enrich_dist.runs.journal import find_run
    from enrich_dist.runs.records import published_release

    directory = run_directory(config, overrides, work_dir)
    found, current = find_run(directory, run), published_release(directory)
    if as_json:
        print_json(tables.run_document(found, current))
    else:
        tables.print_run(Console(highlight=False, markup=False), found, current)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help=_RUN)] = "previous",
    new: Annotated[str, typer.Argument(metavar="NEW", help=_RUN)] = "latest",
    awards: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every changed award to this .csv or .parquet file.")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Companies to show for each kind of change.")] = 5,
    as_json: Json = False,
    work_dir: WorkDir = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Show what changed between two runs: inputs, settings, rates, and awards that gained, lost or changed a match.

    Example: `enrich-dist runs diff previous latest --awards changes.csv`
    """
    from enrich_dist.reporting import runs as tables
    from enrich_dist.runs.journal import compare_runs, find_run

    directory = run_directory(config, overrides, work_dir)
    before, after = (find_run(directory, name) for name in (old, new))
    found = compare_runs(directory, before, after, examples=examples, table=awards)
    if as_json:
        print_json(tables.difference_document(found))
        return
    console = Console(highlight=False, markup=False)
    tables.print_difference(console, found)
    if awards is not None:
        console.print(f"Awards  {awards}")
