"""Estimate the match weights of two tables from their candidate pairs, by expectation maximisation.

Pairs with an equal identifier show how records of one organisation differ, but a run may have few of them or none. The
other candidates contain this information as well: the true pairs among them agree on place and street far more often
than chance. Each round computes match probabilities with the current weights, where the candidates of a company compete
(expectation), and then the shares of levels among the expected true pairs (maximisation; Dempster, Laird and Rubin
1977). The tallies of ``weights.estimate`` (shipped defaults and identified pairs) are the Dirichlet prior, so small
tables stay near the defaults, and the posterior density never decreases from round to round.

Estimated (``weights.Tallies``): m of name, place and street; the share of partners without a place; u of street; and
different organisations of the company's name: how many a company has, where they are, and how often a similar name is
in its town. Not estimated: u of place and of words, which are counted (``weights``). Names with nothing in common
cannot be candidates; their share is that of the prior.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from enrich_dist.matching.decisions import MAX_PARTNER_SHARE, MIN_PARTNER_SHARE, START_PARTNER_SHARE
from enrich_dist.matching.weights import (
    FINER_PLACES,
    KNOWN_PLACES,
    MAX_NAMESAKES,
    NAMESAKE_RATE,
    NAMESAKES,
    TOWN_RIVALS,
    Floats,
    Tallies,
    Weights,
    expected_town_rivals,
    place_shares,
)
from enrich_dist.schema import MIN_SAME_TOWN, NameLevel, PlaceLevel, StreetLevel

MAX_ROUNDS = 50
# The largest change of a share in the last round.
TOLERANCE = 1e-4

_NAMES = tuple(field.name for field in fields(Tallies))

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Observed:
    """Candidate organisations of a sample of companies, one entry each, in a fixed order.

    ``company``: position in the sample, below ``companies``, which counts those without a candidate as well;
    ``weight``: match weight with the weights that the estimation starts from, in bits; ``name``, ``place``, ``street``:
    levels; ``placeless``: 1 for a recipient without a place; ``information``: of the agreeing words, scaled by level
    (bits); ``namesakes``: records of the company's name; ``is_known``: counted in the tallies (equal identifier).
    ``number``: of equal candidates that an entry stands for (float64), by default one each.
    """

    companies: int
    company: Ints
    weight: Floats
    name: Ints
    place: Ints
    street: Ints
    placeless: Ints
    information: Floats
    namesakes: Ints
    is_known: Bools
    number: Floats = field(default_factory=lambda: np.ones(1))

    @property
    def numbers(self) -> Floats:
        """``number`` of each entry."""
        return np.broadcast_to(self.number, self.company.shape)


@dataclass(frozen=True)
class Estimated:
    """The result: ``weights``, the ``log_posterior`` of every round (natural logarithm, up to a constant), and the
    share of companies that have a candidate as partner."""

    weights: Weights
    log_posterior: tuple[float, ...]
    partner_share: float


def fit(start: Weights, observed: Observed, *, scale: float = 1.0) -> Estimated:
    """Estimate the weights, starting from ``start``, whose tallies are the prior.

    ``scale``: companies of the run per company of the sample; expected pairs count as many times.
    """
    rest = observed.weight - _estimated_bits(start, observed)
    weights, share, history = start, START_PARTNER_SHARE, []
    for _ in range(MAX_ROUNDS):
        probability, likelihood, partners = _expect(weights, observed, rest, share)
        history.append(likelihood * scale + _log_prior(start.tallies, weights.tallies.shares()))
        share = min(max(partners / max(observed.companies, 1), MIN_PARTNER_SHARE), MAX_PARTNER_SHARE)
        expected = _tally(probability, observed, weights, scale)
        fitted = weights.with_tallies(_combine(start.tallies, expected))
        change = _change(weights.tallies.shares(), fitted.tallies.shares())
        weights = fitted
        if change < TOLERANCE:
            break
    return Estimated(weights, tuple(history), share)


def _max_information(weights: Weights, observed: Observed) -> Floats:
    boost = np.maximum(weights.placeless, 0.0)[observed.placeless]
    is_partial = observed.name < NameLevel.SPELLING_VARIANT
    limit = weights.max_name_bits[observed.name] + weights.namesakes[observed.namesakes]
    return np.asarray(limit - np.where(is_partial, boost, 0.0))


def _is_coincident(weights: Weights, observed: Observed) -> Bools:
    """Return which candidates have a name so rare that namesakes are no chance."""
    is_rare = observed.information > _max_information(weights, observed)
    return np.asarray((observed.name >= NameLevel.SPELLING_VARIANT) & is_rare)


def _estimated_bits(weights: Weights, observed: Observed) -> Floats:
    in_town = observed.place >= MIN_SAME_TOWN
    is_partial = observed.name < NameLevel.SPELLING_VARIANT
    town = np.where(
        in_town & (observed.street < StreetLevel.SAME) & is_partial, weights.partial_town[observed.name], 0.0
    )
    place = weights.place[observed.place] + town
    namesake = weights.namesake_place[observed.place]
    place = np.where(is_partial, np.minimum(place, namesake), place)
    place = np.where(_is_coincident(weights, observed), namesake, place)
    words = np.minimum(observed.information, _max_information(weights, observed))
    bits = weights.name[observed.name] + np.where(observed.name > NameLevel.NOTHING_IN_COMMON, words, 0.0)
    bits = bits + place + weights.placeless[observed.placeless]
    return np.asarray(bits + np.where(in_town, weights.street[observed.street], 0.0))


def _expect(weights: Weights, observed: Observed, rest: Floats, share: float) -> tuple[Floats, float, float]:
    """Return the match probability of each candidate, the log likelihood, and the expected number of partners."""
    odds = np.exp2(rest + _estimated_bits(weights, observed)) / weights.recipients
    total = np.bincount(observed.company, weights=odds * observed.number, minlength=observed.companies)
    evidence = 1 - share + share * total
    likelihood = np.log(evidence).sum() + _log_different(weights.tallies.shares(), weights, observed)
    return share * odds / evidence[observed.company], float(likelihood), float((share * total / evidence).sum())


def _log_different(shares: Tallies, weights: Weights, observed: Observed) -> float:
    """Return the log likelihood of all candidates if none were a match, as far as it is estimated."""
    number = observed.numbers
    in_town = (observed.place >= MIN_SAME_TOWN) & (observed.street > StreetLevel.UNKNOWN)
    coincident = _is_coincident(weights, observed)
    place = np.log(place_shares(shares.namesake_place))[observed.place[coincident]]
    level = np.log(shares.namesake_level)[observed.name[coincident] - NAMESAKES[0]]
    numbers = _namesakes_by_company(observed, coincident)
    street = np.log(shares.other_street)[observed.street[in_town] - 1]
    # Not a dot product, for which BLAS starts threads.
    estimated = (street * number[in_town]).sum() + ((place + level) * number[coincident]).sum()
    return float(estimated + np.log(shares.namesakes)[numbers].sum())


def _namesakes_by_company(observed: Observed, coincident: Bools) -> Ints:
    numbers = np.zeros(observed.companies, dtype=np.int64)
    np.maximum.at(numbers, observed.company[coincident], observed.namesakes[coincident])
    return numbers


def _tally(probability: Floats, observed: Observed, weights: Weights, scale: float) -> Tallies:
    """Return the expected pairs by level that the prior has not counted."""
    shares = weights.tallies.shares()
    partner = np.where(observed.is_known, 0.0, probability) * observed.number * scale
    in_town = observed.place >= MIN_SAME_TOWN
    other = _different(probability, observed) * observed.number * scale
    coincident = _is_coincident(weights, observed)
    numbers = _namesakes_by_company(observed, coincident)
    expected = (probability * observed.number)[coincident]
    found = np.minimum(np.bincount(observed.company[coincident], weights=expected, minlength=observed.companies), 1.0)
    found[numbers == 0] = 0.0
    fewer = np.where(numbers < MAX_NAMESAKES, np.maximum(numbers - 1, 0), MAX_NAMESAKES)
    namesakes = _by_level(numbers, (1 - found) * scale, MAX_NAMESAKES + 1)
    namesakes = namesakes + _by_level(fewer, found * scale, MAX_NAMESAKES + 1)
    rivals = in_town & (observed.street < StreetLevel.SAME)
    rivals &= (observed.name >= TOWN_RIVALS.start) & (observed.name < TOWN_RIVALS.stop)
    expected_rivals = observed.companies * scale * expected_town_rivals(weights.place_u)
    return Tallies(
        town_rivals=np.array([other[rivals].sum(), expected_rivals]),
        name=_by_level(observed.name, partner, len(NameLevel)),
        place=_known_places(_by_level(observed.place, partner, len(PlaceLevel)), shares.place),
        street=_by_level(observed.street[in_town], partner[in_town], len(StreetLevel))[1:],
        placeless=_by_level(observed.placeless, partner, 2),
        other_street=_by_level(observed.street[in_town], other[in_town], len(StreetLevel))[1:],
        namesakes=namesakes,
        namesake_level=_by_level(observed.name[coincident], other[coincident], len(NameLevel))[NAMESAKES],
        namesake_place=_known_places(
            _by_level(observed.place[coincident], other[coincident], len(PlaceLevel)), shares.namesake_place
        ),
    )


def _different(probability: Floats, observed: Observed) -> Floats:
    """Return the probability of each candidate to be a different organisation than the partner.

    Records of the company's name in its town, unless at another street, are of one organisation: they share its
    probability.
    """
    here = (observed.place >= MIN_SAME_TOWN) & (observed.name >= NameLevel.SPELLING_VARIANT)
    here &= observed.street != StreetLevel.DIFFERENT
    expected = (probability * observed.number)[here]
    found = np.bincount(observed.company[here], weights=expected, minlength=observed.companies)
    different = 1 - probability
    different[here] = 1 - np.minimum(found[observed.company[here]], 1.0)
    return np.asarray(different)


def _by_level(levels: Ints, pairs: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(levels, weights=pairs, minlength=size), dtype=np.float64)


def _known_places(places: Floats, shares: Floats) -> Floats:
    """Return pairs by known place level; a place that is known in part is one of the levels that agree with it."""
    known = places[KNOWN_PLACES]
    for coarse in (PlaceLevel.SAME_STATE, PlaceLevel.SAME_CITY):
        finer = np.where(FINER_PLACES[coarse], shares, 0.0)
        known = known + places[coarse] * finer / finer.sum()
    return np.asarray(known)


def _combine(prior: Tallies, expected: Tallies) -> Tallies:
    """Return prior and expected pairs, with as many names with nothing in common as keep their share.

    Companies have a namesake at least as often as by default: where few have one, only the default says whether
    it is a namesake or a partner that moved, and each that is taken for a partner would make the next one more likely.
    """
    share = prior.shares().name[NameLevel.NOTHING_IN_COMMON]
    expected.name[NameLevel.NOTHING_IN_COMMON] = 0.0
    expected.name[NameLevel.NOTHING_IN_COMMON] = expected.name.sum() * share / (1 - share)
    tallies = prior + expected
    both = tallies.namesakes[:2].sum()
    one = max(tallies.namesakes[1], both * NAMESAKE_RATE / (1 + NAMESAKE_RATE))
    tallies.namesakes[:2] = both - one, one
    return tallies


def _log_prior(prior: Tallies, shares: Tallies) -> float:
    """Return the log density of the Dirichlet priors whose posterior mode are the shares of tallies."""
    names = slice(NameLevel.NOTHING_IN_COMMON + 1, None)
    parts = [(prior.name[names], shares.name[names])]
    parts += [(getattr(prior, name), getattr(shares, name)) for name in _NAMES if name != "name"]
    return float(sum(np.sum(tally[tally > 0] * np.log(share[tally > 0])) for tally, share in parts))


def _change(before: Tallies, after: Tallies) -> float:
    return max(float(np.abs(getattr(after, name) - getattr(before, name)).max()) for name in _NAMES)
