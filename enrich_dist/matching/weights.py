"""Match weights of comparison vectors in bits, by the Fellegi–Sunter model.

A comparison with level l weighs ``log2(m(l) / u(l))``: ``m`` is its probability for records of one organisation, ``u``
for records of different ones (Fellegi and Sunter 1969, *A theory for record linkage*). The weight of a pair is the sum.
No labels are needed:

- ``m`` of name, place and street: pairs of this run with an equal UEI or DUNS.
- ``u`` of place: pairs of each recipient with a random company.
- ``u`` of a name: frequencies of its words among the recipients (term frequency adjustment, Winkler 2000). The
  information of a name is the sum of ``log2(1 / p)`` over its words, scaled by ``INFORMATION_SCALE`` because words of a
  name depend on each other. The agreeing share of it counts.

Chunks emit integer counts, which the reduce adds up. Each estimate is the mean of a Dirichlet posterior. Its prior,
the shipped defaults, counts as ``PRIOR_PAIRS`` or ``ADDRESS_PRIOR_PAIRS`` pairs. Does not cover probabilities
(``decisions``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from enrich_dist.matching.vocabulary import Vocabulary
from enrich_dist.schema import NameLevel, PlaceLevel, SiblingLevel, StreetLevel

# Raise it whenever the same candidates would get other weights or probabilities.
# 4: words that distinguish siblings are a comparison of their own.
# 5: a name within a longer one is a level of its own; former names; weights are estimated from all candidates.
# 6: places and streets move further from their defaults; similar names say no more than equal ones; companies of one
# name are one observation.
ENGINE_VERSION = "6"

PRIOR_PAIRS = 200.0
# The same for places and streets, in which tables differ: of six tables with a known truth (development sets and
# generated data), partners elsewhere are 0 to 33%, and other streets in one town 0 to 45%. By the method of moments,
# such shares count as 7 and 3 pairs. Tried: 10, 20, 50, 100 and 200, on the development sets and labels_uei. Lower
# values are better for sites; below 50 a match of labels_uei is lost, and below 100 names of a small table that share
# frequent words only are accepted in one town.
ADDRESS_PRIOR_PAIRS = 100.0
# Before a partner is seen, partners have a place as often as any recipient; this counts as few pairs, because tables
# differ: in one, recipients without a place are as good as others, in the next they are remains of other sources.
PLACELESS_PRIOR_PAIRS = 10.0

# Place levels of fully known places; ``_place_weights`` derives the others.
KNOWN_PLACES = [
    PlaceLevel.DIFFERENT_STATE,
    PlaceLevel.DIFFERENT_CITY,
    PlaceLevel.SAME_CITY_DIFFERENT_ZIP,
    PlaceLevel.SAME_ZIP,
    PlaceLevel.SAME_CITY_AND_ZIP,
]

# The known levels that a partly known place can be.
FINER_PLACES = {
    PlaceLevel.SAME_STATE: np.array([False, True, True, True, True]),
    PlaceLevel.SAME_CITY: np.array([False, False, True, False, True]),
}

# Defaults of m by name level, known place level and known street level. Data: real pairs of SBIR.gov and USAspending;
# CONTAINED is two thirds of the former share of ADDITIONAL_WORDS, as among the real variants (4 of 6).
DEFAULT_NAME_M = (0.100, 0.004, 0.007, 0.006, 0.015, 0.016, 0.009, 0.013, 0.830)
DEFAULT_PLACE_M = (0.040, 0.115, 0.170, 0.010, 0.665)
DEFAULT_STREET_M = (0.12, 0.03, 0.85)
# Defaults of u. Data: all pairs of real companies and recipients with a place.
DEFAULT_PLACE_U = (0.949, 0.0494, 0.00115, 0.00003, 0.00015)
# Of two organisations in one town: sharing a building is more frequent than chance.
DEFAULT_STREET_U = (0.960, 0.015, 0.025)

# The scales and bits below are maximum-likelihood estimates on generated data
# (docs/explanation/matching.md).
INFORMATION_SCALE = 0.87
# Of names that agree in part, because the agreeing words are the best of many.
LEVEL_SCALE = (1.0, 0.78, 0.78, 0.78, 0.78, 0.78, 0.78, 1.0, 1.0)
# Evidence of a level in addition to its words (bits): how rare it is among names that share these words by chance.
# CONTAINED: of 4.5, 6.5 and 8, the largest of which no such name is accepted without a place (generated data).
LEVEL_BITS = (0.0, 0.0, 4.5, 4.7, 6.5, 8.0, 11.5, 7.5, 5.0)
# Correction (bits) for partly equal names in one town with different streets. Name and place depend on each other there
# (subsidiaries, trades, streets and towns in names).
PARTIAL_TOWN_BITS = (0.0, -5.0, -3.0, -2.0, -3.0, -2.5, 0.0, 0.0, 0.0)
# Names that differ in words that distinguish siblings, in addition to their level. Estimated on generated data: 1.4% of
# the matches and 7% of the others among partly equal names in one town (docs/explanation/matching.md).
SIBLING_BITS = -2.3
# By ``NameKind``: an alternate name is slightly weaker evidence, the parent's much weaker (it has other subsidiaries).
# A former name belongs to the same registration, but may have been sold with a business. Argued, not estimated: one
# match in 20 agrees by a former name (12% are renamed, of which 40% are recorded), and so does one coincidence in 10,
# if one name of the recipients in 10 is a former one.
KIND_BITS = (0.0, -0.5, -1.0, -5.0)
# Expected namesakes of the match, however rare the words: firms have equal names for reasons other than chance. Data:
# generated, 300,000 recipients; for equal names and spelling variants see ``NAMESAKE_RATE``.
COINCIDENT_NAMESAKES = 0.87
# The levels whose namesakes are counted, wherever they are: all of them are candidates.
NAMESAKES = [NameLevel.SPELLING_VARIANT, NameLevel.EQUAL]
# The levels of similar names whose rivals in the same town are counted, and how many rivals the defaults count as.
TOWN_RIVALS = slice(NameLevel.ADDITIONAL_WORDS, NameLevel.SPELLING_VARIANT)
TOWN_RIVAL_PRIOR = 2.0
# A company with one namesake often has more (a firm with many sites): how much rarer each further one is, at least
# how many are counted, and the number of companies and namesakes that the defaults count as.
NAMESAKE_RATE, NAMESAKE_DECAY, MAX_NAMESAKES = 0.01, 0.25, 8
PRIOR_COMPANIES, NAMESAKE_PRIOR_PAIRS = 100.0, 50.0

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

    ``name``, ``place``, ``street``: by level (street in the same town only); ``placeless``: recipients (with, without)
    a place; ``uei``, ``duns``: (conflict, agree) of pairs that agree on the other identifier.
    """

    name: Sequence[int] = (0,) * len(NameLevel)
    place: Sequence[int] = (0,) * len(PlaceLevel)
    street: Sequence[int] = (0,) * len(StreetLevel)
    placeless: Sequence[int] = (0, 0)
    uei: Sequence[int] = (0, 0)
    duns: Sequence[int] = (0, 0)


