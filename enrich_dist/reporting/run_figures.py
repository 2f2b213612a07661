"""The figures by which runs are held beside each other: their titles, and how a figure and a change are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from enrich_dist.core.markdown import percent


@dataclass(frozen=True)
class Figure:
    """A figure of ``RunEntry.numbers``."""

    name: str
    title: str
    text: Callable[[float], str]
    decimals: int = 0
    """Of a difference; not of a share, whose difference is told in points."""


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _tenths(value: float) -> str:
    return f"{value:,.1f}"


FIGURES: Final = (
    Figure("match_rate", "match rate", percent),
    Figure("match_rate_by_company", "match rate by company", percent),
    Figure("estimated_precision", "estimated precision", percent),
    Figure("estimated_recall", "estimated recall", percent),
    Figure("awards_matched", "awards matched", _count),
    Figure("awards_review", "awards for review", _count),
    Figure("awards_unmatched", "awards unmatched", _count),
    Figure("run_seconds", "seconds of all steps", _tenths, 1),
    Figure("farm_seconds", "seconds of the farm", _tenths, 1),
    Figure("chunks_computed", "chunks computed", _count),
    Figure("worker_peak_memory_mb", "worker peak memory, MB", _count),
    Figure("failed_attempts", "failed attempts", _count),
    Figure("degradations", "batches made smaller", _count),
)


def text(figure: Figure, value: float | None) -> str:
    """The figure, or nothing where a run has none."""
    return "" if value is None else figure.text(value)


def change(figure: Figure, now: float | None, before: float | None) -> str:
    """What became of a figure: points of a share, else the difference and its percentage."""
    if now is None or before is None:
        return ""
    difference = now - before
    if figure.text is percent:
        return "none" if abs(difference) < 0.0005 else f"{100 * difference:+.1f} points"
    if figure.text(now) == figure.text(before):
        return "none"
    return f"{difference:+,.{figure.decimals}f}" + (f" ({100 * difference / before:+.0f}%)" if before else "")
