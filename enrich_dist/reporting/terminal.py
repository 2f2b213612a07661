"""Show run events on the terminal: a line per finished step, and a live panel while chunks are matched.

Where the output is not a terminal, plain lines at intervals replace the panel (``panel``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from rich.console import RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table as RichTable
from rich.text import Text

from enrich_dist.core.console import PlainConsole, open_stream
from enrich_dist.core.tables import Table
from enrich_dist.events import (
    Event,
    FarmProgress,
    Notice,
    Step,
    StepFinished,
    StepProgress,
    StepStarted,
    WorkerSample,
    WorkersSeen,
)
from enrich_dist.progress.intervals import ProgressIntervals
from enrich_dist.reporting.panel import farm_panel

STEP_TITLES = {
    Step.SBIR_AWARDS: "Reading awards",
    Step.AWARD_COMPANIES: "Building companies and index",
    Step.RECIPIENT_CHUNKS: "Partitioning recipients",
    Step.CHUNK_MATCHES: "Matching",
    Step.ENRICHED_AWARDS: "Reducing and evaluating",
    Step.PUBLISHED_AWARDS: "Publishing",
}
_REFRESH_PER_SECOND = 5
_MAX_UNWRAPPED = 12  # characters of cells that are not wrapped


def rich_table(table: Table, styles: Mapping[str, str] | None = None) -> RichTable:
    """Return a table for the terminal; ``styles``: by the text of a cell."""
    found = RichTable(box=None, pad_edge=False)
    for number, (title, is_numeric) in enumerate(zip(table.head, table.numeric, strict=True)):
        is_short = max((len(row[number]) for row in table.rows), default=0) <= _MAX_UNWRAPPED
        justify: Literal["left", "right"] = "right" if is_numeric else "left"
        found.add_column(Text(title), justify=justify, no_wrap=is_numeric or is_short, overflow="fold")
    for row in table.rows:
        found.add_row(*(Text(cell, style=(styles or {}).get(cell, "")) for cell in row))
    return found


def shown_path(path: Path) -> str:
    """Return the path relative to the current directory where it is below that."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def open_console() -> PlainConsole:
    """Return a console on standard error that Dagster cannot redirect to its logs."""
    return PlainConsole(wrap=True, file=open_stream(os.dup(sys.stderr.fileno()), sys.stderr))


class TerminalListener:
    """Context manager and listener; ``interval_seconds``: minimum time between plain progress lines."""

    def __init__(self, console: PlainConsole, interval_seconds: float) -> None:
        self._console = console
        self._interval_seconds = interval_seconds
        self._intervals = ProgressIntervals(interval_seconds)
        self._waiting = Spinner("dots", style="green")
        self._working = Spinner("dots", style="green")
        self._note = ""
        self._progress: FarmProgress | None = None
        self._workers: tuple[WorkerSample, ...] = ()
        self._live = Live(
            console=console,
            get_renderable=self._render,
            transient=True,
            refresh_per_second=_REFRESH_PER_SECOND,
            vertical_overflow="crop",
        )

    def __enter__(self) -> TerminalListener:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        """Show what the run is doing or waiting for; outside a terminal as a line for the log."""
        self._note, self._progress, self._workers = text, None, ()
        if text and not self._console.is_terminal:
            self._console.print(Text.assemble(("·", "dim"), f" {text}"), soft_wrap=True)

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case StepStarted(step):
                self._intervals = ProgressIntervals(self._interval_seconds)
                self.note(STEP_TITLES.get(step, step))
            case StepFinished(step, rows, seconds, reused):
                self.note("")
                time = "reused" if reused else f"{seconds:.1f} s"
                done = f" {STEP_TITLES.get(step, step)} "
                self._console.print(Text.assemble(("✓", "green"), done, (f"{rows:,} rows, {time}", "dim")))
            case FarmProgress():
                self._progress = event
                if not self._console.is_terminal and self._intervals.due(event):
                    self._console.print(event.line(), soft_wrap=True)
            case StepProgress():
                if self._console.is_terminal:
                    self._note = event.line()
                elif self._intervals.due(event):
                    self._console.print(event.line(), soft_wrap=True)
            case WorkersSeen(workers):
                self._workers = workers
            case Notice(message, warning):
                sign = ("!", "yellow") if warning else ("·", "dim")
                self._console.print(Text.assemble(sign, f" {message}"), soft_wrap=True)

    def _render(self) -> RenderableType:
        """Return what to show below the printed lines; called by the thread of ``rich.live.Live``."""
        if self._progress is not None:
            return farm_panel(self._progress, self._workers, self._working)
        if not self._note:
            return Text("")
        self._waiting.update(text=Text(self._note))
        return self._waiting
