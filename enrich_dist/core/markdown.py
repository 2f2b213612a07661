"""Markdown tables and percentages of reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; columns of numbers are right-aligned."""
    body = [[_cell(value) for value in row] for row in rows]
    numeric = [bool(body) and all(_is_number(row[column]) for row in body) for column in range(len(head))]
    rule = "|" + "|".join(" ---: " if right else " --- " for right in numeric) + "|"
    return "\n".join([_line(head), rule, *(_line(row) for row in body)])


def percent(share: float) -> str:
    """Return a share as a percentage with one decimal."""
    return "< 0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _is_number(text: str) -> bool:
    return text.removeprefix("< ").lstrip("+-").removesuffix("%").replace(",", "").replace(".", "", 1).isdigit()
