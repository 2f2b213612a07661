"""What a run says it keeps and computes, and why."""

from __future__ import annotations

from pathlib import Path

from enrich_dist.farm.attempts import AttemptLedger, FailedAttempt, FailureKind
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.resume import PlanBasis, explain_resume

BASIS = PlanBasis(chunks="c", index="i", matcher="m")
TASKS = [
    ChunkTask(number, Path("c"), 10, "", Path("i"), "", Path("s"), f"key{number}", Path("l")) for number in range(6)
]


def failed(number: int) -> FailedAttempt:
    return FailedAttempt(
        checkpoint_key=f"key{number}", chunk_id=number, attempt=1, kind=FailureKind.CRASH, counted=True, message="",
        next_step="", traceback="", worker=None, host=None, pid=None, memory_bytes=None, failed_seconds=0.0,
    )  # fmt: skip


def test_the_first_run_has_nothing_to_explain(tmp_path: Path) -> None:
    assert explain_resume(TASKS, [], 0, BASIS, None, AttemptLedger(tmp_path)) == []


def test_an_interrupted_run_says_what_it_goes_on_with(tmp_path: Path) -> None:
    ledger = AttemptLedger(tmp_path)
    ledger.add(failed(2))
    with ledger.attempt("key3", 1, "worker"):
        told = explain_resume(TASKS, ["key0", "key1"], 1, BASIS, BASIS.document(), ledger)

    assert told == [
        "2 of 6 chunks have a valid checkpoint and are kept.",
        "4 chunks are computed: 1 under way when the run before ended, 1 failed before, 1 with a checkpoint that is "
        "not valid, 1 not begun yet.",
    ]


def test_a_changed_input_is_named(tmp_path: Path) -> None:
    before = {**BASIS.document(), "index": "another", "matcher": "another"}

    told = explain_resume(TASKS, [], 0, BASIS, before, AttemptLedger(tmp_path))

    assert told == [
        "6 chunks are computed, as the awards, their columns or the index format and the settings of candidate "
        "generation or the engine changed since the run before."
    ]


def test_a_finished_run_says_that_all_is_kept(tmp_path: Path) -> None:
    keys = [task.checkpoint_key for task in TASKS]

    told = explain_resume(TASKS, keys, 0, BASIS, BASIS.document(), AttemptLedger(tmp_path))

    assert told == ["6 of 6 chunks have a valid checkpoint and are kept."]
