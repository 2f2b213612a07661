"""The failure-policy table, row by row: what follows a failure, and whether it is counted."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from enrich_dist.errors import CorruptionError, IndexMismatchError
from enrich_dist.farm.attempts import FailureKind, Marker
from enrich_dist.farm.policy import ChunkHistory, Decision, classify_error, decide, describe_failure
from enrich_dist.remedies import FREE_SPACE
from tests.support.farm_case import POLICY, chunk_task

TASK = chunk_task(7)


def decisions(kind: FailureKind, count: int) -> list[Decision]:
    history = ChunkHistory()
    return [decide(TASK, kind, "why", history, POLICY) for _ in range(count)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("row"), FailureKind.DATA),
        (MemoryError(), FailureKind.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "full"), FailureKind.ENVIRONMENT),
        (OSError(errno.EROFS, "read-only"), FailureKind.ENVIRONMENT),
        (OSError(errno.EIO, "unreadable"), FailureKind.CRASH),
        (OSError("AWS Error"), FailureKind.CRASH),
        (CorruptionError("torn"), FailureKind.CORRUPTION),
        (IndexMismatchError("another index"), FailureKind.CONFIGURATION),
    ],
)
def test_error_is_classified(error: Exception, kind: FailureKind) -> None:
    assert classify_error(error) is kind


@pytest.mark.parametrize("kind", [FailureKind.CRASH, FailureKind.HANG, FailureKind.CORRUPTION])
def test_failures_are_retried_to_limit(kind: FailureKind) -> None:
    made = decisions(kind, 3)

    assert [decision.retry.attempt if decision.retry else None for decision in made] == [2, 3, None]
    assert all(decision.counted for decision in made)


@pytest.mark.parametrize("kind", [FailureKind.NOT_STARTED, FailureKind.SCHEDULER, FailureKind.CONFIGURATION])
def test_uncounted_failures_are_counted_after_twenty(kind: FailureKind) -> None:
    made = decisions(kind, 23)

    assert [decision.counted for decision in made] == [False] * 20 + [True] * 3
    assert [decision.retry is None for decision in made] == [False] * 22 + [True]


def test_out_of_memory_splits_to_floor() -> None:
    history = ChunkHistory()

    first = decide(TASK, FailureKind.OUT_OF_MEMORY, "why", history, POLICY)
    assert first.retry is not None
    second = decide(first.retry, FailureKind.OUT_OF_MEMORY, "why", history, POLICY)

    assert (first.retry.parts, first.counted) == (2, False)
    assert second.retry is None  # 1,000 rows in four parts are fewer than 300 each
    assert "memory_threshold_mb" in second.remedy


def test_same_error_twice_isolates_rows() -> None:
    history = ChunkHistory()

    made = [decide(TASK, FailureKind.DATA, why, history, POLICY) for why in ("row 1", "row 2", "row 2")]

    assert [decision.retry and decision.retry.isolate for decision in made] == [False, False, True]
    assert decide(replace(TASK, isolate=True), FailureKind.DATA, "row 2", history, POLICY).retry is None


def test_full_disk_is_not_retried() -> None:
    [decision] = decisions(FailureKind.ENVIRONMENT, 1)

    assert (decision.retry, decision.remedy) == (None, FREE_SPACE)


def test_retry_after_backup_has_own_number() -> None:
    history = ChunkHistory()
    backup = history.next_attempt()
    retry = decide(TASK, FailureKind.CRASH, "why", history, POLICY).retry

    assert retry is not None
    assert (backup, retry.attempt) == (2, 3)


@pytest.mark.parametrize(
    ("kind", "error", "expected"),
    [
        (FailureKind.SCHEDULER, None, "the connection to the scheduler was lost"),
        (FailureKind.NOT_STARTED, None, "its worker was lost"),
        (FailureKind.CRASH, None, "worker tcp://w (process 3 on host) was lost"),
        (
            FailureKind.OUT_OF_MEMORY,
            None,
            "worker tcp://w (process 3 on host) was lost: it exceeded its memory",
        ),
        (FailureKind.DATA, ValueError("odd row."), "ValueError: odd row"),
    ],
)
def test_failure_is_described(kind: FailureKind, error: Exception | None, expected: str) -> None:
    marker = Marker("key", 1, "tcp://w", "host", 3, 0.0)

    assert describe_failure(kind, error, marker, 600_000_000).startswith(expected)
