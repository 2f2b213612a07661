"""Elements of a report: sections with text, charts and tables, and the tiles at the top."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from enrich_dist.core.tables import Table, make_table
from enrich_dist.reporting.html.charts import Chart

# Limits that keep the page small enough for a browser.
MAX_ROWS = 500
MAX_WORKERS = 40


@dataclass(frozen=True)
class Section:
    """A part of the report. A chart comes with the table of its numbers; ``folded`` tables are shown on request."""

    key: str
    title: str
    text: tuple[str, ...]
    charts: tuple[tuple[Chart, Table], ...]
    tables: tuple[Table, ...]
    folded: tuple[Table, ...]


def make_section(
    key: str,
    title: str,
    *text: str,
    charts: Iterable[tuple[Chart, Table]] = (),
    tables: Iterable[Table] = (),
    folded: Iterable[Table] = (),
) -> Section:
    """Return a section without empty paragraphs and tables without rows."""
    shown, on_request = (tuple(table for table in group if table.rows) for group in (tables, folded))
    return Section(key, title, tuple(filter(None, text)), tuple(charts), shown, on_request)


@dataclass(frozen=True)
class Tile:
    """A number at the top; ``tone`` sets its colour."""

    label: str
    value: str
    detail: str
    tone: Literal["good", "bad", "plain"] = "plain"


@dataclass(frozen=True)
class Page:
    """What a page has around its sections. ``badge``: its state in a few words, none if empty."""

    eyebrow: str
    title: str
    badge: str
    is_good: bool
    headline: str
    reasons: tuple[str, ...]
    tiles: tuple[Tile, ...]
    footer: str


def limited_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], caption: str, *, total: int | None = None
) -> Table:
    """Return a table of at most ``MAX_ROWS`` rows; its caption says how many of ``total`` rows are missing."""
    every = list(rows)
    total, shown = total or len(every), every[:MAX_ROWS]
    if len(shown) < total:
        caption += f" (the first {len(shown):,} of {total:,})"
    return make_table(head, shown, caption)
