"""What a section of a report is made of: sentences, charts with their tables, and how values become cells.

Does not know what a run is, nor how a page looks (``page``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from enrich_dist.reporting.html.charts import Chart

# A page stays one that a browser likes.
MAX_ROWS = 500
MAX_WORKERS = 40


@dataclass(frozen=True)
class Table:
    """Cells as text; ``numeric`` columns are aligned right. ``folded``: shown on request, as a chart says the same."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    folded: bool = True


@dataclass(frozen=True)
class Section:
    """A part of the report: its sentences, charts with their tables, and further tables."""

    key: str
    title: str
    text: tuple[str, ...] = ()
    charts: tuple[tuple[Chart, Table | None], ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Tile:
    """A figure at the top; ``tone`` colours what is good or bad about it."""

    label: str
    value: str
    detail: str
    tone: Literal["good", "bad", "plain"] = "plain"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], *, folded: bool = True) -> Table:
    """A table of values: whole numbers with thousands; a column of numbers is aligned right."""
    values = [tuple(row) for row in rows]
    numeric = tuple(
        bool(values) and all(isinstance(row[column], int | float) or _measured(row[column]) for row in values)
        for column in range(len(head))
    )
    return Table(caption, tuple(head), tuple(tuple(_cell(cell) for cell in row) for row in values), numeric, folded)


def captioned(caption: str, shown: Sequence[object], total: int) -> str:
    """The caption, with how many of how many rows are shown where not all are."""
    return caption if len(shown) == total else f"{caption} (the first {len(shown):,} of {total:,})"


def megabytes(count_bytes: int) -> str:
    """Bytes as whole megabytes of 1,000,000."""
    return f"{count_bytes / 1e6:,.0f}"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _measured(value: object) -> bool:
    """Whether a text is a number, or the lack of one."""
    text = str(value).removeprefix("< ").removesuffix("%").replace(",", "").lstrip("+-")
    return text in ("", "none", "–") or text.replace(".", "", 1).isdigit()
