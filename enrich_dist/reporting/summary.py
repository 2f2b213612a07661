"""What the command line prints of a run: the summary at its end, and its status at any time."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from enrich_dist.core.files import read_json
from enrich_dist.core.markdown import percent
from enrich_dist.events import Step
from enrich_dist.reporting.terminal import TITLES
from enrich_dist.store.run_directory import STEPS, Number, Output, RunDirectory, StepReport
from enrich_dist.store.status import RunStatus

_SHORT_SECONDS = 0.1  # a rate over less says nothing
_FILES = (
    ("Result", "enriched_awards.parquet"),
    ("Database", "enrich_dist.duckdb"),
    ("Rejects", "rejects.csv"),
    ("Report", "report.md"),
)


def print_summary(console: Console, directory: RunDirectory, *, published: bool) -> None:
    """Outcome, matches, steps, memory per worker, and the paths of result and report."""
    latest = directory.all_latest()
    run_id = latest[Step.ENRICHED_AWARDS].run_id
    reports = {step: report for step, report in latest.items() if report.run_id == run_id}
    result = reports[Step.ENRICHED_AWARDS].path(Output.RESULT)
    metrics = read_json(result / "metrics.json")
    awards = metrics["awards"]
    console.print(
        "",
        Panel(
            f"[bold]{percent(metrics['match_rate'])}[/] of {awards['valid']:,} awards have an accepted match "
            f"(threshold {percent(reports[Step.ENRICHED_AWARDS].numbers[Number.MATCH_RATE_THRESHOLD])})\n"
            f"{awards['matched']:,} matched · {awards['review']:,} for review · {awards['unmatched']:,} unmatched · "
            f"{metrics['reconciliation']['awards']['invalid']:,} invalid",
            title="[bold green]published[/]" if published else "[bold red]blocked[/]",
            title_align="left",
            expand=False,
        ),
        "",
    )
    methods = Table("method", box=None, pad_edge=False, title_justify="left")
    for column in ("awards", "companies", "share of awards"):
        methods.add_column(column, justify="right")
    for item in metrics["by_method"]:
        share = percent(item["awards"] / awards["valid"])
        methods.add_row(item["method"], f"{item['awards']:,}", f"{item['companies']:,}", share)
    console.print(methods, "")
    console.print(_steps_table(reports), "")
    memory = reports[Step.CHUNK_MATCHES].tables.get("memory per worker")
    if memory:
        console.print("Memory per worker")
        console.print(table_from_markdown(memory), "")
    for label, name in _FILES:
        path = (directory.published / "current" if published else result) / name
        console.print(f"{label:<10} {escape(shown_path(path))}", soft_wrap=True, highlight=False)
    if directory.html_report.exists():
        console.print(f"{'Charts':<10} {escape(shown_path(directory.html_report))}", soft_wrap=True, highlight=False)


def shown_path(path: Path) -> str:
    """The path as a person here would type it: relative where it lies below the current directory."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def print_status(console: Console, root: Path, status: RunStatus) -> None:
    """Steps, chunks, verdict and publication."""
    console.print(f"Run directory {escape(shown_path(root))}", soft_wrap=True, highlight=False)
    if not status.steps:
        console.print("Nothing has run here yet. Start with: enrich-dist run", highlight=False)
        return
    console.print(_steps_table(status.steps))
    if status.chunks_total:
        share = status.records_done / status.records_total if status.records_total else 1.0
        console.print(
            f"Chunks     {status.chunks_done:,} of {status.chunks_total:,} finished, {status.records_done:,} of "
            f"{status.records_total:,} recipients ({percent(share)})",
            highlight=False,
        )
    if status.verdict is not None:
        reasons = "; ".join(status.verdict["reasons"])
        console.print(f"Verdict    {status.verdict['status']}{': ' + reasons if reasons else ''}", highlight=False)
    console.print(
        f"Published  {escape(shown_path(Path(status.published)) if status.published else 'nothing yet')}",
        soft_wrap=True,
        highlight=False,
    )
    missing = [step for step in STEPS if step not in status.steps]
    if missing or status.chunks_done < status.chunks_total:
        console.print("To go on, run the same `enrich-dist run` again: what is finished is kept.", highlight=False)


def _steps_table(reports: dict[Step, StepReport]) -> Table:
    table = Table("step", box=None, pad_edge=False)
    for column in ("rows", "seconds", "rows/s", "peak MB", ""):
        table.add_column(column, justify="right")
    for step in STEPS:
        if step not in reports:
            table.add_row(TITLES[step], "", "", "", "", "not run")
            continue
        report = reports[step]
        table.add_row(
            TITLES[step],
            f"{report.rows:,}",
            f"{report.seconds:.1f}",
            "" if report.reused or report.seconds < _SHORT_SECONDS else f"{report.rows_per_second:,.0f}",
            f"{report.peak_memory_bytes / 1e6:.0f}",
            "reused" if report.reused else "",
        )
    return table


def table_from_markdown(markdown: str) -> Table:
    """A Markdown table for the terminal; all columns but the first two are numbers."""
    head, _, *rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in markdown.splitlines()]
    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(head):
        table.add_column(title, justify="left" if number < 2 else "right")
    for row in rows:
        table.add_row(*row)
    return table
