"""Match weights of comparison vectors, in the Fellegi–Sunter form, in bits.

Fellegi and Sunter (1969), *A theory for record linkage*: a comparison with outcome o weighs ``log2(m(o) / u(o))``,
where ``m`` is the probability of the outcome for records of one organisation and ``u`` for records of two. The weights
of all comparisons of a pair add up. No labels are needed:

- ``m`` of name, place and street: from the pairs of this very run whose UEI or DUNS agree.
- ``u`` of the place: from pairs of every recipient and a random company.
- ``u`` of a name: from how many recipients bear each of its words (term frequency adjustment, Winkler 2000): agreeing
  on KITWARE says more than on ADVANCED TECHNOLOGIES. A name's information is the sum of ``log2(1 / p)`` over its words;
  the share of it that agrees counts, scaled by ``INFORMATION_SCALE`` as words of a name depend on each other.

All are integer counts that chunks emit and the reduce adds up. Each estimate starts from shipped defaults that count as
``PRIOR_PAIRS`` pairs (the mean of a Dirichlet posterior), so a run with few such pairs leans on the defaults.

Does not cover what follows from a weight (``decisions``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from enrich_dist.matching.vocabulary import Vocabulary, background_shares
from enrich_dist.schema import MIN_SAME_TOWN, Agreement, NameLevel, PlaceLevel, StreetLevel

# Raised whenever the same candidates would get other weights or probabilities.
ENGINE_VERSION = "3"

PRIOR_PAIRS = 200.0

# Place levels that are told apart where all is known; the others are unknown in part (see ``_place_weights``).
_KNOWN_PLACES = [
    PlaceLevel.DIFFERENT_STATE,
    PlaceLevel.DIFFERENT_CITY,
    PlaceLevel.SAME_CITY_DIFFERENT_ZIP,
    PlaceLevel.SAME_ZIP,
    PlaceLevel.SAME_CITY_AND_ZIP,
]

# Defaults of m, by name level, known place level, and street level without "unknown": from pairs of real records of one
# organisation in SBIR.gov and USAspending.
DEFAULT_NAME_M = (0.100, 0.004, 0.022, 0.006, 0.016, 0.009, 0.013, 0.830)
DEFAULT_PLACE_M = (0.040, 0.115, 0.170, 0.010, 0.665)
DEFAULT_STREET_M = (0.12, 0.03, 0.85)
# Defaults of u: from all pairs of real companies and recipients with a place.
DEFAULT_PLACE_U = (0.949, 0.0494, 0.00115, 0.00003, 0.00015)
# Of two organisations in one town: neighbours in one building are commoner than chance.
DEFAULT_STREET_U = (0.960, 0.015, 0.025)

INFORMATION_SCALE = 0.87
# Of names that agree in part: the words that agree could be chosen among many.
LEVEL_SCALE = (1.0, 0.78, 0.78, 0.78, 0.78, 0.78, 1.0, 1.0)
# What a level says beyond the words that agree (bits): how seldom two names that share these words are otherwise built
# so. Fitted together with the scales by maximum likelihood on planted truth (``bench``); see
# docs/explanation/matching.md.
LEVEL_BITS = (0.0, 0.0, 4.5, 4.7, 8.0, 11.5, 7.5, 5.0)
# Names of one town that agree in part are alike for a reason more often than chance says (offshoots, trades, streets
# and places in names): name and place depend on each other there, unless the street agrees, too.
PARTIAL_TOWN_BITS = (0.0, -5.0, -3.0, -2.0, -2.5, 0.0, 0.0, 0.0)
# An alternate name says a little less than the legal one, the parent's much less: it has other daughters.
KIND_BITS = (0.0, -0.5, -5.0)
# However rare its words, a name has this many bearers besides the one looked for: firms are named alike for reasons
# other than chance. Of one name (spacing and the like aside) they are so many among the larger number of recipients or
# more, and fewer among fewer, as namesakes are spread over all organisations; below the smaller number, which is that
# of the real recipients they were counted among (``bench.shares``), nothing is known. Names that are only similar lie
# beside each other in small lists, too (one trade, one town).
COINCIDENT_NAMESAKES = 0.87
SPREAD_RECIPIENTS = (11_177, 200_000)

# A name with a typing error says so much less where another candidate of the company bears its very name in its town.
EQUAL_NAME_IN_TOWN_BITS = 2.0

# A word borne by no other recipient still has this many expected bearers.
UNSEEN_FREQUENCY = 0.15
# Recipients that the background frequencies count as.
BACKGROUND_RECIPIENTS = 20_000.0

# Of wrong pairs, the share that agree on an identifier by an error of entry, as multiple of one in all recipients.
UEI_ERROR_SHARE, DUNS_ERROR_SHARE = 0.002, 0.005
# Of right pairs in which both sides bear it, the share that differ: a firm has a UEI per registration, a DUNS per site.
DEFAULT_UEI_M = (0.010, 0.990)
DEFAULT_DUNS_M = (0.100, 0.900)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MCounts:
    """Pairs of the run that agree on an identifier, counted by outcome.

    ``name``: by name level; ``place``, ``street``: by level, the unknown ones too (street where the town agrees).
    ``uei``, ``duns``: (conflict, agree) where the other identifier agrees.
    """

    name: Sequence[int] = (0,) * len(NameLevel)
    place: Sequence[int] = (0,) * len(PlaceLevel)
    street: Sequence[int] = (0,) * len(StreetLevel)
    uei: Sequence[int] = (0, 0)
    duns: Sequence[int] = (0, 0)


@dataclass(frozen=True)
class Weights:
    """What each outcome weighs (bits), and what that was estimated from.

    ``name``: by level, ``log2(m)``, to which the agreeing information is added, ``max_name_bits`` (by level) at most;
    ``name_bits``: information of each name of the index, float64; ``place``: by level; ``street``: by level, where the
    town agrees; ``uei``, ``duns``: (conflict, agree).
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
    """Share of right pairs whose names have nothing in common: no search by name finds them."""
    identified_pairs: int

    def document(self) -> dict[str, Any]:
        """All but the names' information, for reports: JSON-ready."""
        return {
            "recipients": self.recipients,
            "identified_pairs": self.identified_pairs,
            "unreachable_share": round(self.unreachable_share, 4),
            "name": [round(float(bits), 2) for bits in self.name],
            "place": [round(float(bits), 2) for bits in self.place],
            "street": [round(float(bits), 2) for bits in self.street],
            "uei": [round(bits, 2) for bits in self.uei],
            "duns": [round(bits, 2) for bits in self.duns],
        }


