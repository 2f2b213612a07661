"""Match weights of comparison vectors in bits, by the Fellegi–Sunter model.

A comparison with level l weighs ``log2(m(l) / u(l))``: ``m`` is its probability for records of one organisation, ``u``
for records of different ones (Fellegi and Sunter 1969, *A theory for record linkage*). The weight of a pair is the sum.
No labels are needed:

- ``m`` of name, place and street: pairs of this run with an equal UEI or DUNS.
- ``u`` of place: pairs of each recipient with a random company.
- ``u`` of a name: frequencies of its words among the recipients (term frequency adjustment, Winkler 2000). The
  information of a name is the sum of ``log2(1 / p)`` over its words, scaled by ``INFORMATION_SCALE`` because words of a
  name depend on each other. The agreeing share of it counts.

Chunks emit integer counts, which the reduce adds up. Each estimate is the mean of a Dirichlet posterior. Its prior, the
shipped defaults, counts as ``PRIOR_PAIRS`` pairs. Does not cover probabilities (``decisions``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from enrich_dist.matching.vocabulary import Vocabulary
from enrich_dist.schema import MIN_SAME_TOWN, Agreement, NameLevel, PlaceLevel, StreetLevel

# Raise it whenever the same candidates would get other weights or probabilities.
ENGINE_VERSION = "3"

PRIOR_PAIRS = 200.0

# Place levels of fully known places; ``_place_weights`` derives the others.
_KNOWN_PLACES = [
    PlaceLevel.DIFFERENT_STATE,
    PlaceLevel.DIFFERENT_CITY,
    PlaceLevel.SAME_CITY_DIFFERENT_ZIP,
    PlaceLevel.SAME_ZIP,
    PlaceLevel.SAME_CITY_AND_ZIP,
]

# Defaults of m by name level, known place level and known street level. Data: real pairs of SBIR.gov and USAspending.
DEFAULT_NAME_M = (0.100, 0.004, 0.022, 0.006, 0.016, 0.009, 0.013, 0.830)
DEFAULT_PLACE_M = (0.040, 0.115, 0.170, 0.010, 0.665)
DEFAULT_STREET_M = (0.12, 0.03, 0.85)
# Defaults of u. Data: all pairs of real companies and recipients with a place.
DEFAULT_PLACE_U = (0.949, 0.0494, 0.00115, 0.00003, 0.00015)
# Of two organisations in one town: sharing a building is more frequent than chance.
DEFAULT_STREET_U = (0.960, 0.015, 0.025)

# The scales and bits below, except SPREAD_RECIPIENTS, are maximum-likelihood estimates on generated data
# (docs/explanation/matching.md).
INFORMATION_SCALE = 0.87
# Of names that agree in part, because the agreeing words are the best of many.
LEVEL_SCALE = (1.0, 0.78, 0.78, 0.78, 0.78, 0.78, 1.0, 1.0)
# Evidence of a level in addition to its words (bits): how rare it is among names that share these words by chance.
LEVEL_BITS = (0.0, 0.0, 4.5, 4.7, 8.0, 11.5, 7.5, 5.0)
# Correction (bits) for partly equal names in one town with different streets. Name and place depend on each other there
# (subsidiaries, trades, streets and towns in names).
PARTIAL_TOWN_BITS = (0.0, -5.0, -3.0, -2.0, -2.5, 0.0, 0.0, 0.0)
# By ``NameKind``: an alternate name is slightly weaker evidence, the parent's much weaker (it has other subsidiaries).
KIND_BITS = (0.0, -0.5, -5.0)
# Expected namesakes of the match, however rare the words: firms have equal names for reasons other than chance. For
# equal names and spelling variants this holds from the larger number of recipients, and decreases in proportion below
# it, down to the smaller number, among which real namesakes were counted.
COINCIDENT_NAMESAKES = 0.87
SPREAD_RECIPIENTS = (11_177, 200_000)

# Penalty (bits) of a typo if another candidate of the company has the exact name in the same town. Data: generated.
EQUAL_NAME_IN_TOWN_BITS = 2.0

# Expected frequency of a word in no other recipient.
UNSEEN_FREQUENCY = 0.15
# Number of recipients that the background frequencies count as.
BACKGROUND_RECIPIENTS = 20_000.0

# u of identifiers: probability of an equal identifier by an entry error, divided by the number of recipients.
UEI_ERROR_SHARE, DUNS_ERROR_SHARE = 0.002, 0.005
# m of identifiers (conflict, agree): a firm has a UEI per registration and a DUNS per site.
DEFAULT_UEI_M = (0.010, 0.990)
DEFAULT_DUNS_M = (0.100, 0.900)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MCounts:
    """Counts of the run's pairs with an equal identifier.

    ``name``, ``place``, ``street``: by level (street in the same town only); ``uei``, ``duns``: (conflict, agree) of
    pairs that agree on the other identifier.
    """

    name: Sequence[int] = (0,) * len(NameLevel)
    place: Sequence[int] = (0,) * len(PlaceLevel)
    street: Sequence[int] = (0,) * len(StreetLevel)
    uei: Sequence[int] = (0, 0)
    duns: Sequence[int] = (0, 0)


@dataclass(frozen=True)
class Weights:
    """Weights of all levels (bits).

    ``name``: ``log2(m)`` by level, to which the agreeing information is added, at most ``max_name_bits`` (by level);
    ``name_bits``: information of each name of the index, float64; ``place``: by level; ``street``: by level, in the
    same town only; ``uei``, ``duns``: (conflict, agree).
    """

    recipients: int
    name: Floats
    name_bits: Floats
    max_name_bits: Floats
    place: Floats
    street: Floats
    uei: tuple[float, float]
    duns: tuple[float, float]
    unreachable_share: float
    """Share of true pairs whose names have nothing in common, which blocking by name cannot find."""
    identified_pairs: int

    def document(self) -> dict[str, Any]:
        """Return the weights for reports, JSON-ready."""
        return {
            "recipients": self.recipients,
            "identified_pairs": self.identified_pairs,
            "unreachable_share": round(self.unreachable_share, 4),
            **{
                name: [round(float(bits), 2) for bits in getattr(self, name)]
                for name in ("name", "place", "street", "uei", "duns")
            },
        }


def estimate(counts: Mapping[str, Mapping[int, int]], pairs: MCounts, vocabulary: Vocabulary) -> Weights:
    """Estimate weights from the counts of a run by kind and key (``schema.COUNT``) and its identified pairs."""
    recipients = max(1, counts.get("recipients", {}).get(0, 0))
    random_places = np.zeros(len(PlaceLevel))
    for level, count in counts.get("random_place", {}).items():
        random_places[level] = count
    name_m = _shares(pairs.name, DEFAULT_NAME_M)
    uei_m, duns_m = _shares(pairs.uei, DEFAULT_UEI_M), _shares(pairs.duns, DEFAULT_DUNS_M)
    return Weights(
        recipients=recipients,
        name=np.log2(name_m),
        max_name_bits=_max_name_bits(recipients),
        name_bits=name_information(counts.get("concept", {}), recipients, vocabulary),
        place=_place_weights(
            _shares(np.array(pairs.place)[_KNOWN_PLACES], DEFAULT_PLACE_M),
            _shares(random_places[_KNOWN_PLACES], DEFAULT_PLACE_U),
        ),
        street=_known(_shares(pairs.street[1:], DEFAULT_STREET_M), np.array(DEFAULT_STREET_U)),
        uei=_identifier(uei_m, UEI_ERROR_SHARE / recipients),
        duns=_identifier(duns_m, DUNS_ERROR_SHARE / recipients),
        unreachable_share=float(name_m[NameLevel.NOTHING_IN_COMMON]),
        identified_pairs=int(sum(pairs.name)),
    )


def name_information(concepts: Mapping[int, int], recipients: int, vocabulary: Vocabulary) -> Floats:
    """Return the information of each name of the index (bits): ``INFORMATION_SCALE * sum(log2(1 / p))`` over its words.

    ``concepts``: recipients with each word, without recipients that have the name of a company.
    """
    frequency = np.zeros(vocabulary.concept_count)
    frequency[list(concepts.keys())] = list(concepts.values())
    others = frequency + UNSEEN_FREQUENCY
    in_background = vocabulary.arrays["background"] * BACKGROUND_RECIPIENTS
    bits = -np.log2((others + in_background) / (recipients + BACKGROUND_RECIPIENTS))
    starts, tokens = vocabulary.take("name_token_starts", "name_tokens")
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    information = np.bincount(owner, weights=np.maximum(bits, 0.0)[tokens], minlength=len(starts) - 1)
    return np.asarray(INFORMATION_SCALE * information)


def _max_name_bits(recipients: int) -> Floats:
    """Return the maximum information of a name by level, limited by its expected namesakes."""
    namesakes = np.full(len(NameLevel), COINCIDENT_NAMESAKES)
    lowest, highest = SPREAD_RECIPIENTS
    namesakes[NameLevel.SPELLING_VARIANT :] *= min(max(recipients, lowest), highest) / highest
    return np.log2(recipients / namesakes)


def _shares(counts: Sequence[int] | Floats, defaults: Sequence[float]) -> Floats:
    """Return the posterior share of each level: the counts, and the defaults as ``PRIOR_PAIRS`` pairs."""
    prior = np.array(defaults) / np.sum(defaults)
    return np.asarray((np.asarray(counts, dtype=float) + PRIOR_PAIRS * prior) / (np.sum(counts) + PRIOR_PAIRS))


def _known(m: Floats, u: Floats) -> Floats:
    """Return the weights of the levels, 0 for the first, unknown."""
    return np.concatenate([[0.0], np.log2(m / u)])


def _place_weights(m: Floats, u: Floats) -> Floats:
    """Return the weights of all place levels from the probabilities of the known ones.

    A state with an unknown city has the weight of any equal state, a city with an unknown ZIP code that of any equal
    city.
    """
    weights = np.zeros(len(PlaceLevel))
    weights[_KNOWN_PLACES] = np.log2(m / u)
    other_state = _KNOWN_PLACES.index(PlaceLevel.DIFFERENT_STATE)
    weights[PlaceLevel.SAME_STATE] = np.log2((1 - m[other_state]) / (1 - u[other_state]))
    city = [_KNOWN_PLACES.index(at) for at in (PlaceLevel.SAME_CITY_DIFFERENT_ZIP, PlaceLevel.SAME_CITY_AND_ZIP)]
    weights[PlaceLevel.SAME_CITY] = np.log2(m[city].sum() / u[city].sum())
    return weights


def _identifier(m: Floats, u_agree: float) -> tuple[float, float]:
    return float(np.log2(m[0] / (1 - u_agree))), float(np.log2(m[1] / u_agree))


def weight_sql() -> dict[str, str]:
    """Return SQL expressions (DOUBLE, bits) of the weight of each comparison.

    They use the columns of ``schema.COMPARISON``, ``name_bits``, ``equal_name_in_town`` (``equal_name_in_town_sql``)
    and the table ``w`` of ``weight_row``.
    """
    return {
        "name": (
            f"CASE WHEN name_level = {NameLevel.NOTHING_IN_COMMON} THEN w.name[name_level + 1]"
            " ELSE w.name[name_level + 1] + w.kind[name_kind + 1]"
            " + w.level[name_level + 1]"
            " + least(w.scale[name_level + 1] * CAST(name_agreement AS DOUBLE) * name_bits,"
            " w.max_name_bits[name_level + 1])"
            f" - CASE WHEN name_level = {NameLevel.TYPO} AND place_level >= {MIN_SAME_TOWN} AND equal_name_in_town"
            f" THEN {EQUAL_NAME_IN_TOWN_BITS} ELSE 0.0 END END"
        ),
        "place": (
            f"w.place[place_level + 1] + CASE WHEN place_level >= {MIN_SAME_TOWN} AND street_level < {StreetLevel.SAME}"
            " THEN w.partial_town[name_level + 1] ELSE 0.0 END"
        ),
        "street": f"CASE WHEN place_level >= {MIN_SAME_TOWN} THEN w.street[street_level + 1] ELSE 0.0 END",
        **{
            name: f"CASE {name}_agreement WHEN {Agreement.AGREE} THEN w.{name}_agree"
            f" WHEN {Agreement.CONFLICT} THEN w.{name}_conflict ELSE 0.0 END"
            for name in ("uei", "duns")
        },
    }


def equal_name_in_town_sql() -> str:
    """Return a SQL expression (BOOLEAN): whether a candidate of the company has its name in the same town."""
    equal_name = f"name_level >= {NameLevel.SPELLING_VARIANT} AND place_level >= {MIN_SAME_TOWN}"
    return f"bool_or({equal_name}) OVER (PARTITION BY company_id)"


def weight_row(weights: Weights) -> dict[str, Any]:
    """Return the single row of the table ``w`` of ``weight_sql``."""
    return {
        "name": weights.name.tolist(),
        "kind": list(KIND_BITS),
        "level": list(LEVEL_BITS),
        "scale": list(LEVEL_SCALE),
        "partial_town": list(PARTIAL_TOWN_BITS),
        "max_name_bits": weights.max_name_bits.tolist(),
        "place": weights.place.tolist(),
        "street": weights.street.tolist(),
        "uei_conflict": weights.uei[0],
        "uei_agree": weights.uei[1],
        "duns_conflict": weights.duns[0],
        "duns_agree": weights.duns[1],
    }
