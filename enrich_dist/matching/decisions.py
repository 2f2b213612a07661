"""Match probabilities from match weights.

A company has one match among the recipients, or none. With ``w`` the weight of a candidate organisation (bits), ``N``
recipients and ``r`` the share of companies that have a match, the prior odds times the Bayes factor of a candidate are
``r / (1 - r) / N * 2**w``. Its probability is these odds over one plus the odds of all candidates of the company. ``r``
is estimated by expectation maximisation (Dempster, Laird and Rubin 1977). The match can also be registered under an
unrelated name (a firm that was bought, whose old registration is still listed): ``UNSEEN_PARTNER_SHARE`` of the odds of
candidates without an equal identifier is added for that case.

Does not cover reading and ranking candidates (``results.reduce``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from enrich_dist.schema import MIN_SAME_STATE, Agreement, NameLevel

# The first that applies is the method of a pair.
METHODS = ("review", "uei", "duns", "exact_name_place", "fuzzy_name_place", "exact_name", "fuzzy_name")

START_PARTNER_SHARE = 0.5
MIN_PARTNER_SHARE, MAX_PARTNER_SHARE = 0.02, 0.98
_ROUNDS = 50

# Share of companies with a perfect candidate whose match is another organisation: 3 of 105 labelled companies, 1 in 100
# generated ones. Chosen among five values by the calibration error on the labelled companies, which is therefore no
# independent test of it (docs/explanation/matching.md).
UNSEEN_PARTNER_SHARE = 0.015
IDENTIFIED_METHODS = ("review", "uei", "duns")

# A human decision outweighs all else.
CONFIRMED_BITS = 500.0

Floats = npt.NDArray[np.float64]


def partner_share(odds: Floats) -> float:
    """Estimate the share of companies that have a match, by expectation maximisation.

    ``odds``: float64 per company, ``sum(2**w) / N`` over its candidate organisations, 0 without candidates.
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
    """Return the prior odds that a recipient is the match of a company."""
    return share / (1 - share) / recipients


def lone_probability(bits: float, method: str) -> float:
    """Return the probability of a candidate without rivals.

    ``bits``: match weight including the prior; ``method``: one of ``METHODS``.
    """
    unseen = 0.0 if method in IDENTIFIED_METHODS else UNSEEN_PARTNER_SHARE
    return float(1.0 / (1.0 + unseen + np.exp2(-bits)))


def method_sql() -> str:
    """Return a SQL expression for the method of a pair, over ``schema.COMPARISON`` and ``confirmed``."""
    return (
        "CASE WHEN confirmed THEN 'review'"
        f" WHEN uei_agreement = {Agreement.AGREE} THEN 'uei'"
        f" WHEN duns_agreement = {Agreement.AGREE} THEN 'duns'"
        f" WHEN name_level = {NameLevel.EQUAL} AND place_level >= {MIN_SAME_STATE} THEN 'exact_name_place'"
        f" WHEN name_level = {NameLevel.EQUAL} THEN 'exact_name'"
        f" WHEN place_level >= {MIN_SAME_STATE} THEN 'fuzzy_name_place'"
        " ELSE 'fuzzy_name' END"
    )