def estimate(counts: Mapping[str, Mapping[int, int]], pairs: MCounts, vocabulary: Vocabulary) -> Weights:
    """Weights from the counts of a run: ``counts`` by kind and key (``schema.COUNT``), ``pairs`` that agree on an
    identifier."""
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
    """Bits that agreeing on each name of the index says, ``INFORMATION_SCALE * sum(log2(1 / p))`` over its words.

    ``concepts``: recipients that bear each word in a name that is no company's.
    """
    bearers = np.zeros(vocabulary.concept_count)
    bearers[list(concepts.keys())] = list(concepts.values())
    others = bearers + UNSEEN_FREQUENCY
    in_background = background_shares(vocabulary) * BACKGROUND_RECIPIENTS
    bits = -np.log2((others + in_background) / (recipients + BACKGROUND_RECIPIENTS))
    starts, tokens = vocabulary.take("name_token_starts", "name_tokens")
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    information = np.bincount(owner, weights=np.maximum(bits, 0.0)[tokens], minlength=len(starts) - 1)
    return np.asarray(INFORMATION_SCALE * information)


def _max_name_bits(recipients: int) -> Floats:
    """Most that the agreeing words say, by name level: however rare, there may be others so named."""
    bearers = np.full(len(NameLevel), COINCIDENT_NAMESAKES)
    counted, most = SPREAD_RECIPIENTS
    bearers[NameLevel.SPELLING_VARIANT :] *= min(max(recipients, counted), most) / most
    return np.log2(recipients / bearers)


def _shares(counts: Sequence[int] | Floats, defaults: Sequence[float]) -> Floats:
    """Shares of the outcomes: what was counted, and the defaults as ``PRIOR_PAIRS`` further pairs."""
    prior = np.array(defaults) / np.sum(defaults)
    return np.asarray((np.asarray(counts, dtype=float) + PRIOR_PAIRS * prior) / (np.sum(counts) + PRIOR_PAIRS))


def _known(m: Floats, u: Floats) -> Floats:
    """Weights of the levels, 0 for the first, which says that nothing is known."""
    return np.concatenate([[0.0], np.log2(m / u)])


def _place_weights(m: Floats, u: Floats) -> Floats:
    """Weights of all place levels, from the probabilities of the known ones.

    A state with an unknown city weighs what any agreeing state does, a city with an unknown ZIP code what any agreeing
    city does.
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
    """SQL expressions (DOUBLE, bits) of the comparisons' weights by name, over the columns of ``schema.COMPARISON``,
    ``name_bits`` and ``equal_name_in_town`` (``equal_name_in_town_sql``); ``w`` is the table of ``weight_row``."""
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
    """SQL expression (BOOLEAN) over all candidates: whether one of the company bears its very name in its town."""
    very_name = f"name_level >= {NameLevel.SPELLING_VARIANT} AND place_level >= {MIN_SAME_TOWN}"
    return f"bool_or({very_name}) OVER (PARTITION BY company_id)"


def weight_row(weights: Weights) -> dict[str, Any]:
    """The one row of the table ``w`` that ``weight_sql`` refers to."""
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
