"""What an explanation of a match contains. Filled by ``explain``, displayed by ``reporting.explanation``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from enrich_dist.matching.decisions import lone_probability
from enrich_dist.matching.shared_words import SharedWords

HUMAN_REVIEW = "human review"
"""Name of the comparison that stands for a human review decision."""


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
    bits of it that agree, and the maximum for any name. ``also``: other rows of the same organisation.
    """

    recipient: Recipient
    method: str
    prior: float
    comparisons: tuple[Comparison, ...]
    name_kind: str
    words: SharedWords | None
    name_bits: tuple[float, float, float]
    match_weight: float
    alone: float
    probability: float
    confirmed: bool
    also: tuple[Recipient, ...]

    @property
    def max_lone_probability(self) -> float:
        """Return ``alone`` of a pair in which every comparison agrees."""
        return lone_probability(math.inf, self.method)

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
    not exist; ``rejected_recipients``: rejected in human review; ``notes``: what else the reader should know.
    """

    company: Company
    status: str
    method: str | None
    reason: str
    notes: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    organisations: int
    shown_probability: float
    no_match_probability: float
    recipients: int
    rejected_recipients: tuple[Recipient, ...]


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
