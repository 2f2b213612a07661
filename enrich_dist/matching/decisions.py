"""Match probabilities from match weights.

A company has one match among the recipients, or none. With ``w`` the weight of a candidate organisation (bits), ``N``
recipients and ``r`` the share of companies that have a match, the prior odds times the Bayes factor of a candidate are
``r / (1 - r) / N * 2**w``. Its probability is these odds over one plus the odds of all candidates of the company. ``r``
is estimated by expectation maximisation (Dempster, Laird and Rubin 1977). The match can also be registered under an
unrelated name (a firm that was bought, whose old registration is still listed): ``UNSEEN_PARTNER_SHARE`` of the odds of
candidates without an equal identifier is added for that case, ``SIBLING_SHARE`` where the names are those of siblings,
``PARENT_SHARE`` where the name is the parent's. The former also where only a similar name is known of a recipient.

A candidate of another name at the company's address (method ``same_place``) is not weighed: the weights assume that
comparisons are independent, and neighbours are not. It gets ``ADDRESS_SHARE`` of the probability that no candidate by
name or identifier is the match, divided by the names at this address.

Does not cover reading and ranking candidates (``results.reduce``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from enrich_dist.matching.config import CandidateConfig
from enrich_dist.schema import MIN_SAME_STATE, AddressLevel, Agreement, NameKind, NameLevel, SiblingLevel

SAME_PLACE = "same_place"
# The first that applies is the method of a pair.
METHODS = ("review", "uei", "duns", "exact_name_place", "fuzzy_name_place", "exact_name", "fuzzy_name", SAME_PLACE)

START_PARTNER_SHARE = 0.5
# In a table of sites every name has a namesake, which is taken for the match, and the estimate runs to its maximum.
# Chosen among 0.6, 0.7, 0.8 and 0.98 on the development sets of sites and families, with true shares of 0.76: lower
# values are better there, but cost more than a bit where nearly every company has a match.
MIN_PARTNER_SHARE, MAX_PARTNER_SHARE = 0.02, 0.8
_ROUNDS = 50

# Share of companies with a perfect candidate whose match is another organisation: 3 of 105 labelled companies, 1 in 100
# generated ones. Chosen among five values by the calibration error on the labelled companies, which is therefore no
# independent test of it (docs/explanation/matching.md).
UNSEEN_PARTNER_SHARE = 0.01
IDENTIFIED_METHODS = ("review", "uei", "duns")
# The same for a candidate whose name differs in a word that distinguishes siblings: however well the rest agrees, it is
# more likely the sibling than the company itself, so its probability is at most 1 / (1 + 1.5) = 0.4 and it is reviewed.
# Likewise for a similar name, of which nothing is known but the name, where partners have places.
SIBLING_SHARE = 1.5

# The same for the name of a recipient's parent, which has other subsidiaries and is rarely the recipient. Argued:
# such a pair is reviewed, however well the place agrees.
PARENT_SHARE = 1.5

# Share of the companies without another candidate whose match is the recipient of another name at their address, by
# ``AddressLevel``: 8 of 24 at the same house number and suite, 3 of 25 where one suite is missing. Data: all such pairs
# of the bundled sample, judged by hand (docs/explanation/matching.md).
ADDRESS_SHARE = (0.0, 0.1, 0.3)
# Share of the true pairs with a conflict of identifiers, at most (``weights.DEFAULT_DUNS_M``).
CONFLICT_SHARE = 0.1
# A name below this overlap of words is no evidence: the default of the setting, which decisions do not know.
NO_OVERLAP = CandidateConfig().min_name_overlap

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


def lone_probability(bits: float, unseen_share: float) -> float:
    """Return the probability of a candidate without rivals.

    ``bits``: match weight including the prior; ``unseen_share``: see ``unseen_share_sql``.
    """
    return float(1.0 / (1.0 + unseen_share + np.exp2(-bits)))


def address_share_sql() -> str:
    """Return a SQL expression for the probability of a pair by its address alone, over ``schema.COMPARISON`` and
    ``address_names`` (of recipients); null at different addresses."""
    shares = "[" + ", ".join(map(str, ADDRESS_SHARE)) + "]"
    conflict = f"least(uei_agreement, duns_agreement) = {Agreement.CONFLICT}"
    return (
        f"CAST({shares}[address_level + 1] / (address_names * address_companies)"
        f" * CASE WHEN {conflict} THEN {CONFLICT_SHARE} ELSE 1 END AS DOUBLE)"
    )


def unseen_share_sql() -> str:
    """Return a SQL expression for the odds of an unseen match per odds of a pair, over ``sibling_level``,
    ``name_kind``, ``only_similar_name`` (``weight_sql.limit_sql``), ``match_method`` and ``address_share``."""
    return (
        f"CAST(CASE WHEN match_method IN {IDENTIFIED_METHODS} THEN 0"
        f" WHEN match_method = '{SAME_PLACE}' THEN 1 / address_share - 1"
        f" WHEN sibling_level <> {SiblingLevel.NONE} OR only_similar_name THEN {SIBLING_SHARE}"
        f" WHEN name_kind = {NameKind.PARENT} THEN {PARENT_SHARE} ELSE {UNSEEN_PARTNER_SHARE} END AS DOUBLE)"
    )


def method_sql() -> str:
    """Return a SQL expression for the method of a pair, over ``schema.COMPARISON`` and ``confirmed``."""
    return (
        "CASE WHEN confirmed THEN 'review'"
        f" WHEN uei_agreement = {Agreement.AGREE} THEN 'uei'"
        f" WHEN duns_agreement = {Agreement.AGREE} THEN 'duns'"
        f" WHEN address_level > {AddressLevel.DIFFERENT} AND (name_level = {NameLevel.NOTHING_IN_COMMON}"
        f" OR name_level < {NameLevel.CONTAINED} AND name_similarity < {NO_OVERLAP}) THEN '{SAME_PLACE}'"
        f" WHEN name_level = {NameLevel.EQUAL} AND place_level >= {MIN_SAME_STATE} THEN 'exact_name_place'"
        f" WHEN name_level = {NameLevel.EQUAL} THEN 'exact_name'"
        f" WHEN place_level >= {MIN_SAME_STATE} THEN 'fuzzy_name_place'"
        " ELSE 'fuzzy_name' END"
    )
