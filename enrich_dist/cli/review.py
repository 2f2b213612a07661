"""``enrich-dist review``: export unresolved candidates as a sheet, and import human review decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enrich_dist.cli.options import Config, Overrides, plain_console
from enrich_dist.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Human review of unresolved candidates: export, import.")


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="Output sheet: CSV, UTF-8.")] = Path("review.csv"),
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of companies, the best first.")] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Write the unresolved candidates of the latest result, ordered by expected gain.

    To decide, write confirm or reject into the column decision, or another recipient's id into other_recipient_id.

    Example: `enrich-dist review export --out review.csv --limit 100`
    """
    loaded = load_settings(config, overrides or [])
    from enrich_dist.pipeline.completed_run import read_completed_run
    from enrich_dist.pipeline.steps import Pipeline
    from enrich_dist.results.review import export_sheet

    pipeline = Pipeline(loaded.settings, "review")
    sheet = export_sheet(pipeline.directory, read_completed_run(pipeline, loaded), out, limit=limit)
    console = plain_console()
    total = f" of {sheet.waiting:,}" if sheet.companies < sheet.waiting else ""
    console.print(f"{sheet.companies:,}{total} companies need a decision: {sheet.candidates:,} candidates.")
    console.print(f"Sheet  {out}")
    if sheet.companies:
        console.print("Write confirm or reject into 'decision', or another recipient's id into 'other_recipient_id'.")
        console.print(f"Then run: enrich-dist review import {out}")


@app.command("import")
def import_(
    sheet: Annotated[Path, typer.Argument(metavar="FILE", help="The completed sheet: CSV.")],
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Check a completed sheet, and store all of its decisions, or none if one is invalid.

    The decisions apply to every later run, and to `enrich-dist rejudge`.

    Example: `enrich-dist review import review.csv`
    """
    loaded = load_settings(config, overrides or [])
    from enrich_dist.pipeline.completed_run import read_completed_run
    from enrich_dist.pipeline.steps import Pipeline
    from enrich_dist.results.review import import_sheet

    pipeline = Pipeline(loaded.settings, "review")
    stored = import_sheet(pipeline.directory, read_completed_run(pipeline, loaded), sheet)
    console = plain_console()
    replaced = f", {stored.replaced:,} earlier replaced" if stored.replaced else ""
    console.print(
        f"Stored: {stored.confirmed:,} confirmed, {stored.rejected:,} rejected, {stored.unchanged:,} unchanged"
        f"{replaced}; {len(stored.table):,} decisions in all."
    )
    console.print("They apply to every later run. To apply them now, run: enrich-dist rejudge")
