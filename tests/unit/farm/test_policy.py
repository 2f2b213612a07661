"""The failure policy case by case: what follows, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from enrich_dist.farm.attempts import FailureKind
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.policy import ChunkHistory, FarmPolicy, decide
from enrich_dist.remedies import FREE_SPACE

TASK = ChunkTask(7, Path("c"), 1_000, "", Path("i"), "", Path("s"), "key", Path("l"))
POLICY = FarmPolicy(
    timeout_seconds=60,
    max_attempts=3,
    min_part_rows=300,
    no_worker_seconds=60,
    heartbeat_timeout_seconds=60,
    straggler_factor=3,
    straggler_min_seconds=10,
)


@pytest.mark.parametrize("kind", [FailureKind.CRASH, FailureKind.HANG, FailureKind.CORRUPTION])
def test_a_counted_failure_is_tried_again_until_the_tries_are_used_up(kind: FailureKind) -> None:
    story = ChunkHistory()

    decisions = [decide(TASK, kind, "why", story, POLICY) for _ in range(3)]

    assert [d.following.attempt if d.following else None for d in decisions] == [2, 3, None]
    assert all(decision.counted for decision in decisions)


@pytest.mark.parametrize("kind", [FailureKind.NOT_STARTED, FailureKind.SCHEDULER, FailureKind.CONFIGURATION])
def test_what_the_chunk_is_not_to_blame_for_costs_nothing(kind: FailureKind) -> None:
    story = ChunkHistory()

    decisions = [decide(TASK, kind, "why", story, POLICY) for _ in range(10)]

    assert all(decision.following and not decision.counted for decision in decisions)
    assert story.tries == 0


@pytest.mark.parametrize("kind", [FailureKind.NOT_STARTED, FailureKind.SCHEDULER, FailureKind.CONFIGURATION])
def test_what_never_ends_is_counted_in_the_end(kind: FailureKind) -> None:
    story = ChunkHistory()
    decisions = [decide(TASK, kind, "why", story, POLICY) for _ in range(23)]

    assert [decision.counted for decision in decisions] == [False] * 20 + [True] * 3
    assert decisions[-1].following is None


def test_too_much_memory_doubles_the_parts_down_to_the_floor() -> None:
    story = ChunkHistory()

    first = decide(TASK, FailureKind.OUT_OF_MEMORY, "why", story, POLICY)
    assert first.following is not None
    second = decide(first.following, FailureKind.OUT_OF_MEMORY, "why", story, POLICY)

    assert (first.following.parts, first.counted) == (2, False)
    assert second.following is None  # 1,000 rows in four parts are fewer than 300 each
    assert "Raise memory_threshold_mb" in second.remedy


def test_the_same_error_twice_isolates_and_another_does_not() -> None:
    story = ChunkHistory()

    first = decide(TASK, FailureKind.DATA, "row 1", story, POLICY)
    other = decide(TASK, FailureKind.DATA, "row 2", story, POLICY)
    assert first.following is not None
    assert other.following is not None
    assert (first.following.isolate, other.following.isolate) == (False, False)

    same = decide(TASK, FailureKind.DATA, "row 2", story, POLICY)
    assert same.following is not None
    assert same.following.isolate
    assert decide(replace(TASK, isolate=True), FailureKind.DATA, "row 2", story, POLICY).following is None


def test_a_full_disk_is_not_tried_again() -> None:
    decision = decide(TASK, FailureKind.ENVIRONMENT, "no space", ChunkHistory(), POLICY)

    assert decision.following is None
    assert decision.remedy == FREE_SPACE


def test_attempts_have_numbers_of_their_own_also_beside_a_double() -> None:
    story = ChunkHistory()
    double = story.next_attempt()
    after = decide(TASK, FailureKind.CRASH, "why", story, POLICY).following

    assert after is not None
    assert (double, after.attempt) == (2, 3)
