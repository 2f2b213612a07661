"""Shows run events on the terminal: one line per finished step and a progress bar with time remaining.

Where the output is no terminal, plain lines at intervals take the bar's place.
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from enrich_dist.observe.events import Event, FarmProgress, Notice, StepFinished, StepStarted, format_duration

TITLES = {
    "sbir_awards": "Reading awards",
    "award_companies": "Joining companies, building the index",
    "recipient_chunks": "Cutting recipients into chunks",
    "chunk_matches": "Matching",
    "enriched_awards": "Reducing and judging",
    "published_awards": "Publishing",
}


def open_console() -> Console:
    """A console on standard error that stays the terminal while Dagster redirects the process's output to its logs."""
    return Console(file=os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", buffering=1))


class TerminalListener:
    """Context manager and listener; ``interval_seconds`` lie between plain progress lines."""

    def __init__(self, console: Console, interval_seconds: float) -> None:
        self._console = console
        self._interval_seconds = interval_seconds
        self._last_line = 0.0
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[detail]}", style="dim"),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, count="", detail="", visible=False)

    def __enter__(self) -> TerminalListener:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """Show what is being waited for."""
        self._progress.update(self._task, description=text, total=None, completed=0, count="", detail="", visible=True)

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case StepStarted(step):
                self.note(TITLES.get(step, step))
            case StepFinished(step, rows, seconds, reused):
                kept = "unchanged, reused" if reused else f"{seconds:.1f} s"
                self._console.print(
                    f"[green]✓[/] {TITLES.get(step, step)} [dim]{rows:,} rows, {kept}[/]", highlight=False
                )
            case FarmProgress():
                self._show(event)
            case Notice(message, warning):
                sign = "[yellow]![/]" if warning else "[dim]·[/]"
                self._console.print(f"{sign} {escape(message)}", highlight=False, soft_wrap=True)

    def _show(self, event: FarmProgress) -> None:
        remaining = "" if event.remaining_seconds is None else f", {format_duration(event.remaining_seconds)} left"
        share = event.awards_matched / event.awards_total if event.awards_total else 0.0
        self._progress.update(
            self._task,
            description="Matching",
            total=event.records_total,
            completed=event.records_done,
            count=f"{event.records_done:,} of {event.records_total:,}",
            detail=f"{event.records_per_second:,.0f}/s{remaining} · {share:.0%} of awards matched · "
            f"{event.workers} workers",
            visible=True,
        )
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= self._interval_seconds:
            self._last_line = now
            self._console.print(event.line(), highlight=False, soft_wrap=True)
