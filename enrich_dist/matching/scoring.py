"""Decisions on stored comparison vectors: method, score and thresholds, as SQL for the reduce.

Covers what a comparison vector (``schema.COMPARISON``) is worth. Does not cover how vectors come about
(``compare``), nor the choice among the candidates of a company (``reduce``). Nothing here touches a chunk: the
constants below can be tuned on stored candidates.

Every constant of the score:

    uei                  1.00  equal UEI                                0.99 if the names are utterly different
    duns                 0.98  equal DUNS                               0.975 if the names are utterly different
    exact_name_place     0.975 equal name, city and ZIP agree
                         0.97  equal name, city or ZIP agrees
                         0.94  equal name, state agrees                 0.92 if the city conflicts
    exact_name           0.85  equal name, place unknown on a side      0.75 if the place conflicts
    fuzzy_name_place     from 0.90 at the bar to the cap at similarity 1; below it 0.8999 * similarity / bar
                           bar 0.85, cap 0.96   street agrees, and city or ZIP; below the bar
                                                0.8999 * (0.4 + 0.6 * similarity / bar): worth a person's look
                           bar 0.93, cap 0.95   city or ZIP agrees
                           bar 0.97, cap 0.92   state agrees, city does not conflict (joined words, or nearly)
                           none: 0.85 * similarity   state agrees, city conflicts
    fuzzy_name           0.85 * similarity, place unknown on a side     0.75 * similarity if the place conflicts

    utterly different    name similarity below 0.30
    street agrees        street similarity of at least 0.90
    UEI conflict         a score not by UEI is at most 0.85: never accepted, as a UEI names one registration
    DUNS conflict        a score by name falls by 0.02: a firm has a DUNS per site, but usually one
"""

from __future__ import annotations

from dataclasses import dataclass

from enrich_dist.errors import SettingsError

# In the order of the cascade: the first that applies names the method of a pair.
METHODS = ("uei", "duns", "exact_name_place", "fuzzy_name_place", "exact_name", "fuzzy_name")

UEI_SCORE, UEI_OTHER_NAME_SCORE = 1.0, 0.99
DUNS_SCORE, DUNS_OTHER_NAME_SCORE = 0.98, 0.975
EXACT_CITY_AND_ZIP_SCORE, EXACT_CITY_OR_ZIP_SCORE = 0.975, 0.97
EXACT_STATE_SCORE, EXACT_OTHER_CITY_SCORE = 0.94, 0.92
EXACT_PLACE_UNKNOWN_SCORE, EXACT_PLACE_CONFLICT_SCORE = 0.85, 0.75
FUZZY_STREET_BAR, FUZZY_STREET_CAP = 0.85, 0.96
FUZZY_CITY_BAR, FUZZY_CITY_CAP = 0.93, 0.95
FUZZY_STATE_BAR, FUZZY_STATE_CAP = 0.97, 0.92
FUZZY_AT_BAR, FUZZY_UNDER_BAR = 0.90, 0.8999
FUZZY_STREET_BASE = 0.4
FUZZY_OTHER_CITY_FACTOR = 0.85
FUZZY_PLACE_UNKNOWN_FACTOR, FUZZY_PLACE_CONFLICT_FACTOR = 0.85, 0.75
OTHER_NAME_SIMILARITY = 0.30
STREET_AGREES = 0.90
UEI_CONFLICT_CAP = 0.85
DUNS_CONFLICT_PENALTY = 0.02


@dataclass(frozen=True)
class DecisionConfig:
    """Thresholds on the score.

    ``accept_score``: least score of a match. ``review_score``: least score of a candidate shown to a person.
    ``min_margin``: least lead of a match over the company's next candidate; a smaller one sends it to review.
    """

    accept_score: float = 0.90
    review_score: float = 0.70
    min_margin: float = 0.02

    def __post_init__(self) -> None:
        """Refuse what no run can mean."""
        if not 0 < self.accept_score <= 1:
            raise SettingsError(f"accept_score is {self.accept_score}.", remedy="Choose a number above 0 and up to 1.")
        if not 0 <= self.review_score <= self.accept_score:
            raise SettingsError(
                f"review_score is {self.review_score}, accept_score {self.accept_score}.",
                remedy="Choose a review_score between 0 and accept_score.",
            )
        if not 0 <= self.min_margin <= 1:
            raise SettingsError(f"min_margin is {self.min_margin}.", remedy="Choose a number between 0 and 1.")


