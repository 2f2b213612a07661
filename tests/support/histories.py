"""Records of runs that never ran: sessions with noise of known size, and planted changes in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from enrich_dist.runs.machine import Machine
from enrich_dist.runs.records import Dataset, RunRecord, Stage, Worker
from enrich_dist.runs.revision import Code

BEGIN = datetime(2026, 11, 1, 12, tzinfo=UTC)
MACHINE = Machine("A processor", 2, 16, "Linux x86_64", "3.11")
# About what the sample takes.
STAGE_SECONDS = {
    "sbir_awards": 1.2,
    "award_companies": 0.8,
    "recipient_chunks": 1.5,
    "chunk_matches": 4.0,
    "enriched_awards": 1.4,
    "published_awards": 0.1,
}
OUTSIDE_SECONDS = 4.0
CPU_SECONDS = 25.0
WORKER_BYTES, DRIVER_BYTES = 260_000_000, 600_000_000
MEMORY_NOISE = 0.01


def a_run(
    name: str = "aaaa",
    *,
    slower: float = 1.0,
    memory: float = 1.0,
    by_stage: Mapping[str, float] | None = None,
    session: str | None = "session",
    at: datetime = BEGIN,
    yardstick_seconds: float | None = 0.1,
) -> RunRecord:
    """A run of the sample, all of its times ``slower`` times as long and its memory ``memory`` times as large."""
    factors = by_stage or {}
    seconds = {step: taken * slower * factors.get(step, 1.0) for step, taken in STAGE_SECONDS.items()}
    farm_seconds = seconds["chunk_matches"] * 0.9
    return RunRecord(
        id=name,
        timestamp=at.isoformat(timespec="seconds"),
        session=session,
        code=Code("0.1.0", "0123456789abcdef", False),
        machine=MACHINE,
        dataset=Dataset(11_446, 96_666, "aa", "bb"),
        settings={"chunk_size": 10_000, "testing.fault_probability": 0.0},
        outcome="published",
        stages={step: Stage(taken, 1_000, int(DRIVER_BYTES * memory), False) for step, taken in seconds.items()},
        farm_seconds=farm_seconds,
        records_per_second=96_666 / farm_seconds,
        match_rate=0.5,
        chunks=10,
        chunks_resumed=0,
        failed_attempts=0,
        worker_restarts=0,
        workers=(Worker(10, 96_666, farm_seconds, int(WORKER_BYTES * memory), "vmhwm"),),
        wall_seconds=sum(seconds.values()) + OUTSIDE_SECONDS * slower,
        yardstick_seconds=yardstick_seconds,
        cpu_seconds=CPU_SECONDS * slower,
        yardstick_cpu_seconds=0.3,
    )


def a_session(
    random: np.random.Generator,
    noise: float,
    *,
    repeats: int = 7,
    slower: float = 1.0,
    memory: float = 1.0,
    machine_slower: float = 1.0,
    name: str = "now",
    at: datetime = BEGIN,
) -> list[RunRecord]:
    """Repeats whose times scatter log-normally by about ``noise``, half of it for the run as a whole, half by step."""
    share = noise / np.sqrt(2)

    def one(number: int) -> RunRecord:
        whole = float(random.lognormal(0.0, share)) * slower * machine_slower
        by_stage = {step: float(random.lognormal(0.0, share)) for step in STAGE_SECONDS}
        run = a_run(
            f"{name}{number:04d}",
            slower=whole,
            memory=float(random.lognormal(0.0, MEMORY_NOISE)) * memory,
            by_stage=by_stage,
            session=name,
            at=at + timedelta(minutes=number),
            yardstick_seconds=0.1 * machine_slower * float(random.lognormal(0.0, noise / 4)),
        )
        return replace(
            run,
            wall_seconds=sum(s.seconds for s in run.stages.values()) + OUTSIDE_SECONDS * whole,
            yardstick_cpu_seconds=0.3 * machine_slower,
        )

    return [one(number) for number in range(repeats)]
