"""Explain, before a farm starts, which chunks are kept, which are computed, and why.

Compares the plan and the attempts of the previous run. Decides nothing: a chunk is done if the checkpoint store has a
valid checkpoint under its key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from enrich_dist.farm.attempts import AttemptLedger
from enrich_dist.farm.chunk_task import ChunkTask

_CAUSES = {
    "chunks": "the recipients, their columns or chunk_size",
    "index": "the awards, their columns or the index format",
    "matcher": "the settings of candidate generation or the engine",
}


def explain_resume(
    tasks: Sequence[ChunkTask],
    finished: Collection[str],
    damaged: int,
    basis: Mapping[str, str],
    before: Mapping[str, Any] | None,
    ledger: AttemptLedger,
) -> list[str]:
    """Return sentences on what is kept, what is computed, and why.

    ``finished``: keys with a valid checkpoint; ``damaged``: number of chunks whose checkpoint is not valid; ``basis``:
    what all checkpoint keys depend on, each as a digest (``_CAUSES``); ``before``: that of the previous run, if any.
    """
    waiting = {task.checkpoint_key for task in tasks} - set(finished)
    messages = []
    if len(waiting) < len(tasks):
        messages.append(f"{len(tasks) - len(waiting)} of {len(tasks)} chunks have a valid checkpoint and are kept.")
    if before is None or not waiting:
        return messages
    if changes := [cause for name, cause in _CAUSES.items() if before.get(name) != basis[name]]:
        messages.append(
            f"{len(waiting)} chunks are computed because {' and '.join(changes)} changed since the previous run."
        )
        return messages
    started = {marker.checkpoint_key for marker in ledger.markers()} & waiting
    failed = {failure.checkpoint_key for failure in ledger.failures()} & waiting - started
    reasons = [
        (len(started), "active when the previous run ended"),
        (len(failed), "failed before"),
        (damaged, "with an invalid checkpoint"),
        (len(waiting) - len(started) - len(failed) - damaged, "not started"),
    ]
    listed = ", ".join(f"{count} {reason}" for count, reason in reasons if count > 0)
    messages.append(f"{len(waiting)} chunks are computed: {listed}.")
    return messages
