"""What an explanation of a match contains, and the reason for a decision in one sentence.

Filled by ``explain``, displayed by ``reporting.explanation``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.decisions import SAME_PLACE, SIBLING_SHARE, lone_probability
from enrich_dist.matching.shared_words import SharedWords
from enrich_dist.results.lookup import format_place
from enrich_dist.schema import NameKind, NameLevel

HUMAN_REVIEW = "human review"
"""Name of the comparison that stands for a human review decision."""
# Organisations with a lower probability are not mentioned as rivals.
_MIN_RIVAL_PROBABILITY = 0.001
_LABELS = {
    "name": "the name", "sibling": "what distinguishes siblings", "place": "the place", "street": "the street",
    "uei": "the UEI", "duns": "the DUNS",
}  # fmt: skip


@dataclass(frozen=True)
class Recipient:
    """One row of the recipients."""

    recipient_id: str
    source_row: int
    name: str | None
    uei: str | None
    duns: str | None
    street: str | None
    place: str


@dataclass(frozen=True)
class Comparison:
    """One comparison of a pair: outcome in words, weight in bits."""

    name: str
    outcome: str
    weight: float


@dataclass(frozen=True)
class Candidate:
    """A candidate organisation of a company, by its best row.

    ``prior`` + the weights of the ``comparisons`` = ``prior`` + ``match_weight`` = ``total`` (bits).
    ``alone``: probability without rivals, at most ``max_lone_probability``. ``name_bits``: bits of the company's name,
    bits of it that agree, and the maximum for any name. ``unseen_share``: odds of an unseen match per odds of it.
    ``called``: the former name that agrees, with its dates. ``also``: other rows of the same organisation;
    ``published``: the best documented of all.
    """

    recipient: Recipient
    method: str
    prior: float
    comparisons: tuple[Comparison, ...]
    name_kind: str
    words: SharedWords | None
    called: str | None
    name_bits: tuple[float, float, float]
    match_weight: float
    unseen_share: float
    alone: float
    probability: float
    confirmed: bool
    published: Recipient
    also: tuple[Recipient, ...]

    @property
    def max_lone_probability(self) -> float:
        """Return ``alone`` of a pair in which every comparison agrees, or at an address of other names."""
        return lone_probability(math.inf, self.unseen_share)

    @property
    def total(self) -> float:
        """Return the log odds without rivals (bits)."""
        return self.prior + self.match_weight


@dataclass(frozen=True)
class Company:
    """A company of the run; ``places`` are its distinct towns."""

    company_id: int
    key: str
    name: str | None
    names: tuple[str, ...]
    ueis: tuple[str, ...]
    duns: tuple[str, ...]
    places: tuple[str, ...]
    award_count: int


@dataclass(frozen=True)
class Explanation:
    """The decision on a company and its candidates.

    ``candidates``: the best of ``organisations``; ``no_match_probability``: that the partner is none of them or does
    not exist; ``rejected_recipients``: rejected in human review; ``note``: whether other thresholds apply now;
    ``shared_identifiers``: a sentence for each identifier of the company or its candidates that does not count.
    """

    company: Company
    status: str
    method: str | None
    reason: str
    note: str | None
    candidates: tuple[Candidate, ...]
    organisations: int
    no_match_probability: float
    recipients: int
    rejected_recipients: tuple[Recipient, ...]
    shared_identifiers: tuple[str, ...]


@dataclass(frozen=True)
class Appearance:
    """A company that has the recipient as a candidate, and the outcome."""

    company_key: str
    company_name: str | None
    award_count: int
    recipient: Recipient
    match_weight: float
    probability: float | None
    outcome: str


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


def note_of(match: Mapping[str, Any], decision: DecisionConfig) -> str | None:
    """Return a note where the current thresholds give another status than the result has."""
    if _status_by(decision, match["match_probability"]) == match["match_status"]:
        return None
    return (
        f"The result was judged with other thresholds than the current settings (accept_probability "
        f"{decision.accept_probability}, review_probability {decision.review_probability})."
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
    if candidate.method == SAME_PLACE:
        [address] = [comparison for comparison in candidate.comparisons if comparison.name == "address"]
        return f"only the address agrees ({address.outcome})"
    sibling = next((comparison for comparison in candidate.comparisons if comparison.name == "sibling"), None)
    if sibling is not None:
        return f"the names may be those of siblings ({sibling.outcome})"
    if candidate.name_kind == NameKind.PARENT.label:
        return "the name is that of its parent"
    if candidate.unseen_share >= SIBLING_SHARE:
        return "the name is similar only, and the recipient has no place that could confirm it"
    worst = min(candidate.comparisons, key=lambda comparison: comparison.weight)
    if worst.weight < 0:
        return f"{_LABELS[worst.name]} is the strongest evidence against it ({worst.outcome})"
    if sum(comparison.weight != 0 for comparison in candidate.comparisons) == 1:
        return "only the name can be compared, and it is too common"
    return "the agreement is too weak for so many recipients"
