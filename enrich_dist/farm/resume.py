"""Explain, before a farm starts, which chunks are kept, which are computed, and why.

Compares the plan and the attempts of the previous run. Decides nothing: a chunk is done if the checkpoint store has a
valid checkpoint under its key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from enrich_dist.farm.attempts import AttemptLedger
from enrich_dist.farm.chunk_task import ChunkTask

_CAUSES = {
    "chunks": "the recipients, their columns or chunk_size",
    "index": "the awards, their columns or the index format",
    "matcher": "the settings of candidate generation or the engine",
}


@dataclass(frozen=True)
class PlanBasis:
    """What all checkpoint keys of a plan depend on, each as a digest or a version."""

    chunks: str
    index: str
    matcher: str

    def document(self) -> dict[str, str]:
        """Return the basis for the plan's file."""
        return asdict(self)

    def changes(self, before: Mapping[str, Any]) -> list[str]:
        """Return what has changed, in words."""
        return [_CAUSES[name] for name, value in self.document().items() if before.get(name) != value]


def explain_resume(
    tasks: Sequence[ChunkTask],
    finished: Collection[str],
    damaged: int,
    basis: PlanBasis,
    before: Mapping[str, Any] | None,
    ledger: AttemptLedger,
) -> list[str]:
    """Return sentences on what is kept, what is computed, and why.

    ``finished``: keys with a valid checkpoint; ``damaged``: number of chunks whose checkpoint is not valid; ``before``:
    the basis of the previous run, None if there is none.
    """
    waiting = {task.checkpoint_key for task in tasks} - set(finished)
    messages = []
    if len(waiting) < len(tasks):
        messages.append(f"{len(tasks) - len(waiting)} of {len(tasks)} chunks have a valid checkpoint and are kept.")
    if before is None or not waiting:
        return messages
    changes = basis.changes(before)
    if changes:
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
