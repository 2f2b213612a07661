"""``enrich-dist bench``: measure the job, set a baseline, compare with it, and show trends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enrich_dist.cli.options import Config, Json, Overrides, load_settings, print_json
from enrich_dist.core.console import PlainConsole
from enrich_dist.errors import EXIT_FAILED, EXIT_REGRESSION
from enrich_dist.remedies import MEASURE_AGAIN

if TYPE_CHECKING:
    from enrich_dist.runs.records import RunRecord

app = typer.Typer(no_args_is_help=True, help="Benchmark the job: run, baseline, compare, trend.")

Html = Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also write a page with charts.")]
Archive = Annotated[Path | None, typer.Option(help="Directory of the records. Default: paths.benchmarks.")]


@app.command()
def run(
    config: Config = None,
    overrides: Overrides = None,
    repeats: Annotated[int, typer.Option("--repeats", "-n", min=1, help="How many times to run the job.")] = 7,
) -> None:
    """Run the configured job several times, each time from scratch, and store a record of each run.

    With seven repeats, `bench compare` can separate a change from noise. Leave the machine idle otherwise.

    Example: `enrich-dist bench run --config config/sample.yaml`
    """
    from enrich_dist.reporting.benchmark_tables import record_line
    from enrich_dist.reporting.terminal import shown_path
    from enrich_dist.runs.archive import archive_path
    from enrich_dist.runs.session import run_session
    from enrich_dist.sources.inputs import check_inputs

    settings = load_settings(config, overrides).settings
    check_inputs(settings.inputs)
    archive = archive_path(settings)
    console = PlainConsole()
    # On the file system of real runs, which the workers of a cluster see.
    scratch = settings.paths.work_dir.absolute() / "scratch"
    session = run_session(config=config, overrides=overrides or [], scratch=scratch, archive=archive, repeats=repeats)
    for number, record in enumerate(session, start=1):
        console.print(record_line(number, repeats, record))
    console.print(f"Records in {shown_path(archive)}")


@app.command()
def baseline(
    config: Config = None,
    overrides: Overrides = None,
    archive: Archive = None,
    sessions: Annotated[int, typer.Option(min=1, help="Number of latest sessions to use; more cover more noise.")] = 1,
) -> None:
    """Make the latest session of `bench run` the baseline of its machine, inputs and settings.

    Example: `enrich-dist bench baseline --sessions 3`
    """
    from enrich_dist.runs.archive import latest_session, sessions_of, set_baseline

    place, records = _records(config, overrides, archive)
    latest = latest_session(records)
    comparable = [items for items in sessions_of(records) if items[0].comparable_key == latest[0].comparable_key]
    chosen = [record for items in comparable[-sessions:] for record in items]
    set_baseline(place, chosen)
    first = latest[0]
    line = f"Baseline: {len(chosen)} runs of {first.code.label}, {first.size_class}, on {first.machine.line()}"
    PlainConsole().print(line)


@app.command()
def compare(
    config: Config = None,
    overrides: Overrides = None,
    archive: Archive = None,
    as_json: Json = False,
    markdown: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
    html: Html = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if the comparison is inconclusive.")] = False,
) -> None:
    """Compare the latest session of `bench run` with the baseline. Exit code 4 on a regression.

    A regression is an increase of more than 10% in time or 20% in memory that noise does not explain.

    Example: `enrich-dist bench compare --html comparison.html`
    """
    from enrich_dist.core.files import write_file
    from enrich_dist.core.owned_files import begins_with, require_replaceable
    from enrich_dist.errors import StateError
    from enrich_dist.reporting import benchmark_tables as tables
    from enrich_dist.reporting.html.benchmark_page import require_page, write_comparison
    from enrich_dist.runs import baseline as baselines
    from enrich_dist.runs.archive import baseline_for, latest_session

    place, records = _records(config, overrides, archive)
    latest = latest_session(records)
    before = baseline_for(place, latest, records)
    if {record.id for record in latest} <= {record.id for record in before}:
        raise StateError("The latest session is the baseline itself.", remedy=MEASURE_AGAIN)
    comparison = baselines.compare(before, latest)
    require_page(html)
    if html is not None:
        write_comparison(comparison, html)
    if markdown is not None:
        require_replaceable(markdown, option="--markdown", is_ours=begins_with("# Benchmark: "))
        write_file(markdown.absolute(), tables.comparison_markdown(comparison))
    if as_json:
        print_json(tables.comparison_document(comparison))
    else:
        console = PlainConsole()
        console.print(*tables.comparison_context(comparison), tables.comparison_table(comparison), sep="\n")
        console.print(f"Verdict: {comparison.verdict}", style="bold")
        for reason in comparison.reasons:
            console.print(f"  {reason}")
    if comparison.verdict is baselines.Verdict.REGRESSION:
        raise typer.Exit(EXIT_REGRESSION)
    if strict and comparison.verdict is baselines.Verdict.INCONCLUSIVE:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def trend(
    config: Config = None,
    overrides: Overrides = None,
    archive: Archive = None,
    since: Annotated[str | None, typer.Option(help="Start of the window: 2026-01-31.")] = None,
    until: Annotated[str | None, typer.Option(help="End of the window, inclusive.")] = None,
    last: Annotated[str | None, typer.Option(help="Length of the window: 12h, 30d, 8w.")] = None,
    figure: Annotated[str, typer.Option(help="Metric to plot.")] = "total_seconds",
    html: Html = None,
    as_json: Json = False,
) -> None:
    """Show for every metric whether it improves, is steady or degrades over a window of time.

    It uses runs with the machine, size and settings of the latest run that computed everything.

    Example: `enrich-dist bench trend --last 30d --figure total_seconds`
    """
    from enrich_dist.errors import SettingsError, StateError
    from enrich_dist.reporting import benchmark_tables as tables
    from enrich_dist.reporting.html.benchmark_page import require_page, write_trend
    from enrich_dist.runs.metrics import METRICS, metric
    from enrich_dist.runs.trend import histories, trends, window

    if metric(figure) is None:
        names = ", ".join(item.name for item in METRICS)
        raise SettingsError(f"Unknown metric '{figure}' (--figure).", remedy=f"Choose one of {names}.")
    begin, end = window(since, until, last, now=datetime.now(UTC))
    _, records = _records(config, overrides, archive)
    found = histories(records)
    if not found:
        raise StateError(
            "The archive has no run that computed everything.", remedy="Run the job in an empty work directory first."
        )
    latest = list(found.values())[-1]
    history = trends(latest, begin, end)
    require_page(html)
    if html is not None and history.runs:
        write_trend(history, latest, html)
    if as_json:
        print_json(tables.trend_document(history))
        return
    console = PlainConsole()
    console.print(f"{latest[-1].size_class} on {latest[-1].machine.line()}")
    if not history.runs or history.first is None or history.last is None:
        console.print("No run in this window.")
        return
    console.print(f"{history.runs} runs from {history.first:%Y-%m-%d %H:%M} to {history.last:%Y-%m-%d %H:%M} UTC")
    plots = (tables.plot(item) for item in history.trends if item.metric.name == figure)
    console.print(tables.trend_table(history), *plots)
    if len(found) > 1:
        console.print(f"The archive has {len(found) - 1} other histories (machines, sizes, settings).")


def _records(config: Config, overrides: Overrides, archive: Archive) -> tuple[Path, tuple[RunRecord, ...]]:
    """Return the archive and its records; report invalid files on standard error."""
    from enrich_dist.runs.archive import archive_path, read_archive

    place = archive or archive_path(load_settings(config, overrides).settings)
    found = read_archive(place)
    for problem in found.problems:
        PlainConsole(stderr=True).print(f"Ignored: {problem}")
    return place, found.records
