"""Tables of text cells, defined once and rendered for Markdown, HTML and the terminal; percentages and megabytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from enrich_dist.plain_text import from_markdown, markdown_text, printable

# A number with a unit, and its change in percent.
_NUMBER = re.compile(r"(< )?[+-]?[\d,]*\.?\d+(%| MB| s|/s| points)?( \([+-]\d+%\))?")
_EMPTY = ("", "none", "–")
_MARKDOWN_CELL = re.compile(r"((?:[^|\\]|\\.)*)\|")


@dataclass(frozen=True)
class Table:
    """A table whose cells are text of one line; ``caption`` says what it shows where no heading does."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    @cached_property
    def numeric(self) -> tuple[bool, ...]:
        """Per column: whether it has numbers, and nothing else but empty cells. Such columns are aligned right."""
        columns = [[row[number] for row in self.rows] for number in range(len(self.head))]
        return tuple(
            any(map(_NUMBER.fullmatch, cells)) and all(cell in _EMPTY or _NUMBER.fullmatch(cell) for cell in cells)
            for cells in columns
        )

    def markdown(self) -> str:
        """Render the table as Markdown, without its caption."""
        rule = "|" + "|".join(" ---: " if right else " --- " for right in self.numeric) + "|"
        return "\n".join([_line(self.head), rule, *map(_line, self.rows)])


def make_table(head: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> Table:
    """Return a table of values; whole numbers get thousands separators."""
    return Table(tuple(head), tuple(tuple(map(_cell, row)) for row in rows), caption)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of values as Markdown."""
    return make_table(head, rows).markdown()


def parse_markdown(text: str) -> Table:
    """Return the table that ``Table.markdown`` rendered."""
    head, _, *rows = [_cells(line) for line in text.splitlines()]
    return Table(head, tuple(rows))


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return "< 0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: "1 chunk", "2 chunks"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def megabytes(count_bytes: float) -> str:
    """Bytes as whole megabytes of 1,000,000 bytes."""
    return f"{count_bytes / 1e6:,.0f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(markdown_text, cells)) + " |"


def _cells(line: str) -> tuple[str, ...]:
    return tuple(from_markdown(cell.strip()) for cell in _MARKDOWN_CELL.findall(line.strip().removeprefix("|")))


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else printable(str(value))
