"""``enrich-dist review`` and ``rejudge``: human review decisions, and judging a finished run again with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from enrich_dist.cli.options import Config, Overrides, load_settings, print_overrides
from enrich_dist.core.console import PlainConsole
from enrich_dist.errors import EXIT_BLOCKED

if TYPE_CHECKING:
    from enrich_dist.pipeline.rejudge import RejudgedResult

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
    loaded = load_settings(config, overrides)
    from enrich_dist.pipeline.completed_run import read_completed_run
    from enrich_dist.pipeline.steps import Pipeline
    from enrich_dist.results.review import export_sheet

    pipeline = Pipeline(loaded.settings, "review")
    sheet = export_sheet(pipeline.directory, read_completed_run(pipeline, loaded), out, limit=limit)
    console = PlainConsole()
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
    loaded = load_settings(config, overrides)
    from enrich_dist.pipeline.completed_run import read_completed_run
    from enrich_dist.pipeline.steps import Pipeline
    from enrich_dist.results.review import import_sheet

    pipeline = Pipeline(loaded.settings, "review")
    stored = import_sheet(pipeline.directory, read_completed_run(pipeline, loaded), sheet)
    console = PlainConsole()
    replaced = f", {stored.replaced:,} earlier replaced" if stored.replaced else ""
    console.print(
        f"Stored: {stored.confirmed:,} confirmed, {stored.rejected:,} rejected, {stored.unchanged:,} unchanged"
        f"{replaced}; {len(stored.table):,} decisions in all."
    )
    console.print("They apply to every later run. To apply them now, run: enrich-dist rejudge")


def rejudge(
    config: Config = None,
    overrides: Overrides = None,
    publish: Annotated[bool, typer.Option("--publish", help="Also publish the result, if it passes.")] = False,
) -> None:
    """Reduce and judge the finished run again, with other thresholds or new review decisions. Exit code 3 if blocked.

    It reads the checkpoints and takes seconds: no chunk is matched again.

    Example: `enrich-dist rejudge --set matching.accept_probability=0.75`
    """
    loaded = load_settings(config, overrides)
    print_overrides(PlainConsole(stderr=True), loaded)
    from enrich_dist.pipeline.rejudge import rejudge as judge_again
    from enrich_dist.preflight.readiness_file import require_ready
    from enrich_dist.reporting.terminal import shown_path
    from enrich_dist.run_lifecycle import report_run
    from enrich_dist.store.run_directory import Output

    if publish:
        require_ready(loaded.settings)
    rejudged = judge_again(loaded)
    console = PlainConsole()
    _print_outcome(console, rejudged)
    result = rejudged.step.path(Output.RESULT)
    try:
        if publish:
            rejudged.pipeline.publish_awards()  # refuses a blocked result
            result = rejudged.pipeline.directory.current
    finally:
        report_run(rejudged.pipeline)
    console.print(f"{'Published' if publish else 'Result'}  {shown_path(result)}")
    if not rejudged.passed:
        raise typer.Exit(EXIT_BLOCKED)
    if not publish:
        console.print("To publish it, run the same command with --publish.")


def _print_outcome(console: PlainConsole, rejudged: RejudgedResult) -> None:
    """Print rates before and after, review decisions, and the verdict with its reasons."""
    from enrich_dist.results.reliability import describe
    from enrich_dist.results.report import decisions_text

    before, after = rejudged.before, rejudged.after
    rates, rates_before = _rates(after["metrics"]), _rates(before["metrics"]) if before else {}
    table = Table("", box=None, pad_edge=False)
    for title in ("before", "", "after"):
        table.add_column(title, justify="right")
    for name, rate in rates.items():
        table.add_row(name, rates_before.get(name, "no result"), "→", rate)
    table.add_row("verdict", before["verdict"]["status"] if before else "", "→", after["verdict"]["status"])
    console.print(table)
    reused = "; the result is unchanged" if rejudged.step.reused else ""
    console.print(f"Reduced and judged in {rejudged.step.seconds:.1f} s, without matching a chunk{reused}.")
    if decisions := decisions_text(after["metrics"]["overrides"]):
        console.print(f"Human review decisions: {decisions}")
    if doubt := describe(after["metrics"]["accuracy"]):
        console.print(f"Estimated precision and recall are {doubt}.")
    for reason in after["verdict"]["reasons"]:
        console.print(Text.assemble(("Blocked:", "bold red"), f" {reason}"))


def _rates(metrics: Mapping[str, Any]) -> dict[str, str]:
    from enrich_dist.core.tables import percent

    rates = {"match rate": percent(metrics["match_rate"])}
    for name in ("precision", "recall"):
        share = metrics["accuracy"][name]["estimate"]
        rates[f"estimated {name}"] = "none accepted" if share is None else percent(share)
    return rates | {f"awards {name}": f"{metrics['awards'][name]:,}" for name in ("matched", "review", "unmatched")}
