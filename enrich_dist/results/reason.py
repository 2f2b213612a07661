"""Explain a decision in one sentence: why the best candidate is accepted, in review or not accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from enrich_dist.matching.config import DecisionConfig
from enrich_dist.results.explanation import Candidate
from enrich_dist.results.lookup import format_place
from enrich_dist.schema import NameLevel

# Organisations with a lower probability are not mentioned as rivals.
_MIN_RIVAL_PROBABILITY = 0.001
_LABELS = {"name": "the name", "place": "the place", "street": "the street", "uei": "the UEI", "duns": "the DUNS"}


def reason_of(
    match: Mapping[str, Any],
    decision: DecisionConfig,
    best: Sequence[Mapping[str, Any]],
    shown: Sequence[Candidate],
    *,
    rejected_count: int,
) -> str:
    """Return one sentence on the decision.

    ``match``: the company's row of ``schema.COMPANY_MATCH``; ``best``: the best row of each organisation, best first;
    ``shown``: the first of them in full.
    """
    if not best:
        if rejected_count:
            return f"unmatched: human review rejected all {rejected_count} candidates"
        return "unmatched: no candidate; no recipient shares an identifier or enough of the name"
    status, probability = match["match_status"], match["match_probability"]
    word = "accepted" if status == "matched" else status
    if best[0]["confirmed"]:
        return f"{word}: human review confirmed this pair"
    consistent = _status_by(decision, probability) == status
    threshold = decision.review_probability if status == "unmatched" else decision.accept_probability
    if status == "matched":
        return f"{word}: probability {_exact_probability(probability)}" + (f" ≥ {threshold:g}" if consistent else "")
    cause = _rivals(best) if shown[0].alone >= threshold else _weakness(shown[0])
    compared = f" < {threshold:g}" if consistent else ""
    return f"{word}: {cause}; best candidate {_exact_probability(probability)}{compared}"


def notes_of(match: Mapping[str, Any], decision: DecisionConfig) -> tuple[str, ...]:
    """Return a note where the current thresholds give another status than the result has."""
    if _status_by(decision, match["match_probability"]) == match["match_status"]:
        return ()
    return (
        f"The result was judged with other thresholds than the current settings (accept_probability "
        f"{decision.accept_probability}, review_probability {decision.review_probability}).",
    )


def format_probability(probability: float) -> str:
    """Format a probability with three decimals, without rounding it to 0 or 1."""
    if 0 < probability < 0.0005:
        return "< 0.001"
    return "> 0.999" if 0.9995 <= probability < 1 else f"{probability:.3f}"


def _exact_probability(probability: float) -> str:
    """Format a probability next to a threshold, with all decimals where three would give 0 or 1."""
    return f"{probability:.3f}" if 0.0005 <= probability < 0.9995 or probability == 1 else f"{probability:.6f}"


def _status_by(decision: DecisionConfig, probability: float | None) -> str:
    if probability is not None and probability >= decision.accept_probability:
        return "matched"
    return "review" if probability is not None and probability >= decision.review_probability else "unmatched"


def _rivals(best: Sequence[Mapping[str, Any]]) -> str:
    """Describe the organisations that share the probability with the best candidate."""
    near = [row for row in best if row["probability"] >= max(_MIN_RIVAL_PROBABILITY, best[0]["probability"] / 4)]
    if len(near) == 1:
        return f"{len(best) - 1} other organisations share the rest of the probability"
    alike = "one name" if all(row["name_level"] == NameLevel.EQUAL for row in near) else "similar names"
    places = {format_place(row["city"], row["state"]).upper() for row in near}
    where = "in different places"
    if len(places) == 1:
        where = "without a known place" if places == {format_place(None, None).upper()} else "in one place"
    return f"{'two' if len(near) == 2 else len(near)} organisations of {alike} {where} share the probability"


def _weakness(candidate: Candidate) -> str:
    """Describe what keeps the odds of a candidate low without rivals."""
    worst = min(candidate.comparisons, key=lambda comparison: comparison.weight)
    if worst.weight < 0:
        return f"{_LABELS[worst.name]} is the strongest evidence against it ({worst.outcome})"
    if sum(comparison.weight != 0 for comparison in candidate.comparisons) == 1:
        return "only the name can be compared, and it is too common"
    return "the agreement is too weak for so many recipients"
