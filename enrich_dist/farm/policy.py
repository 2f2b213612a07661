"""What follows a failed attempt: the failure policy's second half, as a function of what is known of the chunk.

Covers whether the chunk is tried again, how, and whether that costs one of its tries. Does not tell failures apart
(``failures``) and does nothing (``driver``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from enrich_dist.farm.attempts import FailureKind
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.remedies import FREE_SPACE, RESUME

_GIVEN_UP = "It is given up; chunks in flight are waited for."
# What a chunk is not to blame for costs it nothing, so often: that it never ends would be worse.
_MAX_UNCOUNTED = 20
_BLAMELESS = {
    FailureKind.NOT_STARTED: "It had not begun, and is tried again at no cost.",
    FailureKind.SCHEDULER: "It is computed again, unless its worker finished it.",
    FailureKind.CONFIGURATION: "It goes to another worker at no cost.",
}


@dataclass(frozen=True)
class FarmPolicy:
    """How long and how often the farm tries. ``straggler_factor`` is 0 where no chunk is computed twice."""

    timeout_seconds: float
    max_attempts: int
    min_part_rows: int
    """A chunk is not cut into parts of fewer rows."""
    no_worker_seconds: float
    """Time without any worker that takes work, or without the scheduler, after which the run stops."""
    heartbeat_timeout_seconds: float
    """Time without a sign of life after which a worker is restarted."""
    straggler_factor: float
    """A chunk that takes so many times the usual time is given to an idle worker, too."""
    straggler_min_seconds: float


@dataclass
class ChunkHistory:
    """What became of a chunk so far."""

    attempts: int = 1
    tries: int = 0
    blameless: int = 0
    last_error: str | None = None

    def next_attempt(self) -> int:
        """A number that no attempt at the chunk had yet."""
        self.attempts += 1
        return self.attempts


@dataclass(frozen=True)
class Decision:
    """What follows a failure. ``following``: the next attempt, None where the chunk is given up."""

    next_step: str
    following: ChunkTask | None
    counted: bool = True
    remedy: str = RESUME


def decide(task: ChunkTask, kind: FailureKind, why: str, story: ChunkHistory, policy: FarmPolicy) -> Decision:
    """What follows the failure of ``task``; ``why``: what it says of itself. Changes the story."""
    decision = _decide(task, kind, why, story, policy)
    story.tries += decision.counted
    story.blameless += kind in _BLAMELESS
    if kind is FailureKind.DATA:
        story.last_error = why
    if decision.following is None:
        return decision
    return replace(decision, following=replace(decision.following, attempt=story.next_attempt()))


def _decide(task: ChunkTask, kind: FailureKind, why: str, story: ChunkHistory, policy: FarmPolicy) -> Decision:
    match kind:
        case _ if kind in _BLAMELESS and story.blameless < _MAX_UNCOUNTED:
            return Decision(_BLAMELESS[kind], task, counted=False)
        case FailureKind.OUT_OF_MEMORY:
            remedy = f"Raise memory_threshold_mb. {RESUME}"
            parts = 2 * task.parts
            if min(task.chunk_rows, task.batch_rows) < parts * policy.min_part_rows:
                return Decision(_GIVEN_UP, None, counted=False, remedy=remedy)
            return Decision(f"It is matched in {parts} parts.", replace(task, parts=parts), counted=False)
        case FailureKind.ENVIRONMENT:
            remedy = FREE_SPACE
            return Decision("The run stops.", None, remedy=remedy)
        case FailureKind.DATA if task.isolate:  # not a matter of single rows
            return Decision(_GIVEN_UP, None)
        case FailureKind.DATA if story.last_error == why:
            next_step = "The same error came again: the rows that raise it are looked for and set aside."
            return Decision(next_step, replace(task, isolate=True))
    if story.tries + 1 < policy.max_attempts:
        return Decision("It is tried again.", task)
    return Decision(_GIVEN_UP, None)