@dataclass(frozen=True)
class Tallies:
    """Pairs by level, float64: shipped defaults as some pairs, and what was counted or expected of them.

    ``name``, ``place`` (known levels only), ``street`` (known levels, in the same town): of one organisation.
    ``placeless``: partners (with, without) a place. Of different organisations: ``other_street``, as ``street``;
    ``namesake_level``, ``namesake_place``: namesakes of rare names by level (``NAMESAKES``) and as ``place``.
    ``town_rivals``: different organisations with a similar name in the same town, (observed, expected by the defaults).
    ``namesakes``: companies by number of such namesakes, 0 to ``MAX_NAMESAKES`` or more.
    """

    name: Floats
    place: Floats
    street: Floats
    placeless: Floats
    other_street: Floats
    namesakes: Floats
    namesake_level: Floats
    namesake_place: Floats
    town_rivals: Floats

    def __add__(self, other: Tallies) -> Tallies:
        """Return the sums."""
        return Tallies(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def shares(self) -> Tallies:
        """Return the share of each level in its comparison."""
        return Tallies(*(getattr(self, field.name) / getattr(self, field.name).sum() for field in fields(self)))


@dataclass(frozen=True)
class Weights:
    """Weights of all levels (bits).

    ``name``: ``log2(m)`` by level, of the partners that a name can find, to which the agreeing information is added, at
    most ``max_name_bits`` (by level);
    ``name_bits``: information of each name of the index, float64; ``place``: by level; ``placeless``: of a recipient
    (with, without) a place; ``street``: by level, in the same town only; ``uei``, ``duns``: (conflict, agree).
    ``tallies``: what they were estimated from; ``place_u``, ``placeless_u``: probabilities of different organisations.
    """

    recipients: int
    name: Floats
    name_bits: Floats
    max_name_bits: Floats
    namesakes: Floats
    place: Floats
    namesake_place: Floats
    partial_town: Floats
    placeless: Floats
    street: Floats
    uei: tuple[float, float]
    duns: tuple[float, float]
    unreachable_share: float
    """Share of true pairs whose names have nothing in common, which blocking by name cannot find."""
    identified_pairs: int
    tallies: Tallies
    place_u: Floats
    placeless_u: Floats

    def with_tallies(self, tallies: Tallies) -> Weights:
        """Return the weights that follow from other tallies."""
        return replace(self, **_of_tallies(tallies, self.recipients, self.place_u, self.placeless_u))

    def document(self) -> dict[str, Any]:
        """Return the weights for reports, JSON-ready.

        ``shipped``: the same by the shipped defaults alone, with what the run counted of different organisations.
        """
        uei, duns = (np.array(m) / sum(m) for m in (DEFAULT_UEI_M, DEFAULT_DUNS_M))
        shipped = replace(
            self.with_tallies(_count(MCounts(), self.place_u, self.placeless_u)),
            uei=_identifier(uei, UEI_ERROR_SHARE / self.recipients),
            duns=_identifier(duns, DUNS_ERROR_SHARE / self.recipients),
        )
        return {
            "recipients": self.recipients,
            "identified_pairs": self.identified_pairs,
            "unreachable_share": round(self.unreachable_share, 4),
            "sibling": [0.0] + [SIBLING_BITS] * (len(SiblingLevel) - 1),
            **self._levels(),
            "shipped": shipped._levels(),
        }

    def _levels(self) -> dict[str, list[float]]:
        names = ("name", "place", "placeless", "street", "uei", "duns")
        return {name: [round(float(bits), 2) for bits in getattr(self, name)] for name in names}


def estimate(counts: Mapping[str, Mapping[int, int]], pairs: MCounts, vocabulary: Vocabulary) -> Weights:
    """Estimate weights from the counts of a run by kind and key (``schema.COUNT``) and its identified pairs."""
    recipients = max(1, counts.get("recipients", {}).get(0, 0))
    random_places = np.zeros(len(PlaceLevel))
    for level, count in counts.get("random_place", {}).items():
        random_places[level] = count
    placeless = counts.get("placeless", {}).get(0, 0) / recipients
    placeless_u = np.array([1 - placeless, placeless])
    place_u = _shares(random_places[KNOWN_PLACES], DEFAULT_PLACE_U)
    tallies = _count(pairs, place_u, placeless_u)
    uei_m, duns_m = _shares(pairs.uei, DEFAULT_UEI_M), _shares(pairs.duns, DEFAULT_DUNS_M)
    return Weights(
        recipients=recipients,
        name_bits=name_information(counts.get("concept", {}), recipients, vocabulary),
        uei=_identifier(uei_m, UEI_ERROR_SHARE / recipients),
        duns=_identifier(duns_m, DUNS_ERROR_SHARE / recipients),
        identified_pairs=int(sum(pairs.name)),
        place_u=place_u,
        placeless_u=placeless_u,
        **_of_tallies(tallies, recipients, place_u, placeless_u),
    )


def _count(pairs: MCounts, place_u: Floats, placeless_u: Floats) -> Tallies:
    """Return the pairs with an equal identifier and the defaults."""
    return Tallies(
        name=_tally(pairs.name, DEFAULT_NAME_M),
        place=_tally(np.array(pairs.place)[KNOWN_PLACES], DEFAULT_PLACE_M, ADDRESS_PRIOR_PAIRS),
        street=_tally(pairs.street[1:], DEFAULT_STREET_M, ADDRESS_PRIOR_PAIRS),
        placeless=_tally(pairs.placeless, placeless_u, PLACELESS_PRIOR_PAIRS),
        other_street=ADDRESS_PRIOR_PAIRS * np.array(DEFAULT_STREET_U),
        namesakes=PRIOR_COMPANIES * _default_namesakes(),
        namesake_level=NAMESAKE_PRIOR_PAIRS * _default_namesake_levels(),
        namesake_place=NAMESAKE_PRIOR_PAIRS * place_u,
        town_rivals=np.full(2, TOWN_RIVAL_PRIOR),
    )


def _of_tallies(tallies: Tallies, recipients: int, place_u: Floats, placeless_u: Floats) -> dict[str, Any]:
    """Return the fields of ``Weights`` that follow from the tallies."""
    shares = tallies.shares()
    unreachable = float(shares.name[NameLevel.NOTHING_IN_COMMON])
    # The share of companies with a partner is estimated from candidates, so it leaves out those that names cannot find.
    names = np.append(unreachable, shares.name[NameLevel.NOTHING_IN_COMMON + 1 :] / (1 - unreachable))
    return {
        "name": np.log2(names),
        "max_name_bits": _max_name_bits(recipients, shares),
        "namesakes": _namesake_bits(shares),
        "place": _place_weights(shares.place, place_u),
        "namesake_place": _place_weights(shares.place, shares.namesake_place),
        "partial_town": _partial_town_bits(shares),
        "placeless": _placeless_weights(shares.placeless, placeless_u),
        "street": _known(shares.street, shares.other_street),
        "unreachable_share": unreachable,
        "tallies": tallies,
    }


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


def _default_namesake_levels() -> Floats:
    """Return the expected shares of the levels ``NAMESAKES`` among namesakes of a rare name."""
    shares = np.exp2(-np.array(LEVEL_BITS)[NAMESAKES])
    return np.asarray(shares / shares.sum())


def _default_namesakes() -> Floats:
    """Return the expected share of companies by number of namesakes."""
    rate = NAMESAKE_RATE
    odds = np.concatenate([[1.0], rate * NAMESAKE_DECAY ** np.arange(MAX_NAMESAKES)])
    return np.asarray(odds / odds.sum())


def _namesake_rates(shares: Tallies) -> Floats:
    """Return the expected namesakes of a company with one namesake or partner, two, and so on.

    With n records of its name, the company has n - 1 namesakes and a partner, or n namesakes: n P(n) / P(n - 1). More
    namesakes are never taken for more frequent than fewer, except than none: in a table of sites every name has one.
    """
    numbers = np.arange(1, MAX_NAMESAKES + 1)
    ratios = shares.namesakes[1:] / shares.namesakes[:-1]
    ratios[1:] = np.minimum(ratios[1:], 1.0)
    return np.asarray(numbers * ratios)


def _namesake_bits(shares: Tallies) -> Floats:
    """Return what further records of the company's name change in the maximum information of a name (bits), by number
    of such records."""
    rates = _namesake_rates(shares)
    return np.concatenate([[0.0], np.log2(rates[0] / rates)])


def _partial_town_bits(shares: Tallies) -> Floats:
    """Return the correction for partly equal names in one town by level, for the rivals observed there."""
    bits = np.array(PARTIAL_TOWN_BITS)
    bits[TOWN_RIVALS] -= np.log2(shares.town_rivals[0] / shares.town_rivals[1])
    return bits


def expected_town_rivals(place_u: Floats) -> float:
    """Return the number of rivals of a company with a rare name in its town that the defaults expect."""
    levels = np.array(LEVEL_BITS)[TOWN_RIVALS] + np.array(PARTIAL_TOWN_BITS)[TOWN_RIVALS]
    in_town = place_u[KNOWN_PLACES.index(PlaceLevel.SAME_CITY_DIFFERENT_ZIP) :].sum()
    return float(COINCIDENT_NAMESAKES * np.exp2(-levels).sum() * in_town)


def _max_name_bits(recipients: int, shares: Tallies) -> Floats:
    """Return the maximum information of a name by level, limited by its expected namesakes.

    Where equal names say little because many organisations have one, similar names say no more.
    """
    namesakes = np.full(len(NameLevel), COINCIDENT_NAMESAKES)
    namesakes[NAMESAKES] = _namesake_rates(shares)[0] * shares.namesake_level * np.exp2(np.array(LEVEL_BITS)[NAMESAKES])
    bits = np.log2(recipients / namesakes)
    bits[: NAMESAKES[0]] = np.minimum(bits[: NAMESAKES[0]], bits[NameLevel.EQUAL])
    return np.asarray(bits)


def _tally(counts: Sequence[int] | Floats, defaults: Sequence[float] | Floats, pairs: float = PRIOR_PAIRS) -> Floats:
    """Return the counts, and the defaults as this number of pairs."""
    return np.asarray(np.asarray(counts, dtype=float) + pairs * np.array(defaults) / np.sum(defaults))


def _shares(counts: Sequence[int] | Floats, defaults: Sequence[float]) -> Floats:
    """Return the posterior share of each level: the counts, and the defaults as ``PRIOR_PAIRS`` pairs."""
    tally = _tally(counts, defaults)
    return np.asarray(tally / tally.sum())


def _known(m: Floats, u: Floats) -> Floats:
    """Return the weights of the levels, 0 for the first, unknown."""
    return np.concatenate([[0.0], np.log2(m / u)])


def place_shares(known: Floats) -> Floats:
    """Return the probability of each place level from those of the known ones; 1 for an unknown place.

    A state with an unknown city is any equal state, a city with an unknown ZIP code any equal city.
    """
    shares = np.ones(len(PlaceLevel))
    shares[KNOWN_PLACES] = known
    for coarse, finer in FINER_PLACES.items():
        shares[coarse] = known[finer].sum()
    return shares


def _place_weights(m: Floats, u: Floats) -> Floats:
    """Return the weights of all place levels from the probabilities of the known ones."""
    return np.asarray(np.log2(place_shares(m) / place_shares(u)))


def _placeless_weights(m: Floats, u: Floats) -> Floats:
    """Return the weights of a recipient (with, without) a place, 0 for a kind that the table does not have."""
    return np.log2(np.divide(m, u, out=np.ones(2), where=u > 0))


def _identifier(m: Floats, u_agree: float) -> tuple[float, float]:
    return float(np.log2(m[0] / (1 - u_agree))), float(np.log2(m[1] / u_agree))
