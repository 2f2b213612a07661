"""From match weights to probabilities: which of a company's candidates is its organisation, if any.

A company has one partner among the recipients or none. With ``w`` the weight of a candidate organisation (bits), ``N``
recipients and ``r`` the share of companies that have a partner at all, the odds of one candidate against "none" are
``r / (1 - r) / N * 2**w``; its probability is its odds over one plus the odds of all of the company's candidates. So
equal names in different places share the probability among them, and a company with nothing but weak candidates has
probably no partner. ``r`` is estimated from the run by expectation maximisation (Dempster, Laird and Rubin 1977).
However well names and places agree, the partner may be registered under a name that nothing tells (the firm was
bought, and its old registration still stands in the list): to the odds of all candidates ``UNSEEN_PARTNER_SHARE`` of
those is added that no identifier holds.

Covers methods, probabilities and thresholds. Does not cover how the candidates are read and ranked (``reduce``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from enrich_dist.schema import MIN_SAME_STATE, Agreement, NameLevel

# In the order of the cascade: the first that applies names the method of a pair.
METHODS = ("review", "uei", "duns", "exact_name_place", "fuzzy_name_place", "exact_name", "fuzzy_name")

START_PARTNER_SHARE = 0.5
MIN_PARTNER_SHARE, MAX_PARTNER_SHARE = 0.02, 0.98
_ROUNDS = 50

# Of companies whose best candidate could not agree better, those whose partner is another one all the same: 3 of 105
# labelled ones (later owners), 1 in 100 planted ones. Between the two, and chosen among five by the calibration error
# on the labelled companies, which is therefore no independent test of it (docs/explanation/matching.md).
UNSEEN_PARTNER_SHARE = 0.015
IDENTIFIED_METHODS = ("review", "uei", "duns")

# A decision of a person outweighs all else.
CONFIRMED_BITS = 500.0

Floats = npt.NDArray[np.float64]


def partner_share(odds: Floats) -> float:
    """Share of companies that have a partner, by expectation maximisation.

    ``odds``: float64 per company, ``sum(2**w) / N`` over its candidate organisations, 0 for a company without any.
    """
    share = START_PARTNER_SHARE
    if not len(odds):
        return share
    for _ in range(_ROUNDS):
        with_partner = share * odds
        share = float(np.mean(with_partner / (with_partner + 1 - share)))
        share = min(max(share, MIN_PARTNER_SHARE), MAX_PARTNER_SHARE)
    return round(share, 6)


def prior_odds(share: float, recipients: int) -> float:
    """Odds of one recipient being the partner of a company, before anything is compared."""
    return share / (1 - share) / recipients


def lone_probability(bits: float, method: str) -> float:
    """Probability of a candidate with so many bits, the prior ones included, were it the only one.

    ``method``: one of ``METHODS``.
    """
    unseen = 0.0 if method in IDENTIFIED_METHODS else UNSEEN_PARTNER_SHARE
    return float(1.0 / (1.0 + unseen + np.exp2(-bits)))


def method_sql() -> str:
    """SQL expression over the columns of ``schema.COMPARISON`` and ``confirmed`` for the method of a pair: one of
    ``METHODS``."""
    return (
        "CASE WHEN confirmed THEN 'review'"
        f" WHEN uei_agreement = {Agreement.AGREE} THEN 'uei'"
        f" WHEN duns_agreement = {Agreement.AGREE} THEN 'duns'"
        f" WHEN name_level = {NameLevel.EQUAL} AND place_level >= {MIN_SAME_STATE} THEN 'exact_name_place'"
        f" WHEN name_level = {NameLevel.EQUAL} THEN 'exact_name'"
        f" WHEN place_level >= {MIN_SAME_STATE} THEN 'fuzzy_name_place'"
        " ELSE 'fuzzy_name' END"
    )
