"""A run beside its prediction as rows of text, for the terminal and the reports alike."""

from __future__ import annotations

from typing import Final

from enrich_dist.planning.compare import Compared, Comparison
from enrich_dist.reporting.terminal import STEP_TITLES

_NAMES: Final[dict[str, str]] = {
    **{str(step): title for step, title in STEP_TITLES.items()},
    "start_up": "Starting Python, Dagster and the cluster",
    "report": "Report and end",
    "wall": "Wall time",
    "worker_peak_memory_bytes": "Peak of a worker (MB)",
    "inputs": "Awards, companies, index (MB)",
    "chunks": "Chunks (MB)",
    "checkpoints": "Checkpoints (MB)",
    "results": "Result and its published copy (MB)",
}
HEAD: Final = ("", "predicted", "interval", "actual", "error")


def name_of(figure: str) -> str:
    """A stage or figure in words."""
    return _NAMES[figure]


def comparison_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Predicted beside actual, as text (``HEAD``)."""
    rows = [_row(item, 1.0, 1) for item in (*comparison.stages, comparison.wall)]
    return rows + [_row(item, 1e-6, 0) for item in (comparison.memory, *comparison.disk)]


def _row(item: Compared, scale: float, digits: int) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{scale * value:,.{digits}f}"

    interval = "" if item.low is None or item.high is None else f"{number(item.low)} – {number(item.high)}"
    error = "reused" if item.reused else "" if item.error is None else f"{100 * item.error:+.0f}%"
    return name_of(item.name), number(item.predicted), interval, number(item.actual), error