# Stored similarities are 32-bit: the nearest double of 0.93 is greater than that of its 32-bit form. Four decimals
# are what was stored.
_NAME = "round(CAST(name_similarity AS DOUBLE), 4)"
_STREET = "coalesce(round(CAST(street_similarity AS DOUBLE), 4), 0.0)"
_TOWN = "(city_agreement = 1 OR zip_agreement = 1)"
_PLACE = f"({_TOWN} OR state_agreement = 1)"
_CONFLICT = "(state_agreement = -1 OR city_agreement = -1 OR zip_agreement = -1)"


def method_sql() -> str:
    """SQL expression over the columns of ``schema.COMPARISON`` for the method of a pair: one of ``METHODS``."""
    return (
        "CASE WHEN uei_agreement = 1 THEN 'uei'"
        " WHEN duns_agreement = 1 THEN 'duns'"
        f" WHEN name_exact AND {_PLACE} THEN 'exact_name_place'"
        " WHEN name_exact THEN 'exact_name'"
        f" WHEN {_PLACE} THEN 'fuzzy_name_place'"
        " ELSE 'fuzzy_name' END"
    )


def score_sql() -> str:
    """SQL expression over the columns of ``schema.COMPARISON`` for the score: DOUBLE in [0, 1], four decimals."""
    at_street = _fuzzy(FUZZY_STREET_BAR, FUZZY_STREET_CAP, FUZZY_STREET_BASE)
    by_name = f"""CASE
        WHEN name_exact AND city_agreement = 1 AND zip_agreement = 1 THEN {EXACT_CITY_AND_ZIP_SCORE}
        WHEN name_exact AND {_TOWN} THEN {EXACT_CITY_OR_ZIP_SCORE}
        WHEN name_exact AND state_agreement = 1 AND city_agreement = -1 THEN {EXACT_OTHER_CITY_SCORE}
        WHEN name_exact AND state_agreement = 1 THEN {EXACT_STATE_SCORE}
        WHEN name_exact AND {_CONFLICT} THEN {EXACT_PLACE_CONFLICT_SCORE}
        WHEN name_exact THEN {EXACT_PLACE_UNKNOWN_SCORE}
        WHEN {_TOWN} AND {_STREET} >= {STREET_AGREES} THEN {at_street}
        WHEN {_TOWN} THEN {_fuzzy(FUZZY_CITY_BAR, FUZZY_CITY_CAP)}
        WHEN state_agreement = 1 AND city_agreement = -1 THEN {FUZZY_OTHER_CITY_FACTOR} * {_NAME}
        WHEN state_agreement = 1 THEN {_fuzzy(FUZZY_STATE_BAR, FUZZY_STATE_CAP)}
        WHEN {_CONFLICT} THEN {FUZZY_PLACE_CONFLICT_FACTOR} * {_NAME}
        ELSE {FUZZY_PLACE_UNKNOWN_FACTOR} * {_NAME} END"""
    penalty = f"CASE WHEN duns_agreement = -1 THEN {DUNS_CONFLICT_PENALTY} ELSE 0.0 END"
    cap = f"CASE WHEN uei_agreement = -1 THEN {UEI_CONFLICT_CAP} ELSE 1.0 END"
    other_name = f"{_NAME} < {OTHER_NAME_SIMILARITY}"
    duns = f"CASE WHEN {other_name} THEN {DUNS_OTHER_NAME_SCORE} ELSE {DUNS_SCORE} END"
    return f"""round(CAST(CASE
        WHEN uei_agreement = 1 THEN CASE WHEN {other_name} THEN {UEI_OTHER_NAME_SCORE} ELSE {UEI_SCORE} END
        WHEN duns_agreement = 1 THEN least({cap}, {duns})
        ELSE greatest(0.0, least({cap}, CAST({by_name} AS DOUBLE) - {penalty})) END AS DOUBLE), 4)"""


def _fuzzy(bar: float, cap: float, base: float = 0.0) -> str:
    """Score of a fuzzy pair: rises from ``FUZZY_AT_BAR`` at the bar to the cap, stays under it below the bar.

    ``base``: share of the score below the bar that the place alone is worth.
    """
    above = f"{FUZZY_AT_BAR} + {round(cap - FUZZY_AT_BAR, 4)} * ({_NAME} - {bar}) / {round(1 - bar, 4)}"
    below = f"{FUZZY_UNDER_BAR} * ({base} + {round(1 - base, 4)} * {_NAME} / {bar})"
    return f"CASE WHEN {_NAME} >= {bar} THEN {above} ELSE {below} END"
