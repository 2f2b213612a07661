"""Shows run events on the terminal: one line per finished step, and one live panel while chunks are farmed out.

Where the output is no terminal, plain lines at intervals take the panel's place. Covers what is printed and when; the
panel itself is made by ``panel``.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.text import Text

from enrich_dist.events import Event, FarmProgress, Notice, Step, StepFinished, StepStarted, WorkerSample, WorkersSeen
from enrich_dist.progress.intervals import ProgressIntervals
from enrich_dist.reporting.panel import farm_panel

TITLES = {
    Step.SBIR_AWARDS: "Reading awards",
    Step.AWARD_COMPANIES: "Joining companies, building the index",
    Step.RECIPIENT_CHUNKS: "Cutting recipients into chunks",
    Step.CHUNK_MATCHES: "Matching",
    Step.ENRICHED_AWARDS: "Reducing and judging",
    Step.PUBLISHED_AWARDS: "Publishing",
}
_REFRESH_PER_SECOND = 5


def open_console() -> Console:
    """A console on standard error that stays the terminal while Dagster redirects the process's output to its logs."""
    return Console(file=os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", buffering=1))


class TerminalListener:
    """Context manager and listener; ``interval_seconds`` lie between plain progress lines, or more."""

    def __init__(self, console: Console, interval_seconds: float) -> None:
        self._console = console
        self._intervals = ProgressIntervals(interval_seconds)
        self._waiting = Spinner("dots", style="green")
        self._working = Spinner("dots", style="green")
        self._note = ""
        self._progress: FarmProgress | None = None
        self._workers: tuple[WorkerSample, ...] = ()
        self._live = Live(
            console=console,
            get_renderable=self._picture,
            transient=True,
            refresh_per_second=_REFRESH_PER_SECOND,
            vertical_overflow="crop",
        )

    def __enter__(self) -> TerminalListener:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        """Show what is being waited for."""
        self._note, self._progress, self._workers = text, None, ()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case StepStarted(step):
                self.note(TITLES.get(step, step))
            case StepFinished(step, rows, seconds, reused):
                self.note("")
                kept = "unchanged, reused" if reused else f"{seconds:.1f} s"
                self._console.print(
                    f"[green]✓[/] {TITLES.get(step, step)} [dim]{rows:,} rows, {kept}[/]", highlight=False
                )
            case FarmProgress():
                self._progress = event
                if not self._console.is_terminal and self._intervals.due(event):
                    self._console.print(event.line(), highlight=False, soft_wrap=True)
            case WorkersSeen(workers):
                self._workers = workers
            case Notice(message, warning):
                sign = "[yellow]![/]" if warning else "[dim]·[/]"
                self._console.print(f"{sign} {escape(message)}", highlight=False, soft_wrap=True)

    def _picture(self) -> RenderableType:
        """What stands below the printed lines now; called by the display's own thread."""
        if self._progress is not None:
            return farm_panel(self._progress, self._workers, self._working)
        if not self._note:
            return Text("")
        self._waiting.update(text=Text(self._note))
        return self._waiting
