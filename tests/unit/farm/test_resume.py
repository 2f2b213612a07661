"""What a run reports that it keeps and computes, and why."""

from __future__ import annotations

from pathlib import Path

from enrich_dist.farm.attempts import AttemptLedger, FailedAttempt, FailureKind
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.resume import explain_resume

BASIS = {"chunks": "c", "index": "i", "matcher": "m"}
TASKS = [
    ChunkTask(number, Path("c"), 10, "", Path("i"), "", Path("s"), f"key{number}", Path("l")) for number in range(6)
]


def failed(number: int) -> FailedAttempt:
    return FailedAttempt(
        checkpoint_key=f"key{number}", chunk_id=number, attempt=1, kind=FailureKind.CRASH, counted=True, message="",
        next_step="", traceback="", marker=None, memory_bytes=None, failed_seconds=0.0,
    )  # fmt: skip


def test_first_run_explains_nothing(tmp_path: Path) -> None:
    assert explain_resume(TASKS, [], 0, BASIS, None, AttemptLedger(tmp_path)) == []


def test_interrupted_run_explains_its_chunks(tmp_path: Path) -> None:
    ledger = AttemptLedger(tmp_path)
    ledger.add(failed(2))
    with ledger.attempt("key3", 1, "worker"):
        messages = explain_resume(TASKS, ["key0", "key1"], 1, BASIS, BASIS, ledger)

    assert messages == [
        "2 of 6 chunks have a valid checkpoint and are kept.",
        "4 chunks are computed: 1 active when the previous run ended, 1 failed before, 1 with an invalid checkpoint, "
        "1 not started.",
    ]


def test_changed_input_is_named(tmp_path: Path) -> None:
    before = {**BASIS, "index": "another", "matcher": "another"}

    messages = explain_resume(TASKS, [], 0, BASIS, before, AttemptLedger(tmp_path))

    assert messages == [
        "6 chunks are computed because the awards, their columns or the index format and the settings of candidate "
        "generation or the engine changed since the previous run."
    ]


def test_finished_run_keeps_all(tmp_path: Path) -> None:
    keys = [task.checkpoint_key for task in TASKS]

    messages = explain_resume(TASKS, keys, 0, BASIS, BASIS, AttemptLedger(tmp_path))

    assert messages == ["6 of 6 chunks have a valid checkpoint and are kept."]
