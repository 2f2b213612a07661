"""Invariants of the farm's state machine under random sequences of events (hypothesis)."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_dist.errors import CorruptionError, FarmError, IndexMismatchError
from enrich_dist.farm.attempts import FailureKind
from enrich_dist.farm.messages import (
    AttemptFailed,
    AttemptId,
    AttemptSucceeded,
    RecordFetched,
    SchedulerLost,
    SchedulerReturned,
    WorkerOutOfMemory,
)
from enrich_dist.farm.state import MAX_ATTEMPTS_PER_THREAD
from tests.support.farm_case import POLICY, SimulatedFarm, checkpoint_record

EVENTS = (
    *["finish"] * 8, *["wait"] * 4, "lose record", "fail", "corrupt", "memory error", "kill", "out of memory",
    "add worker", "pause", "silence", "lose scheduler", "other index", "long wait", "late event",
)  # fmt: skip


def apply(farm: SimulatedFarm, event: str, random: Random) -> None:
    """Let one thing happen to a random worker."""
    busy = [worker for worker in farm.workers.values() if worker.running is not None]
    worker = random.choice(busy) if busy else None
    match event:
        case "wait" | "long wait":
            farm.tick(random.uniform(0, 70 if event == "long wait" else 10))
        case "add worker" if len(farm.workers) < 8:
            farm.add_worker(random.choice(["a", "b", None]))
        case "lose scheduler":
            farm.handle(SchedulerLost("tcp://s", reconnecting=True))
            farm.handle(SchedulerReturned())
            for lost in farm.workers.values():
                while lost.queue:
                    farm.handle(AttemptFailed(lost.queue.popleft(), None, None, farm.now))
        case "late event":
            attempt = random.choice([*farm.tasks, AttemptId(0, 99)])
            if attempt not in farm.state.active_attempts:
                farm.handle(AttemptSucceeded(attempt, farm.now))
                farm.handle(AttemptFailed(attempt, ValueError("late"), None, farm.now))
    if worker is None:
        return
    match event:
        case "finish":
            farm.finish(worker, random.choice([0.1, 0.1, 5.0]))
        case "lose record":
            attempt = worker.queue.popleft()
            farm.handle(AttemptSucceeded(attempt, farm.now))
            if random.random() < 0.5:
                farm.handle(AttemptFailed(attempt, CorruptionError("torn"), None, farm.now))
            else:
                farm.handle(RecordFetched(attempt, checkpoint_record(farm.tasks[attempt], worker="w", seconds=1.0)))
        case "fail":
            farm.fail(worker, ValueError(random.choice(["row 1", "row 2"])))
        case "corrupt":
            farm.fail(worker, OSError(errno.EIO, "read error"))
        case "memory error":
            farm.fail(worker, MemoryError())
        case "other index" if farm.state.finished_chunks:
            farm.fail(worker, IndexMismatchError("another index", worker=worker.address))
        case "kill" | "out of memory":
            farm.kill(worker)
            if event == "out of memory":
                farm.tick(0.3)
                farm.handle(WorkerOutOfMemory(worker.address, worker.pid))
        case "pause":
            worker.paused = not worker.paused
        case "silence":
            worker.silent = not worker.silent


def check(farm: SimulatedFarm) -> None:
    """Check what holds at any time."""
    state = farm.state
    assert all(count == 1 for count in farm.finished.values()), "a chunk finishes once"
    assert all(count <= 2 for count in Counter(attempt.chunk_id for attempt in state.active_attempts).values())
    counted = Counter(failure.chunk_id for failure in farm.failures if failure.counted)
    # Quarantining rows may take one attempt more.
    isolating = {task.chunk_id for task in farm.tasks.values() if task.isolate}
    assert all(count <= POLICY.max_attempts + (chunk in isolating) for chunk, count in counted.items())
    assert not any(failure.counted for failure in farm.failures[:20] if failure.kind is FailureKind.NOT_STARTED)
    assert state.failures.total() == len(farm.failures)
    recorded = Counter((failure.chunk_id, failure.attempt) for failure in farm.failures)
    assert all(count == 1 for count in recorded.values()), "an attempt fails once"


@settings(max_examples=150, deadline=None)
@given(
    chunks=st.integers(1, 12),
    workers=st.integers(1, 6),
    events=st.lists(st.sampled_from(EVENTS), min_size=40, max_size=80),
    seed=st.integers(0, 1_000_000),
    factor=st.sampled_from([0, 3]),
)
def test_invariants_hold_for_any_events(chunks: int, workers: int, events: list[str], seed: int, factor: float) -> None:
    random = Random(seed)
    farm = SimulatedFarm(chunks, workers, replace(POLICY, straggler_factor=factor, straggler_min_seconds=0))
    farm.tick()
    for event in events:
        finished_before = set(farm.finished)
        active_before, submitted_before = len(farm.state.active_attempts), len(farm.submissions)
        apply(farm, event, random)
        farm.tick(0.1)
        check(farm)
        submitted = farm.submissions[submitted_before:]
        assert not finished_before & {submit.task.chunk_id for submit in submitted}, "no action for a finished chunk"
        bound = max(active_before, MAX_ATTEMPTS_PER_THREAD * farm.state.monitor.threads)
        assert len(farm.state.active_attempts) <= bound, "active attempts are bounded"
    # From now on all goes well: the farm ends.
    for worker in list(farm.workers.values()):
        worker.paused = worker.silent = False
    for _ in range(2_000):
        if farm.stop is not None:
            break
        if len(farm.workers) < 2:
            farm.add_worker()
        for worker in list(farm.workers.values()):
            if worker.address in farm.retired:
                farm.kill(worker)
            elif worker.running is not None:
                farm.finish(worker)
        farm.tick(0.5)
        check(farm)

    assert farm.stop is not None, "the farm ends"
    if farm.stop.error is None:
        assert set(farm.finished) == set(range(chunks)), "each chunk is finished once"
    else:
        assert isinstance(farm.stop.error, FarmError)
        given_up = {failure.chunk_id for failure in farm.failures} - set(farm.finished)
        capacity = "worker" in str(farm.stop.error) and "Chunk" not in str(farm.stop.error)
        assert given_up or capacity
