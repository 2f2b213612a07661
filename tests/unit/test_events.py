"""Run events: a listener that fails harms nobody; progress counts only what is left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from enrich_dist.farm.worker import ChunkTask
from enrich_dist.observe.events import Event, FarmProgress, Notice, emit, format_duration, listening
from enrich_dist.observe.progress import FarmObserver
from enrich_dist.store.checkpoints import Checkpoint, CheckpointRecord


def test_a_failing_listener_is_dropped_and_the_others_go_on() -> None:
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


class _Counter:
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


def test_progress_counts_what_was_there_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = 1000.0
    monkeypatch.setattr("enrich_dist.observe.progress.time.monotonic", lambda: now)
    tasks = [_task(number) for number in range(10)]
    heard: list[FarmProgress] = []
    observer = FarmObserver(
        tasks,
        {f"key{n}": Checkpoint(_record(n), tmp_path, tmp_path) for n in range(4)},
        lambda key: tmp_path / key,
        matched=_Counter(),
        awards_total=50,
    )

    with listening(lambda event: heard.append(event) if isinstance(event, FarmProgress) else None):
        observer.tick(2)
        now += 10
        observer.chunk_finished(tasks[4], _record(4))
        observer.chunk_finished(tasks[5], _record(5))

    before, _, after = heard
    assert (before.records_done, before.records_per_second, before.remaining_seconds) == (400, 0, None)
    assert (after.chunks_done, after.chunks_resumed, after.records_done) == (6, 4, 600)
    assert after.records_per_second == pytest.approx(20)
    assert after.remaining_seconds == pytest.approx(20)
    assert after.awards_matched == 6
    assert after.line() == (
        "600 of 1,000 recipients (60 %), chunk 6 of 10, 20 records/s, 0:20 left, "
        "6 of 50 awards matched so far, 2 workers"
    )


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3661, "1:01:01")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
