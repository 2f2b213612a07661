"""``enrich-dist bench``: measure the job, make a measurement the baseline, compare with it, and see the trend."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.errors import EXIT_FAILED, EXIT_REGRESSION
from enrich_dist.remedies import MEASURE_AGAIN
from enrich_dist.settings import load_settings

if TYPE_CHECKING:
    from enrich_dist.runs.records import RunRecord

app = typer.Typer(no_args_is_help=True, help="Benchmarks of the job: run, baseline, compare, trend.")

ArchiveOption = Annotated[Path | None, typer.Option("--archive", help="Where records lie; else paths.benchmarks.")]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON document and nothing else.")]


@app.command()
def run(
    config: Config = None,
    overrides: Overrides = None,
    repeats: Annotated[int, typer.Option("--repeats", "-n", min=1, help="How often the job is run.")] = 7,
) -> None:
    """Run the configured job several times, each time from nothing, and keep a record of each.

    Seven repeats let a comparison tell a change from chance. Leave the machine alone meanwhile.
    """
    from enrich_dist.reporting.benchmark_tables import record_line
    from enrich_dist.runs.archive import archive_path
    from enrich_dist.runs.session import run_session
    from enrich_dist.sources.inputs import check_inputs

    settings = load_settings(config, overrides or []).settings
    check_inputs(settings.inputs)
    archive = archive_path(settings)
    console = _console()
    # On the file system where work is done, and where the workers of a cluster see it.
    session = run_session(
        config=config,
        overrides=overrides or [],
        scratch=settings.paths.work_dir.absolute() / "scratch",
        archive=archive,
        repeats=repeats,
    )
    for number, record in enumerate(session, start=1):
        console.print(record_line(number, repeats, record))
    console.print(f"Records in {_shown(archive)}")


@app.command()
def baseline(
    config: Config = None,
    overrides: Overrides = None,
    archive: ArchiveOption = None,
    sessions: Annotated[
        int, typer.Option("--sessions", min=1, help="How many of the latest sessions; several span more of the noise.")
    ] = 1,
) -> None:
    """Make the latest session of `bench run` the baseline of its machine, inputs and settings."""
    from enrich_dist.runs.archive import latest_session, sessions_of, set_baseline

    place, records = _records(config, overrides, archive)
    latest = latest_session(records)
    alike = [items for items in sessions_of(records) if items[0].comparable_key == latest[0].comparable_key]
    chosen = [record for items in alike[-sessions:] for record in items]
    set_baseline(place, chosen)
    _console().print(
        f"Baseline: {len(chosen)} runs of {latest[0].code.label}, {latest[0].dataset.size_class}, on "
        f"{latest[0].machine.line()}"
    )


@app.command()
def compare(
    config: Config = None,
    overrides: Overrides = None,
    archive: ArchiveOption = None,
    as_json: Json = False,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Also write the table to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 1 if it cannot tell.")] = False,
) -> None:
    """Hold the latest session of `bench run` against the baseline. Ends with exit code 4 on a regression.

    A regression is +10% of time or +20% of memory, and more than chance allows.
    """
    from enrich_dist.errors import StateError
    from enrich_dist.reporting import benchmark_tables as tables
    from enrich_dist.runs.archive import baseline_for, latest_session
    from enrich_dist.runs.baseline import Verdict
    from enrich_dist.runs.baseline import compare as hold_against

    place, records = _records(config, overrides, archive)
    latest = latest_session(records)
    before = baseline_for(place, latest, records)
    if {record.id for record in latest} <= {record.id for record in before}:
        raise StateError("The latest session is the baseline itself.", remedy=MEASURE_AGAIN)
    comparison = hold_against(before, latest)
    if markdown is not None:
        from enrich_dist.core.files import atomic_path

        with atomic_path(markdown.absolute()) as temporary:
            temporary.write_text(tables.comparison_markdown(comparison), "utf-8")
    if as_json:
        typer.echo(json.dumps(tables.comparison_document(comparison), indent=2, ensure_ascii=False))
    else:
        console = _console()
        for line in tables.surroundings(comparison):
            console.print(line)
        console.print(tables.comparison_table(comparison))
        console.print(f"Verdict: {comparison.verdict}", style="bold")
        for reason in comparison.reasons:
            console.print(f"  {reason}")
    if comparison.verdict is Verdict.REGRESSION:
        raise typer.Exit(EXIT_REGRESSION)
    if strict and comparison.verdict is Verdict.CANNOT_TELL:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def trend(
    config: Config = None,
    overrides: Overrides = None,
    archive: ArchiveOption = None,
    since: Annotated[str | None, typer.Option("--since", help="Begin of the window: 2026-01-31.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="End of the window; a date counts whole.")] = None,
    last: Annotated[str | None, typer.Option("--last", help="Length of the window: 12h, 30d, 8w.")] = None,
    figure: Annotated[str, typer.Option("--figure", help="The figure to draw large.")] = "total_seconds",
    as_json: Json = False,
) -> None:
    """Tell of every figure whether it is improving, steady or degrading over a window of time.

    It follows the machine, size and settings of the latest run; only runs that computed everything count.
    """
    from enrich_dist.errors import SettingsError, StateError
    from enrich_dist.reporting import benchmark_tables as tables
    from enrich_dist.runs.metrics import METRICS, metric
    from enrich_dist.runs.trend import histories, trends, window

    if metric(figure) is None:
        names = ", ".join(item.name for item in METRICS)
        raise SettingsError(f"There is no figure '{figure}'.", remedy=f"Give one of {names}.")
    begin, end = window(since, until, last, now=datetime.now(UTC))
    _, records = _records(config, overrides, archive)
    found = histories(records)
    if not found:
        raise StateError(
            "The archive holds no run that computed everything.", remedy="Run the job in an empty work directory first."
        )
    latest = list(found.values())[-1]
    history = trends(latest, begin, end)
    if as_json:
        typer.echo(json.dumps(tables.trend_document(history), indent=2, ensure_ascii=False))
        return
    console = _console()
    console.print(f"{latest[-1].dataset.size_class} on {latest[-1].machine.line()}")
    if not history.runs or history.first is None or history.last is None:
        console.print("No run lies in this window.")
        return
    console.print(f"{history.runs} runs from {history.first:%Y-%m-%d %H:%M} to {history.last:%Y-%m-%d %H:%M} UTC")
    console.print(tables.trend_table(history))
    for item in history.trends:
        if item.metric.name == figure:
            console.print(tables.plot(item))
    if len(found) > 1:
        console.print(f"{len(found) - 1} other histories (machines, sizes, settings) are in the archive.")


def _records(
    config: Path | None, overrides: list[str] | None, archive: Path | None
) -> tuple[Path, tuple[RunRecord, ...]]:
    """The archive and its records; files that are none are told on standard error."""
    from enrich_dist.runs.archive import archive_path, read_archive

    place = archive or archive_path(load_settings(config, overrides or []).settings)
    found = read_archive(place)
    for problem in found.problems:
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"Left out: {problem}")
    return place, found.records


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False, markup=False)


def _shown(path: Path) -> str:
    from enrich_dist.reporting.terminal import shown_path

    return shown_path(path)
