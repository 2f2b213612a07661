"""What a run finds done and what it has to do, told before it starts: which chunks, and why these.

Covers the comparison with the plan of the run before and with what its attempts left. Decides nothing: whether a chunk
is done is the checkpoint store's word alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from enrich_dist.farm.attempts import AttemptLedger
from enrich_dist.farm.chunk_task import ChunkTask

_TOLD = {
    "chunks": "the recipients, their columns or chunk_size",
    "index": "the awards, their columns or the index format",
    "matcher": "the settings of candidate generation or the engine",
}


@dataclass(frozen=True)
class PlanBasis:
    """What all checkpoint keys of a plan depend on, each as a digest or a text that changes with it."""

    chunks: str
    index: str
    matcher: str

    def document(self) -> dict[str, str]:
        """For the file of the plan."""
        return asdict(self)

    def changes(self, before: Mapping[str, Any]) -> list[str]:
        """What is no longer as it was, in words."""
        return [_TOLD[name] for name, value in self.document().items() if before.get(name) != value]


def explain_resume(
    tasks: Sequence[ChunkTask],
    finished: Collection[str],
    damaged: int,
    basis: PlanBasis,
    before: Mapping[str, Any] | None,
    ledger: AttemptLedger,
) -> list[str]:
    """Sentences on what is kept, what is computed and why.

    ``finished``: keys with a valid checkpoint; ``damaged``: chunks whose checkpoint is there but not valid; ``before``:
    the basis of the run before, None where there was none.
    """
    waiting = {task.checkpoint_key for task in tasks} - set(finished)
    told = []
    if len(waiting) < len(tasks):
        told.append(f"{len(tasks) - len(waiting)} of {len(tasks)} chunks have a valid checkpoint and are kept.")
    if before is None or not waiting:
        return told
    changes = basis.changes(before)
    if changes:
        told.append(f"{len(waiting)} chunks are computed, as {' and '.join(changes)} changed since the run before.")
        return told
    begun = {marker.checkpoint_key for marker in ledger.markers()} & waiting
    failed = {failure.checkpoint_key for failure in ledger.failures()} & waiting - begun
    reasons = [
        (len(begun), "under way when the run before ended"),
        (len(failed), "failed before"),
        (damaged, "with a checkpoint that is not valid"),
        (len(waiting) - len(begun) - len(failed) - damaged, "not begun yet"),
    ]
    listed = ", ".join(f"{count} {reason}" for count, reason in reasons if count > 0)
    told.append(f"{len(waiting)} chunks are computed: {listed}.")
    return told
