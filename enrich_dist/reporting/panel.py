"""The live panel in the terminal while chunks are matched: progress, rate, matches and workers.

Renders one ``FarmProgress`` and one sample of the workers. Does not cover when it is shown (``terminal``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from enrich_dist.events import FarmProgress, WorkerSample, format_duration

MAX_WORKERS = 8
"""Maximum number of workers shown: paused workers and those that use most memory."""
_WIDTH = 78
_LABEL_WIDTH = 12
# Dask's default fractions of the memory limit at which a worker spills to disk, and pauses.
_SPILL_FRACTION, _PAUSE_FRACTION = 0.7, 0.8


def farm_panel(progress: FarmProgress, workers: Sequence[WorkerSample], spinner: Spinner) -> RenderableType:
    """Return the panel, at most 78 columns wide."""
    frame = spinner.render(time.monotonic())
    title = Text.assemble(frame if isinstance(frame, Text) else "", " Matching")
    parts = Group(_overall(progress), _details(progress), *_workers(workers))
    return Panel(parts, title=title, title_align="left", width=_WIDTH, border_style="dim")


def _overall(progress: FarmProgress) -> Table:
    share = progress.records_done / progress.records_total if progress.records_total else 1.0
    remaining = progress.remaining_seconds
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True, min_width=9)
    bar = ProgressBar(total=max(progress.records_total, 1), completed=progress.records_done)
    left = "" if remaining is None else Text(f"{format_duration(remaining)} left", "bold")
    table.add_row(bar, f"{share:.1%}", left)
    return table


def _details(progress: FarmProgress) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", width=_LABEL_WIDTH)
    table.add_column()
    rate = f" · {progress.records_per_second:,.0f}/s" if progress.records_per_second else ""
    table.add_row("recipients", f"{progress.records_done:,} of {progress.records_total:,}{rate}")
    resumed = f" · {progress.chunks_resumed:,} resumed" if progress.chunks_resumed else ""
    table.add_row("chunks", f"{progress.chunks_done:,} of {progress.chunks_total:,}{resumed}")
    matched = progress.awards_matched / progress.awards_total if progress.awards_total else 0.0
    table.add_row("matched", f"{progress.awards_matched:,} of {progress.awards_total:,} awards so far ({matched:.1%})")
    if (projected := _projected(progress)) is not None:
        table.add_row("projected", projected)
    if problems := progress.problems():
        table.add_row("problems", Text(" · ".join(problems), "yellow"))
    return table


def _projected(progress: FarmProgress) -> Text | None:
    """Return the projected match rate and the threshold; red if the run will certainly miss it."""
    rate, threshold = progress.projected_match_rate, progress.match_rate_threshold
    low, high = progress.projected_match_rate_low, progress.projected_match_rate_high
    if rate is None or low is None or high is None:
        return None
    text = f"{rate:.1%} of awards ({low:.1%} to {high:.1%})"
    at = progress.projected_at_share
    age = "" if at is None else f" · at {at:.0%}"
    if threshold is None:
        return Text(text + age)
    colour = "red" if high < threshold else "green" if low >= threshold else "yellow"
    return Text.assemble((text, colour), (f" · threshold {threshold:.1%}{age}", "dim"))


def _workers(workers: Sequence[WorkerSample]) -> list[RenderableType]:
    if not workers:
        return [Text("\nno worker available", "yellow")]
    shown = sorted(workers, key=lambda worker: (not worker.paused, -_fill(worker), worker.worker))[:MAX_WORKERS]
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(width=_LABEL_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for worker in sorted(shown, key=_in_order):
        table.add_row(f"worker {worker.worker}", _bar(worker), _memory(worker), _state(worker))
    parts: list[RenderableType] = [Text(""), table]
    if hidden := len(workers) - len(shown):
        paused = sum(worker.paused for worker in workers) - sum(worker.paused for worker in shown)
        note = f", {paused:,} of them paused" if paused else " with less memory"
        parts.append(Text(f"and {hidden:,} more{note}", "dim"))
    return parts


def _bar(worker: WorkerSample) -> RenderableType:
    if not worker.memory_limit_bytes:
        return Text("no limit", "dim")
    share = _fill(worker)
    style = "red" if worker.paused or share >= _PAUSE_FRACTION else "yellow" if share >= _SPILL_FRACTION else "green"
    return ProgressBar(total=1.0, completed=min(share, 1.0), complete_style=style, finished_style=style)


def _memory(worker: WorkerSample) -> str:
    limit = f" of {worker.memory_limit_bytes / 1e6:,.0f}" if worker.memory_limit_bytes else ""
    return f"{worker.memory_bytes / 1e6:,.0f}{limit} MB"


def _state(worker: WorkerSample) -> Text:
    text = Text("paused" if worker.paused else "", "bold red")
    if worker.restarts:
        times = "once" if worker.restarts == 1 else f"{worker.restarts:,} times"
        text.append(f"{', ' if text else ''}restarted {times}", "not bold yellow")
    return text


def _fill(worker: WorkerSample) -> float:
    """Return the used share of the memory limit; 0 without a limit."""
    return worker.memory_bytes / worker.memory_limit_bytes if worker.memory_limit_bytes else 0.0


def _in_order(worker: WorkerSample) -> tuple[int, int, str]:
    return (0, int(worker.worker), "") if worker.worker.isdecimal() else (1, 0, worker.worker)
