"""Run events: a failing listener is dropped; progress counts the work of this run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from enrich_dist.events import (
    AttemptTimes,
    Event,
    FarmProgress,
    Notice,
    WorkerSample,
    WorkersSeen,
    emit,
    format_duration,
    listening,
)
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.progress.early_warning import EarlyWarning
from enrich_dist.progress.intervals import ProgressIntervals
from enrich_dist.progress.partial_results import MatchedAwardCounter
from enrich_dist.progress.projection import Projection
from enrich_dist.progress.tracker import ProgressTracker
from enrich_dist.store.checkpoints import Checkpoint, CheckpointRecord


def test_failing_listener_is_dropped() -> None:
    heard: list[Event] = []
    calls = 0

    def failing(_: Event) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("no terminal")

    with listening(failing), listening(heard.append):
        emit(Notice("one"))
        emit(Notice("two"))
    emit(Notice("three"))

    assert heard == [Notice("one"), Notice("two")]
    assert calls == 1


class _Counter(MatchedAwardCounter):
    def __init__(self) -> None:
        self.seen = 0

    def add(self, checkpoints: Sequence[Path]) -> None:
        self.seen += len(checkpoints)

    def awards(self) -> int:
        return self.seen


def _task(number: int) -> ChunkTask:
    return ChunkTask(number, Path("c"), 100, "", Path("i"), "", "s", f"key{number}", Path("l"))


def _record(number: int) -> CheckpointRecord:
    return CheckpointRecord(
        key=f"key{number}", rows_in=100, rows_with_candidates=1, rows_without_candidates=99, rows_quarantined=0,
        quarantined=[], candidates=1, bytes=1, blake3="", counts_bytes=1, counts_blake3="", seconds=1.0,
        peak_memory_bytes=1, memory_method="vmhwm", memory_limit_bytes=0, worker="0", host="h", pid=1, attempt=1,
        parts=1, projected_peak_memory_bytes=1, batch_rows=100, batch_rows_least=100, degradations=0,
    )  # fmt: skip


class _NoLook(EarlyWarning):
    """Never looks; has what it is given."""

    def __init__(self, projection: Projection | None = None) -> None:
        super().__init__(_never, threshold=0.7, chunks_total=10, fail_fast=False)
        self.projection = projection

    def check(self, keys: Sequence[str], share_done: float) -> None:
        """Nothing."""


def _never(keys: Sequence[str], share_done: float) -> Projection:
    raise AssertionError("not expected")


def _finished(number: int, worker: str, started: float, ended: float) -> AttemptTimes:
    return AttemptTimes(number, 1, "finished", worker, started, started, ended, ended, 1)


def _workers(*names: str) -> WorkersSeen:
    return WorkersSeen(tuple(WorkerSample(name, "tcp://", 1, 1, False, 0) for name in names))


def test_resumed_chunks_are_counted_separately(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = 1000.0
    monkeypatch.setattr("enrich_dist.progress.tracker.time.monotonic", lambda: now)
    tasks = [_task(number) for number in range(10)]
    heard: list[FarmProgress] = []
    observer = ProgressTracker(
        tasks,
        {f"key{n}": Checkpoint(_record(n), tmp_path, tmp_path) for n in range(4)},
        lambda key: tmp_path / key,
        matched=_Counter(),
        awards_total=50,
        early=_NoLook(Projection(rate=0.712, low=0.69, high=0.735, chunks=6)),
    )

    with listening(observer), listening(lambda event: heard.append(event) if isinstance(event, FarmProgress) else None):
        emit(_workers("0", "1"))
        observer.tick(2)
        now += 10
        for number, worker in ((4, "0"), (5, "1")):
            emit(_finished(number, worker, 1000.0, 1010.0))
            observer.chunk_finished(tasks[number], _record(number))
        emit(AttemptTimes(6, 1, "crash", "1", 1010.0, 1010.0, 1011.0, 1011.0))
        now += 4
        observer.tick(2)

    before, _, after, later = heard
    assert (before.records_done, before.records_per_second, before.remaining_seconds) == (400, 0, None)
    assert (after.chunks_done, after.chunks_resumed, after.records_done) == (6, 4, 600)
    assert after.records_per_second == pytest.approx(20)
    assert after.remaining_seconds == pytest.approx(20)  # two chunks for each of two workers
    assert later.remaining_seconds == pytest.approx(17)  # one of them restarted a second later
    assert (after.failed_attempts, later.failed_attempts, later.chunks_degraded) == (0, 1, 0)
    assert after.awards_matched == 6
    assert after.line() == (
        "600 of 1,000 recipients (60.0%), chunk 6 of 10, 20 records/s, 0:20 left, 6 of 50 awards matched so far, "
        "projected match rate 71.2% (69.0% to 73.5%), 2 workers"
    )
    assert later.line().endswith("2 workers, 1 failed attempt")


def test_log_interval_grows_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("enrich_dist.progress.intervals.time.monotonic", lambda: now)
    intervals, lines = ProgressIntervals(10), []
    for second in range(36_000):
        now = float(second)
        if intervals.due(FarmProgress(10, 9, 0, 1000, 900, 50, 0, 1.0, 1.0, 2)):
            lines.append(second)
    now += 0.5
    last = FarmProgress(10, 10, 0, 1000, 1000, 50, 0, 1.0, 0.0, 2)
    assert (intervals.due(last), intervals.due(last)) == (True, False)

    assert lines[:7] == [0, 10, 20, 30, 40, 50, 60]
    assert 30 < len([line for line in lines if line < 600]) <= 60
    assert len(lines) < 350  # of ten hours
    assert max(b - a for a, b in pairwise(lines)) <= 601


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3661, "1:01:01")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
