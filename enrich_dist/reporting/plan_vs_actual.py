"""Plan vs actual as rows of text, for the terminal and the reports."""

from __future__ import annotations

from typing import Final

from enrich_dist.planning.plan_vs_actual import Compared, Comparison
from enrich_dist.reporting.terminal import STEP_TITLES

_NAMES: Final[dict[str, str]] = {
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
HEAD: Final = ("", "planned", "interval", "actual", "error")


def name_of(figure: str) -> str:
    """Return the title of a stage or figure."""
    return _NAMES[figure]


def comparison_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return planned and actual figures as text, one row per figure with the columns of ``HEAD``."""
    rows = [_row(item, 1.0, 1) for item in (*comparison.stages, comparison.wall)]
    return rows + [_row(item, 1e-6, 0) for item in (comparison.memory, *comparison.disk)]


def _row(item: Compared, scale: float, digits: int) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{scale * value:,.{digits}f}"

    interval = "" if item.low is None or item.high is None else f"{number(item.low)} – {number(item.high)}"
    error = "reused" if item.reused else "" if item.error is None else f"{100 * item.error:+.0f}%"
    return name_of(item.name), number(item.predicted), interval, number(item.actual), error
