"""What the command line prints of a run: a summary at its end, and its status at any time."""

from __future__ import annotations

from pathlib import Path

from rich.panel import Panel
from rich.text import Text

from enrich_dist.core.console import PlainConsole
from enrich_dist.core.files import read_json
from enrich_dist.core.tables import parse_markdown, percent
from enrich_dist.events import Step
from enrich_dist.remedies import RESUME
from enrich_dist.reporting.run_tables import performance_table, steps_table
from enrich_dist.reporting.terminal import rich_table, shown_path
from enrich_dist.results.method_table import method_table
from enrich_dist.store.run_directory import STEPS, Number, Output, RunDirectory
from enrich_dist.store.status import RunStatus

_FILES = (
    ("Result", "enriched_awards.parquet"),
    ("Database", "enrich_dist.duckdb"),
    ("Rejects", "rejects.csv"),
    ("Markdown", "report.md"),
)


def print_summary(console: PlainConsole, directory: RunDirectory, *, published: bool) -> None:
    """Print outcome, matches, steps, memory per worker, and the paths of result and reports."""
    latest = directory.all_latest()
    judged = latest[Step.ENRICHED_AWARDS]
    steps = {name: step for name, step in latest.items() if step.run_id == judged.run_id}
    result = judged.path(Output.RESULT)
    metrics = read_json(result / "metrics.json")
    awards = metrics["awards"]
    outcome = Text.assemble(
        (percent(metrics["match_rate"]), "bold"),
        f" of {awards['valid']:,} awards have an accepted match "
        f"(threshold {percent(judged.numbers[Number.MATCH_RATE_THRESHOLD])})\n"
        f"{awards['matched']:,} matched · {awards['review']:,} for review · {awards['unmatched']:,} unmatched · "
        f"{metrics['reconciliation']['awards']['invalid']:,} invalid",
    )
    title = Text("published", "bold green") if published else Text("blocked", "bold red")
    console.print("", Panel(outcome, title=title, title_align="left", expand=False), "")
    from enrich_dist.results.report import accuracy_sentence  # imports Arrow, which status does not need

    if not metrics["accuracy"].get("reliable", True):
        console.print(Text.assemble(("Warning:", "bold"), " ", accuracy_sentence(metrics)), "", sep="\n")
    console.print(rich_table(method_table(metrics)), "")
    console.print(rich_table(steps_table(steps)), "")
    from enrich_dist.runs.performance import read_performance

    findings = [
        item for item in read_performance(directory, judged.run_id) if item.severity not in ("passed", "unknown")
    ]
    if findings:
        console.print("Time and memory", rich_table(performance_table(findings)), "", sep="\n")
    memory = steps[Step.CHUNK_MATCHES].tables.get("memory per worker")
    if memory:
        console.print("Memory per worker", rich_table(parse_markdown(memory)), "", sep="\n")
    folder = directory.current if published else result
    files = [(label, folder / name) for label, name in _FILES]
    if directory.html_report.exists():
        files.append(("Report", directory.html_report))
    for label, path in files:
        console.print(f"{label:<10} {shown_path(path)}", soft_wrap=True)


def print_status(console: PlainConsole, root: Path, status: RunStatus) -> None:
    """Print steps, chunks, verdict and published result."""
    console.print(f"Run directory {shown_path(root)}", soft_wrap=True)
    if not status.steps:
        console.print("No run has started here. To start one: enrich-dist run")
        return
    console.print(rich_table(steps_table(status.steps)))
    lines = []
    if status.chunks_total:
        share = status.records_done / status.records_total if status.records_total else 1.0
        lines.append(
            f"Chunks     {status.chunks_done:,} of {status.chunks_total:,} finished, {status.records_done:,} of "
            f"{status.records_total:,} recipients ({percent(share)})"
        )
    if status.verdict is not None:
        reasons = "; ".join(status.verdict["reasons"])
        lines.append(f"Verdict    {status.verdict['status']}{': ' + reasons if reasons else ''}")
    lines.append(f"Published  {shown_path(Path(status.published)) if status.published else 'nothing'}")
    if any(step not in status.steps for step in STEPS) or status.chunks_done < status.chunks_total:
        lines.append(RESUME)
    console.print(*lines, sep="\n", soft_wrap=True)
