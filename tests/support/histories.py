"""Synthetic run records: sessions with known noise and planted changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from enrich_dist.events import Step
from enrich_dist.runs.environment import Code, Machine
from enrich_dist.runs.records import InputFile, RunRecord, Worker
from enrich_dist.settings import used_settings
from enrich_dist.store.run_directory import Number, StepReport

BEGIN = datetime(2026, 11, 1, 12, tzinfo=UTC)
MACHINE = Machine("A processor", 2, 16, "Linux x86_64", "3.11")
# About the values of the sample.
STAGE_SECONDS = {
    Step.SBIR_AWARDS: 1.2,
    Step.AWARD_COMPANIES: 0.8,
    Step.RECIPIENT_CHUNKS: 1.5,
    Step.CHUNK_MATCHES: 4.0,
    Step.ENRICHED_AWARDS: 1.4,
    Step.PUBLISHED_AWARDS: 0.1,
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
    by_stage: Mapping[Step, float] | None = None,
    session: str | None = "session",
    at: datetime = BEGIN,
    calibration_seconds: float | None = 0.1,
) -> RunRecord:
    """Return a run of the sample, with factors on its times and memory."""
    factors = by_stage or {}
    seconds = {step: taken * slower * factors.get(step, 1.0) for step, taken in STAGE_SECONDS.items()}
    farm_seconds = seconds[Step.CHUNK_MATCHES] * 0.9
    numbers: dict[Step, dict[str, int | float]] = {
        Step.CHUNK_MATCHES: {
            Number.CHUNKS: 10,
            Number.CHUNKS_RESUMED: 0,
            Number.FAILED_ATTEMPTS: 0,
            Number.WORKER_RESTARTS: 0,
            Number.FARM_SECONDS: farm_seconds,
            Number.FARM_RECORDS_PER_SECOND: 96_666 / farm_seconds,
        },
        Step.ENRICHED_AWARDS: {Number.MATCH_RATE: 0.5},
    }
    settings = {"chunk_size": 10_000, "testing.fault_probability": 0.0}
    return RunRecord(
        run_id=name,
        finished_seconds=at.timestamp(),
        status="published",
        code=Code("0.1.0", "0123456789abcdef", False),
        machine=MACHINE,
        result="result",
        release="release",
        awards=InputFile("", 11_500, 11_446, "aa"),
        recipients=InputFile("", 96_700, 96_666, "bb"),
        settings=used_settings(settings, dict.fromkeys(settings, "")),
        steps={
            step: StepReport(
                step, name, 1_000, taken, int(DRIVER_BYTES * memory), False, paths={}, numbers=numbers.get(step, {})
            )
            for step, taken in seconds.items()
        },
        workers=(Worker(10, 96_666, farm_seconds, int(WORKER_BYTES * memory), "vmhwm"),),
        session=session,
        wall_seconds=sum(seconds.values()) + OUTSIDE_SECONDS * slower,
        cpu_seconds=CPU_SECONDS * slower,
        calibration_seconds=calibration_seconds,
        calibration_cpu_seconds=0.3,
    )


def with_step(run: RunRecord, step: Step, **changes: Any) -> RunRecord:
    """Return the run with other values in the report of a step."""
    return replace(run, steps={**run.steps, step: replace(run.steps[step], **changes)})


def vary(
    run: RunRecord,
    *,
    run_id: str | None = None,
    settings: Mapping[str, Any] | None = None,
    recipients: int | None = None,
    numbers: Mapping[tuple[Step, Number], float] | None = None,
    **fields: Any,
) -> RunRecord:
    """Return the run with other values; ``recipients``: valid rows."""
    run = replace(run, **fields)
    for (step, number), value in (numbers or {}).items():
        run = with_step(run, step, numbers={**run.steps[step].numbers, number: value})
    if run_id is not None:
        run = replace(run, run_id=run_id, steps={name: replace(s, run_id=run_id) for name, s in run.steps.items()})
    if settings is not None:
        run = replace(run, settings=used_settings(settings, dict.fromkeys(settings, "")))
    if recipients is not None:
        run = replace(run, recipients=replace(run.recipients, valid_rows=recipients))
    return run


RESUMED = {(Step.CHUNK_MATCHES, Number.CHUNKS_RESUMED): 1}
RETRIED = {(Step.CHUNK_MATCHES, Number.FAILED_ATTEMPTS): 1}
RESTARTED = {(Step.CHUNK_MATCHES, Number.WORKER_RESTARTS): 1}


def match_rate(rate: float) -> dict[tuple[Step, Number], float]:
    """Return the number for ``vary``."""
    return {(Step.ENRICHED_AWARDS, Number.MATCH_RATE): rate}


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
    """Return repeats with log-normal noise, half of it common to the run and half per step."""
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
            calibration_seconds=0.1 * machine_slower * float(random.lognormal(0.0, noise / 4)),
        )
        return replace(
            run,
            wall_seconds=sum(s.seconds for s in run.steps.values()) + OUTSIDE_SECONDS * whole,
            calibration_cpu_seconds=0.3 * machine_slower,
        )

    return [one(number) for number in range(repeats)]
