"""Plan vs actual: rows of text for the terminal and the reports, and a JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from enrich_dist.core.console import PlainConsole
from enrich_dist.core.tables import make_table
from enrich_dist.planning.plan_vs_actual import Compared, Comparison
from enrich_dist.reporting.terminal import STEP_TITLES, rich_table

NAMES: Final[dict[str, str]] = {
    **{str(step): title for step, title in STEP_TITLES.items()},
    "start_up": "Starting Python, Dagster and the cluster",
    "report": "Report and exit",
    "wall": "Wall time",
    "worker_peak_memory_bytes": "Peak memory of a worker (MB)",
    "inputs": "Awards, companies, index (MB)",
    "chunks": "Chunks (MB)",
    "checkpoints": "Checkpoints (MB)",
    "results": "Result (MB)",
}
"""Titles of stages and figures."""
FORMAT: Final = 2
"""Version of the JSON documents of plans and comparisons."""
HEAD: Final = ("", "planned", "interval", "actual", "error")


def print_comparison(console: PlainConsole, comparison: Comparison) -> None:
    """Print plan and actual figures of the latest run."""
    console.print(f"Plan vs actual of run {comparison.run_id}, in seconds and megabytes.", soft_wrap=True)
    if comparison.note:
        console.print(comparison.note, soft_wrap=True)
    console.print("", rich_table(make_table(HEAD, comparison_rows(comparison))), sep="\n")


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as a JSON object."""
    figures = (*comparison.stages, comparison.wall, comparison.memory, *comparison.disk)
    return {
        "format": FORMAT,
        "run_id": comparison.run_id,
        "note": comparison.note,
        "figures": [{**asdict(item), "error": item.error} for item in figures],
    }


def comparison_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return planned and actual figures as text, one row per figure with the columns of ``HEAD``."""
    rows = [_row(item, 1.0, 1) for item in (*comparison.stages, comparison.wall)]
    return rows + [_row(item, 1e-6, 0) for item in (comparison.memory, *comparison.disk)]


def _row(item: Compared, scale: float, digits: int) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{scale * value:,.{digits}f}"

    interval = "" if item.low is None or item.high is None else f"{number(item.low)} – {number(item.high)}"
    error = "reused" if item.reused else "" if item.error is None else f"{100 * item.error:+.0f}%"
    return NAMES[item.name], number(item.predicted), interval, number(item.actual), error
