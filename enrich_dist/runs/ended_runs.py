"""One line per run of a work directory, however it ended: published, blocked, failed, interrupted or killed.

A run that is killed cannot write its line: the next run finds its ``active_run.json`` and writes it. Results have a
record of their own (``records``); this one has the totals of every run, also of one without a result.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from enrich_dist.core.json_documents import JsonCodec, Measure, read_json_lines
from enrich_dist.core.owned_files import append, remove_file
from enrich_dist.errors import CorruptionError, RunInterruptedError
from enrich_dist.events import Event, Step, StepStarted, warning_on_error
from enrich_dist.farm.logs import read_worker_log
from enrich_dist.farm.metrics import memory_numbers
from enrich_dist.farm.worker_memory import WorkerMemory
from enrich_dist.runs.environment import this_code
from enrich_dist.store.run_directory import Number, RunDirectory, StepReport
from enrich_dist.store.run_totals import RunTotals, run_totals

_INTERRUPTS: Final = frozenset({RunInterruptedError.__name__, "DagsterExecutionInterruptedError", "KeyboardInterrupt"})


class Ending(StrEnum):
    """How a run ended."""

    PUBLISHED = "published"
    BLOCKED = "blocked"
    UNPUBLISHED = "unpublished"
    """All of its steps ended well, but none of them published."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    KILLED = "killed"


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended. ``where``: the step that failed or was active, else empty; ``reason``: why, else empty;
    ``ended_seconds``: of a killed run, when this was noticed; ``revision``: empty for a killed run. Times are seconds
    since 1970; ``steps``: without paths and tables."""

    run_id: str
    ending: Ending
    where: str
    reason: str
    began_seconds: Measure
    ended_seconds: Measure
    revision: str
    totals: RunTotals
    steps: dict[Step, StepReport]


@dataclass(frozen=True)
class ActiveRun:
    """The run that is active, or was when its process died; ``step``: the one that started last, else empty;
    ``step_seconds``: when it started."""

    run_id: str
    pid: int
    host: str
    began_seconds: Measure
    step: str = ""
    step_seconds: Measure = 0.0


_ACTIVE: Final = JsonCodec(ActiveRun, kind="active run", remedy=None)
_ENDED: Final = JsonCodec(EndedRun, kind="ended run", remedy=None)


class RunMarker:
    """Listener that keeps ``active_run.json`` up to date during a run."""

    def __init__(self, directory: RunDirectory, run_id: str) -> None:
        self._path = directory.active_run
        self._run = ActiveRun(run_id, os.getpid(), socket.gethostname(), time.time())
        _ACTIVE.write(self._path, self._run)

    def __call__(self, event: Event) -> None:
        """Write the step that starts."""
        if isinstance(event, StepStarted):
            self._run = replace(self._run, step=str(event.step), step_seconds=time.time())
            with warning_on_error(f"{self._path.name} could not be written"):
                _ACTIVE.write(self._path, self._run)


def read_ended_runs(directory: RunDirectory) -> list[EndedRun]:
    """Return all runs that have ended, the oldest first, without lines of other versions."""
    found = []
    for line in read_json_lines(directory.ended_runs):
        with suppress(CorruptionError):
            found.append(_ENDED.from_document(line, directory.ended_runs.name))
    return found


def record_end(directory: RunDirectory, run_id: str) -> EndedRun:
    """Record how this run ended, from its files, and remove its marker."""
    reports = directory.reports_of(run_id)
    failed, active = directory.failure(run_id), _read_active(directory)
    now = time.time()
    began = active.began_seconds if active and active.run_id == run_id else now - run_totals(reports, run_id).seconds
    if failed is not None:
        ending = Ending.INTERRUPTED if failed.error in _INTERRUPTS else Ending.FAILED
    elif Step.PUBLISHED_AWARDS in reports:
        ending = Ending.PUBLISHED
    else:
        judged = reports.get(Step.ENRICHED_AWARDS)
        is_blocked = judged is not None and not judged.numbers.get(Number.VERDICT_PASSED)
        ending = Ending.BLOCKED if is_blocked else Ending.UNPUBLISHED
    where, reason = (str(failed.report.step), failed.reason) if failed else ("", "")
    ended = _ended(run_id, ending, where, reason, began, this_code().label, reports)
    _append(directory, ended)
    return ended


def record_killed_run(directory: RunDirectory) -> EndedRun | None:
    """Record the earlier run whose process died, and return it; None if there is none.

    Call it only while holding the lock, before this run's own marker.
    """
    active = _read_active(directory)
    if active is None:
        return None
    reports = directory.reports_of(active.run_id)
    where = f" during {active.step}" if active.step else ""
    if active.step and active.step not in reports:
        reports[Step(active.step)] = _unfinished(directory, active)
    reason = (
        f"The process of the run (process {active.pid} on {active.host}) ended{where} without an error: it was killed, "
        "or the machine stopped."
    )
    ended = _ended(active.run_id, Ending.KILLED, active.step, reason, active.began_seconds, "", reports)
    _append(directory, ended)
    return ended


def _unfinished(directory: RunDirectory, active: ActiveRun) -> StepReport:
    """Return what is known of the step during which a run was killed: workers by their log, time by its last line."""
    numbers: dict[str, float] = {}
    seconds = 0.0
    if active.step == Step.CHUNK_MATCHES:
        written = directory.worker_log.stat().st_mtime if directory.worker_log.exists() else 0.0
        if written >= active.step_seconds:  # else it is the log of an earlier run
            logged = read_worker_log(directory.worker_log)
            seconds = max((sample[0] for worker in logged for sample in worker.samples), default=0.0)
            workers = [
                WorkerMemory(item.worker, "", None, 0, 0, 0.0, item.peak_memory_bytes, 0, "", item.memory_limit_bytes)
                for item in logged
            ]
            numbers = memory_numbers(workers)
    return StepReport(Step(active.step), active.run_id, 0, seconds, 0, False, {}, numbers)


def _ended(
    run_id: str, ending: Ending, where: str, reason: str, began: float, revision: str, reports: dict[Step, StepReport]
) -> EndedRun:
    totals = run_totals(reports, run_id)
    steps = {step: replace(report, paths={}, tables={}) for step, report in reports.items()}
    return EndedRun(run_id, ending, where, reason, began, time.time(), revision, totals, steps)


def _append(directory: RunDirectory, ended: EndedRun) -> None:
    append(directory.ended_runs, json.dumps(_ENDED.to_document(ended), sort_keys=True) + "\n")
    remove_file(directory.active_run)


def _read_active(directory: RunDirectory) -> ActiveRun | None:
    with suppress(FileNotFoundError, CorruptionError):
        return _ACTIVE.read(directory.active_run)
    return None
