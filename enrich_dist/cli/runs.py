"""``enrich-dist runs``: the runs of a work directory, the difference of two, and the space that they use."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enrich_dist.cli.options import (
    Config,
    Json,
    Overrides,
    WorkDir,
    load_settings,
    override_texts,
    print_json,
    run_directory,
)
from enrich_dist.core.console import PlainConsole
from enrich_dist.errors import SettingsError

if TYPE_CHECKING:
    from enrich_dist.store.run_directory import RunDirectory

app = typer.Typer(no_args_is_help=True, help="Runs of a work directory: ls, show, diff, space, prune.")

_RUN = "Run id or its first characters, latest, or previous."


@app.command("ls")
def list_runs(
    as_json: Json = False, work_dir: WorkDir = None, config: Config = None, overrides: Overrides = None
) -> None:
    """List all judged runs, the newest first; then those that ended without a result.

    Example: `enrich-dist runs ls --work-dir work`
    """
    from enrich_dist.reporting import runs as tables
    from enrich_dist.runs.ended_runs import read_ended_runs
    from enrich_dist.runs.journal import read_runs
    from enrich_dist.runs.records import published_release

    directory = run_directory(config, overrides, work_dir)
    runs, current = read_runs(directory), published_release(directory)
    if as_json:
        print_json(tables.runs_document(runs, current))
    else:
        text = "No judged run here yet. To start one: enrich-dist run"
        console = PlainConsole(wrap=True)
        console.print(tables.runs_table(runs, current) if runs else text)
        judged = {run.run_id for run in runs}
        if ended := [run for run in read_ended_runs(directory) if run.run_id not in judged]:
            console.print("", "Without a result", tables.ended_table(ended), sep="\n")


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
        tables.print_run(PlainConsole(wrap=True), found, current)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help=_RUN)] = "previous",
    new: Annotated[str, typer.Argument(metavar="NEW", help=_RUN)] = "latest",
    awards: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every changed award to this .csv, .parquet, .jsonl or .xlsx file."),
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
    console = PlainConsole(wrap=True)
    tables.print_difference(console, found)
    if awards is not None:
        console.print(f"Awards  {awards}")


Keep = Annotated[
    int | None, typer.Option(min=1, help="Number of latest judged runs to keep; the setting retention.keep_runs.")
]


@app.command()
def space(
    keep: Keep = None,
    as_json: Json = False,
    work_dir: WorkDir = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Show what uses the disk space of a work directory, and what `runs prune` would remove.

    Example: `enrich-dist runs space --keep 3`
    """
    from enrich_dist.reporting import runs as tables
    from enrich_dist.runs.retention import measure_space

    directory, kept = _retention(keep, work_dir, config, overrides)
    found = measure_space(directory, kept)
    if as_json:
        print_json(tables.space_document(found))
    else:
        PlainConsole(wrap=True).print(tables.space_table(found))


@app.command()
def prune(
    keep: Keep = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    work_dir: WorkDir = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Remove the files and the Dagster events of all but the latest judged runs.

    The published release, the inputs of the latest run and the list of runs stay. Checkpoints: `checkpoints gc`.

    Example: `enrich-dist runs prune --keep 3 --dry-run`
    """
    from enrich_dist.core.tables import megabytes
    from enrich_dist.runs import retention
    from enrich_dist.runs.journal import read_runs
    from enrich_dist.store.lock import locked

    directory, kept = _retention(keep, work_dir, config, overrides)
    if kept is None:
        raise SettingsError(
            "The number of runs to keep is not set.", remedy="Write --keep N, or set retention.keep_runs."
        )
    console = PlainConsole()
    if dry_run:
        for path in retention.removable(retention.measure_space(directory, kept)):
            console.print(f"Would remove {path}")
        return
    from dagster_defs.launch import open_instance
    from dagster_defs.retention import prune_history

    with locked(directory.root, run_id=uuid.uuid4().hex, what="enrich-dist runs prune"):
        found = retention.prune(directory, kept)
        with open_instance(directory.dagster) as instance:
            judged = [run.run_id for run in read_runs(directory)]
            events = prune_history(instance, directory.dagster, judged, kept)
    freed = sum(item.removable_bytes for item in found)
    console.print(
        f"{len(retention.removable(found)):,} artifacts ({megabytes(freed)}) and the Dagster events of {events:,} runs "
        "removed"
    )


def _retention(
    keep: int | None, work_dir: Path | None, config: Path | None, overrides: list[str] | None
) -> tuple[RunDirectory, int | None]:
    """Return the run directory, and the number of runs to keep: the option, else the setting."""
    from enrich_dist.store.run_directory import RunDirectory

    texts = [*(overrides or []), *override_texts([("paths.work_dir", work_dir), ("retention.keep_runs", keep)])]
    settings = load_settings(config, texts).settings
    return RunDirectory(settings.paths.work_dir), settings.retention.keep_runs
