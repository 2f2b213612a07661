"""Run outcomes for tests of notifications."""

from __future__ import annotations

from enrich_dist.monitoring.incidents import Incident, IncidentKind, RunOutcome

BLOCKED = Incident(IncidentKind.BLOCKED, "match_rate", "match rate 51.3%, threshold 70.0%")
FAILED = Incident(IncidentKind.FAILED, "chunk_matches", "no worker is available", error="FarmError")
CHECKS = frozenset({"match_rate", "run_seconds"})
STEPS = frozenset({"chunk_matches", "enriched_awards", "published_awards"})


def outcome(
    *incidents: Incident,
    at: float = 1.0,
    passed: frozenset[str] = frozenset(),
    done: frozenset[str] = frozenset(),
    run_id: str | None = "run-1",
) -> RunOutcome:
    """Return the outcome of a run that ended at ``at`` seconds."""
    return RunOutcome(run_id, at, incidents, passed, done)


def blocked(at: float) -> RunOutcome:
    """Return the outcome of a blocked run."""
    return outcome(BLOCKED, at=at, done=STEPS - {"published_awards"})


def good(at: float) -> RunOutcome:
    """Return the outcome of a run that was published."""
    return outcome(at=at, passed=CHECKS, done=STEPS)


BLOCKED_OUTCOME, GOOD_OUTCOME, FAILED_OUTCOME = blocked(1.0), good(1.0), outcome(FAILED)
