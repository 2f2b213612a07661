"""The file of the workers over time: what is kept, and what a reader makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrich_dist.events import Notice, WorkerSample, WorkersSeen
from enrich_dist.farm.logs import WorkerLog, read_worker_log


def sample(worker: str, memory_mb: int, **values: object) -> WorkerSample:
    known: dict[str, object] = {"memory_limit_bytes": 1_000_000_000, "paused": False, "restarts": 0, **values}
    return WorkerSample(worker=worker, address=f"tcp://{worker}", memory_bytes=memory_mb * 1_000_000, **known)  # type: ignore[arg-type]


def test_only_changed_readings_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("enrich_dist.farm.logs.time.monotonic", lambda: now)
    path = tmp_path / "steps" / "workers.jsonl"
    with WorkerLog(path) as log:
        for seconds, seen in enumerate(
            [
                sample("a", 300),
                sample("a", 305),  # nearly the same
                sample("a", 400),
                sample("a", 401, paused=True),
                sample("a", 200, restarts=1),
            ]
        ):
            now = 100.0 + seconds
            log(WorkersSeen((seen, sample("b", 250))))
        log(Notice("nothing about workers"))
        now = 200.0
        log(WorkersSeen((sample("a", 200, restarts=1), sample("b", 250))))

    a, b = read_worker_log(path)

    assert a.samples == (
        (0.0, 300_000_000),
        (2.0, 400_000_000),
        (3.0, 401_000_000),
        (4.0, 200_000_000),
        (100.0, 200_000_000),
    )
    assert (a.peak_memory_bytes, a.restarts, a.paused) == (401_000_000, 1, False)
    assert b.samples == ((0.0, 250_000_000), (100.0, 250_000_000))


def test_cut_line_and_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "workers.jsonl"
    assert read_worker_log(path) == []
    with WorkerLog(path) as log:
        log(WorkersSeen((sample("a", 300), sample("b", 300))))
    path.write_bytes(path.read_bytes()[:-20])

    assert [history.worker for history in read_worker_log(path)] == ["a"]


def test_new_farm_starts_new_file(tmp_path: Path) -> None:
    path = tmp_path / "workers.jsonl"
    for name in ("a", "b"):
        with WorkerLog(path) as log:
            log(WorkersSeen((sample(name, 300),)))

    assert [history.worker for history in read_worker_log(path)] == ["b"]
