"""The live panel as plain text, and the plain lines that replace it without a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.spinner import Spinner

from enrich_dist.events import Event, FarmProgress, Notice, Step, StepFinished, StepStarted, WorkerSample, WorkersSeen
from enrich_dist.reporting.panel import MAX_WORKERS, farm_panel
from enrich_dist.reporting.terminal import TerminalListener

MB = 1_000_000


def worker(name: str, memory_mb: int, limit_mb: int = 1500, *, paused: bool = False, restarts: int = 0) -> WorkerSample:
    return WorkerSample(name, f"tcp://{name}", memory_mb * MB, limit_mb * MB, paused, restarts)


def farm(**values: object) -> FarmProgress:
    known: dict[str, object] = {
        "chunks_total": 66, "chunks_done": 41, "chunks_resumed": 0, "records_total": 3_300_000,
        "records_done": 2_050_000, "awards_total": 100_000, "awards_matched": 31_000, "records_per_second": 105_000.4,
        "remaining_seconds": 12.3, "workers": 2, **values,
    }  # fmt: skip
    return FarmProgress(**known)  # type: ignore[arg-type]


def shown(progress: FarmProgress, *workers: WorkerSample, columns: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, record=True, force_terminal=True)
    console.print(farm_panel(progress, workers, Spinner("dots")))
    return [line.strip("│╭╮╰╯ ") for line in console.export_text().splitlines()]


def test_panel_shows_progress_and_rates() -> None:
    lines = shown(
        farm(
            chunks_resumed=10,
            projected_match_rate=0.712,
            projected_match_rate_low=0.69,
            projected_match_rate_high=0.735,
            projected_at_share=0.4,
            match_rate_threshold=0.7,
        ),
        worker("0", 358),
    )

    assert lines[1].endswith("62.1%  0:12 left")
    assert lines[2:6] == [
        "recipients    2,050,000 of 3,300,000 · 105,000/s",
        "chunks        41 of 66 · 10 resumed",
        "matched       31,000 of 100,000 awards so far (31.0%)",
        "projected     71.2% of awards (69.0% to 73.5%) · threshold 70.0% · at 40%",
    ]
    assert lines[7].endswith("358 of 1,500 MB")


def test_unknown_values_are_omitted() -> None:
    text = "\n".join(shown(farm(chunks_done=0, records_done=0, records_per_second=0.0, remaining_seconds=None)))

    for word in ("left", "/s", "projected", "problems", "resumed"):
        assert word not in text
    assert "no worker available" in text


def test_problems_and_paused_workers() -> None:
    lines = shown(
        farm(failed_attempts=1, chunks_degraded=3), worker("0", 1250, paused=True, restarts=1), worker("1", 9, 0)
    )

    assert "problems      1 failed attempt · 3 chunks in smaller batches" in lines
    assert next(line for line in lines if line.startswith("worker 0")).endswith(
        "1,250 of 1,500 MB  paused, restarted once"
    )
    assert next(line for line in lines if line.startswith("worker 1")).split() == [
        "worker",
        "1",
        "no",
        "limit",
        "9",
        "MB",
    ]


def test_workers_near_limit_are_shown() -> None:
    workers = [worker(str(number), 300 + number, paused=number == 3) for number in range(40)]

    lines = [line.split() for line in shown(farm(), *workers) if line.startswith(("worker", "and"))]

    assert [line[1] for line in lines[:-1]] == ["3", *map(str, range(33, 40))]
    assert len(lines[:-1]) == MAX_WORKERS
    assert " ".join(lines[-1]) == "and 32 more with less memory"


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_panel_fits_the_terminal(columns: int) -> None:
    console = Console(file=io.StringIO(), width=columns, record=True, force_terminal=True)
    many = [worker(f"tls://10.0.0.{number}:45553", 1300, paused=True, restarts=12) for number in range(20)]
    console.print(
        farm_panel(
            farm(
                records_total=3_300_000_000,
                records_done=3_299_999_999,
                remaining_seconds=360_000.0,
                failed_attempts=1234,
                chunks_degraded=99_999,
                projected_match_rate=0.512,
                projected_match_rate_low=0.49,
                projected_match_rate_high=0.535,
                match_rate_threshold=0.7,
            ),
            many,
            Spinner("dots"),
        )
    )

    lines = console.export_text().splitlines()
    assert {len(line) for line in lines} == {min(columns, 78)}
    if columns >= 80:
        assert len(lines) == 1 + 1 + 5 + 1 + MAX_WORKERS + 1 + 1


def output_of(console: Console, *events: Event) -> str:
    with TerminalListener(console, 10) as terminal:
        for event in events:
            terminal(event)
        console.file.flush()
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_plain_lines_without_a_terminal() -> None:
    printed = output_of(
        Console(file=io.StringIO(), width=80),
        StepStarted(Step.CHUNK_MATCHES),
        WorkersSeen((worker("0", 300),)),
        farm(),
        farm(chunks_done=42),
        Notice("something [bold]happened[/]", warning=True),
        farm(chunks_done=66, records_done=3_300_000),
        StepFinished(Step.CHUNK_MATCHES, 3_300_000, 31.2, reused=False),
    )

    assert [line.split(",")[0] for line in printed.splitlines()] == [
        "· Matching",
        "2",
        "! something [bold]happened[/]",
        "3",
        "✓ Matching 3",
    ]
    assert "\x1b" not in printed
    assert "╭" not in printed


def test_panel_is_removed_at_the_end() -> None:
    printed = output_of(
        Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None),
        StepStarted(Step.CHUNK_MATCHES),
        farm(),
    )

    assert printed.count("Matching") == 1  # the title, once
    assert "╭" in printed
    assert printed.endswith("\x1b[1A\x1b[2K") or printed.rstrip("\x1b[?25h").endswith("\x1b[2K")
