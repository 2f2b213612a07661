"""``enrich-dist review``: undecided candidates out as a sheet that a person fills in, decisions back in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Decisions of persons on candidates that the matcher leaves open.")


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="The sheet: CSV, UTF-8.")] = Path("review.csv"),
    limit: Annotated[int | None, typer.Option(min=1, help="Companies at most, the best first.")] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Write the undecided candidates of the latest result, the most to be gained first.

    To decide, fill in the column decision: confirm or reject; or name another recipient in other_recipient_id.
    """
    loaded = load_settings(config, overrides or [])
    from enrich_dist.pipeline.completed_run import read_completed_run
    from enrich_dist.pipeline.steps import Pipeline
    from enrich_dist.results.review import export_sheet

    pipeline = Pipeline(loaded.settings, "review")
    done = export_sheet(pipeline.directory, read_completed_run(pipeline, loaded), out, limit=limit)
    console = Console(soft_wrap=True, highlight=False)
    of_all = f" of {done.waiting:,}" if done.companies < done.waiting else ""
    console.print(
        f"{done.companies:,}{of_all} companies wait for a decision, {done.candidates:,} candidates in the sheet."
    )
    console.print(f"Sheet  {escape(str(out))}")
    if done.companies:
        console.print(
            "Write confirm or reject into 'decision', or the id of another recipient into 'other_recipient_id'."
        )
        console.print(f"Then: enrich-dist review import {escape(str(out))}")


@app.command("import")
def import_(
    sheet: Annotated[Path, typer.Argument(metavar="FILE", help="The sheet, filled in: CSV.")],
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Check a sheet that was filled in, and store its decisions: all of them, or none."""
    loaded = load_settings(config, overrides or [])
    from enrich_dist.pipeline.completed_run import read_completed_run
    from enrich_dist.pipeline.steps import Pipeline
    from enrich_dist.results.review import import_sheet

    pipeline = Pipeline(loaded.settings, "review")
    done = import_sheet(pipeline.directory, read_completed_run(pipeline, loaded), sheet)
    console = Console(soft_wrap=True, highlight=False)
    replaced = f", {done.replaced:,} earlier replaced" if done.replaced else ""
    console.print(
        f"Stored: {done.confirmed:,} confirmed, {done.rejected:,} rejected, {done.unchanged:,} unchanged{replaced}; "
        f"{len(done.table):,} decisions in all."
    )
    console.print("They act in every later run. To see their effect now: enrich-dist rejudge")
