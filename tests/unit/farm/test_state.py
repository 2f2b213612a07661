"""The farm's state machine: what follows each event, by tables, on a simulated cluster and clock."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from enrich_dist.errors import (
    CorruptionError,
    EnrichError,
    EnvironmentFailureError,
    FarmError,
    IndexMismatchError,
)
from enrich_dist.farm.attempts import FailureKind
from enrich_dist.farm.messages import (
    AttemptFailed,
    AttemptId,
    AttemptSucceeded,
    SchedulerLost,
    SchedulerReturned,
    Stop,
    Submit,
    WorkerOutOfMemory,
    WorkerRestarted,
)
from enrich_dist.farm.state import MAX_ATTEMPTS_PER_THREAD, MEMORY_EVENT_SECONDS
from tests.support.farm_case import POLICY, SimulatedFarm, SimulatedWorker


def started_farm(chunks: int = 3, workers: int = 1) -> tuple[SimulatedFarm, SimulatedWorker]:
    """A farm whose workers have started; the worker that runs the first chunk."""
    farm = SimulatedFarm(chunks, workers)
    farm.tick()
    farm.tick(1.0)
    return farm, farm.workers["tcp://0"]


def lose_out_of_memory(farm: SimulatedFarm, worker: SimulatedWorker) -> None:
    farm.kill(worker)
    farm.tick(0.5)
    farm.handle(WorkerOutOfMemory(worker.address, worker.pid))


def lose_near_limit(farm: SimulatedFarm, worker: SimulatedWorker) -> None:
    worker.memory_bytes = 900
    farm.observe()
    farm.kill(worker)


def crash(farm: SimulatedFarm, worker: SimulatedWorker) -> None:
    farm.kill(worker)
    farm.tick(MEMORY_EVENT_SECONDS)


def hang(farm: SimulatedFarm, worker: SimulatedWorker) -> None:
    farm.tick(POLICY.timeout_seconds + 1)


def fall_silent(farm: SimulatedFarm, worker: SimulatedWorker) -> None:
    worker.silent = True
    for _ in range(3):
        farm.tick(POLICY.heartbeat_timeout_seconds / 2)


def lose_scheduler(farm: SimulatedFarm, worker: SimulatedWorker) -> None:
    farm.handle(SchedulerLost("tcp://s", reconnecting=True))
    farm.now += 5
    farm.handle(SchedulerReturned())
    farm.handle(AttemptFailed(worker.queue.popleft(), None, None, farm.now))


def raise_error(error: Exception):  # type: ignore[no-untyped-def]
    return lambda farm, worker: farm.fail(worker, error)


# One row per line of the failure-policy table: signal, kind, counted, change of the retry.
@pytest.mark.parametrize(
    ("signal", "kind", "counted", "parts"),
    [
        (raise_error(ValueError("row")), FailureKind.DATA, True, 1),
        (raise_error(MemoryError()), FailureKind.OUT_OF_MEMORY, False, 2),
        (lose_out_of_memory, FailureKind.OUT_OF_MEMORY, False, 2),
        (lose_near_limit, FailureKind.OUT_OF_MEMORY, False, 2),
        (crash, FailureKind.CRASH, True, 1),
        (raise_error(OSError(errno.EIO, "read error")), FailureKind.CRASH, True, 1),
        (hang, FailureKind.HANG, True, 1),
        (fall_silent, FailureKind.HANG, True, 1),
        (lose_scheduler, FailureKind.SCHEDULER, False, 1),
        (raise_error(CorruptionError("torn")), FailureKind.CORRUPTION, True, 1),
    ],
)
def test_failed_chunk_is_retried(signal, kind: FailureKind, counted: bool, parts: int) -> None:  # type: ignore[no-untyped-def]
    farm, worker = started_farm(chunks=1)

    signal(farm, worker)
    farm.add_worker()
    farm.tick(1.0)

    [failure] = farm.failures
    assert (failure.chunk_id, failure.attempt, failure.kind, failure.counted) == (0, 1, kind, counted)
    assert [(task.attempt, task.parts) for _, task in farm.submitted] == [(1, 1), (2, parts)]
    assert farm.state.failures == {kind: 1}
    assert farm.stop is None


def test_queued_chunk_is_not_counted() -> None:
    farm, worker = started_farm(chunks=2)
    assert len(worker.queue) == 2

    crash(farm, worker)

    assert [(failure.chunk_id, failure.kind, failure.counted) for failure in farm.failures] == [
        (1, FailureKind.NOT_STARTED, False),
        (0, FailureKind.CRASH, True),
    ]


def test_full_disk_stops_at_once() -> None:
    farm, worker = started_farm()

    farm.fail(worker, OSError(errno.ENOSPC, "No space left"))

    assert farm.stop is not None
    assert isinstance(farm.stop.error, EnvironmentFailureError)
    assert isinstance(farm.stop.error.__cause__, OSError)
    assert farm.tick(1.0) == []


@pytest.mark.parametrize("finished", [False, True])
def test_other_index_stops_or_retires(finished: bool) -> None:
    farm, worker = started_farm(chunks=6, workers=2)
    if finished:
        farm.finish(farm.workers["tcp://1"])
    error = IndexMismatchError("another index", worker=worker.address)

    farm.fail(worker, error)
    actions = farm.tick()

    if finished:
        assert farm.retired == [worker.address]
        assert farm.failures[0].kind is FailureKind.CONFIGURATION
        assert {action.workers for action in actions if isinstance(action, Submit)} == {("tcp://1",)}
    else:
        assert farm.stop == Stop(error)


def test_given_up_chunk_waits_for_others() -> None:
    farm, worker = started_farm(chunks=8)
    for _ in range(POLICY.max_attempts):
        farm.fail(worker, CorruptionError("torn"))
        farm.tick()
        worker.queue.rotate(1)  # the retry runs next
    assert farm.stop is None
    submitted = len(farm.submitted)

    while worker.queue:
        farm.finish(worker)
        farm.tick()

    assert len(farm.submitted) == submitted, "nothing new is submitted"
    assert farm.stop is not None
    assert isinstance(farm.stop.error, FarmError)
    assert not farm.finished[0]


def test_all_chunks_finish() -> None:
    farm, _ = started_farm(chunks=20, workers=3)

    while farm.stop is None:
        for worker in farm.workers.values():
            if worker.queue:
                farm.finish(worker)
        farm.tick(0.1)

    assert farm.stop == Stop(None)
    assert farm.finished == dict.fromkeys(range(20), 1)
    assert farm.failures == []


def test_straggler_gets_one_backup_task() -> None:
    farm, straggler = started_farm(chunks=4, workers=4)
    others = list(farm.workers.values())[1:]
    for worker in others:
        farm.finish(worker)

    for _ in range(20):
        farm.tick(1.0)

    assert farm.state.backup_tasks == 1
    [backup] = [worker for worker in others if worker.queue]
    assert list(backup.queue) == [AttemptId(0, 2)]
    farm.finish(backup)
    assert not straggler.queue, "the other attempt is cancelled"
    farm.handle(AttemptSucceeded(AttemptId(0, 1), farm.now))
    farm.tick()
    assert farm.stop == Stop(None)
    assert farm.finished[0] == 1


def test_failed_backup_is_not_retried() -> None:
    farm = SimulatedFarm(7, 4, replace(POLICY, straggler_min_seconds=0))
    farm.tick()
    farm.tick(1.0)
    first, *others = farm.workers.values()
    while any(worker.queue for worker in others):
        for worker in others:
            if worker.queue:
                farm.finish(worker)
        farm.tick()
    farm.tick(5.0)
    [backup] = [worker for worker in others if worker.queue]

    farm.fail(backup, ValueError("row"))
    assert (farm.failures[-1].attempt, farm.failures[-1].counted) == (2, False)
    assert AttemptId(0, 1) in farm.state.active_attempts
    farm.fail(first, ValueError("row"))
    farm.tick()

    assert (farm.failures[-1].attempt, farm.failures[-1].counted) == (1, True)
    assert farm.submitted[-1][1].attempt == 3


def test_queued_chunk_does_not_time_out() -> None:
    farm, worker = started_farm(chunks=2)

    farm.tick(POLICY.timeout_seconds - 2)
    farm.finish(worker)
    farm.tick(5.0)

    assert (farm.failures, farm.restarted) == ([], [])


def test_worker_in_restart_gets_no_task() -> None:
    farm, worker = started_farm(chunks=9, workers=2)
    farm.tick(POLICY.timeout_seconds - 2)
    for _ in range(2):
        farm.finish(farm.workers["tcp://1"])

    farm.tick(3.0)

    assert farm.restarted == [worker.address]
    later = farm.tick()
    assert {action.workers for action in later if isinstance(action, Submit)} <= {("tcp://1",)}
    farm.handle(WorkerRestarted(worker.address))
    farm.finish(farm.workers["tcp://1"])
    assert [action.workers for action in farm.tick() if isinstance(action, Submit)] == [()]


def test_paused_worker_restarts_once_per_progress() -> None:
    farm = SimulatedFarm(9, 1, replace(POLICY, timeout_seconds=600))
    farm.tick()
    worker = farm.workers["tcp://0"]
    for number in range(2):
        paused = farm.add_worker("unlucky")
        paused.paused = True
        for _ in range(8):
            farm.tick(5.0)
        if number == 1:
            assert paused.address not in farm.restarted, "no chunk has finished since the last restart"
            farm.finish(worker)
            farm.tick(1.0)
        assert farm.restarted[-1] == paused.address
        del farm.workers[paused.address]

    assert len(farm.restarted) == 2
    assert any("is paused and accepts no tasks" in notice for notice in farm.notices)


@pytest.mark.parametrize("paused", [False, True])
def test_no_capacity_stops(paused: bool) -> None:
    farm, worker = started_farm()
    worker.paused = paused
    if not paused:
        crash(farm, worker)

    while farm.stop is None and farm.now < 200:
        farm.tick(5.0)

    assert isinstance(farm.stop and farm.stop.error, FarmError)
    assert farm.stop is not None
    assert ("memory_threshold_mb" in str(farm.stop.error)) == paused
    assert farm.now <= POLICY.no_worker_seconds + 12


@pytest.mark.parametrize(("reconnecting", "seconds"), [(True, POLICY.no_worker_seconds), (False, 0.0)])
def test_lost_scheduler_stops(reconnecting: bool, seconds: float) -> None:
    farm, _ = started_farm()
    began = farm.now

    while farm.stop is None:
        farm.handle(SchedulerLost("tcp://s", reconnecting=reconnecting))
        farm.now += 0.5

    assert isinstance(farm.stop.error, EnrichError)
    assert farm.now - began == pytest.approx(seconds, abs=1.0)
    assert len([notice for notice in farm.notices if "is lost" in notice]) == 1


def test_fifth_of_workers_killed_together() -> None:
    """Submission goes on at the next tick; lost chunks are submitted again as soon as the cause is known."""
    farm = SimulatedFarm(4_000, 1_000)
    farm.tick()
    farm.tick(1.0)
    assert len(farm.state.active_attempts) == 1_000 * MAX_ATTEMPTS_PER_THREAD

    killed_at, victims = farm.now, list(farm.workers.values())[:200]
    lost = {attempt.chunk_id for worker in victims for attempt in worker.queue}
    running = {worker.queue[0].chunk_id for worker in victims}
    for worker in victims:
        farm.kill(worker)
    assert len(farm.failures) == 200, "the chunks that were queued; the others wait for the nannies' reports"
    free_since: float | None = None
    longest_wait = 0.0
    while farm.now < killed_at + 5.0:
        # Each survivor finishes its chunk now and then: a slot becomes free, and must not stay free.
        for worker in list(farm.workers.values())[int(farm.now * 10) % 30 :: 30]:
            farm.finish(worker)
        free_since = farm.now
        farm.tick(0.1)
        assert len(farm.state.active_attempts) == 800 * MAX_ATTEMPTS_PER_THREAD
        longest_wait = max(longest_wait, farm.now - free_since)

    assert longest_wait <= 0.11
    again = {task.chunk_id: seconds for seconds, task in farm.submitted if task.attempt > 1}
    assert set(again) == lost
    assert max(again.values()) - killed_at <= 2.0
    assert farm.state.failures == {FailureKind.NOT_STARTED: 200, FailureKind.CRASH: 200}
    assert {failure.chunk_id for failure in farm.failures if failure.counted} == running
