"""Estimation of weights from candidates: planted parameters, the posterior, small tables, order."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrich_dist import schema
from enrich_dist.matching.estimation import Estimated, Observed, fit
from enrich_dist.matching.index import build_index, open_index
from enrich_dist.matching.weights import KNOWN_PLACES, LEVEL_BITS, MCounts, Tallies, Weights, estimate
from enrich_dist.schema import MIN_SAME_TOWN, NameLevel, PlaceLevel, StreetLevel

RECIPIENTS = 100_000
RARE = 40.0
"""Bits of a name that is rarer than any namesake."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Weights by the defaults, for recipients of which a tenth has no place."""
    empty = {"names": [], "ueis": [], "duns": [], "locations": [], "award_count": 1}
    rows = [{"company_id": 0, "company_key": "0", "name": "KITWARE", **empty}]
    directory = tmp_path_factory.mktemp("index")
    build_index(pa.Table.from_pylist(rows, schema=schema.COMPANY), directory)
    counts = {"recipients": {0: RECIPIENTS}, "placeless": {0: RECIPIENTS // 10}}
    return estimate(counts, MCounts(), open_index(directory).vocabulary)


def observed_of(start: Weights, companies: int, rows: list[dict[str, Any]]) -> Observed:
    """Candidates from rows of company, name, place, street, placeless; all names are rare."""
    rows = sorted(rows, key=lambda row: int(row["company"]))
    column = {name: np.array([int(row.get(name, 0)) for row in rows], dtype=np.int64)
              for name in ("company", "name", "place", "street", "placeless", "is_known")}  # fmt: skip
    equal = column["name"] >= NameLevel.SPELLING_VARIANT
    counted = np.bincount(column["company"][equal], minlength=companies)[column["company"]]
    namesakes = np.clip(counted, 1, 8)
    in_town = column["place"] >= MIN_SAME_TOWN
    weight = (
        start.name[column["name"]] + np.array(LEVEL_BITS)[column["name"]] + start.max_name_bits[column["name"]]
        + start.namesakes[namesakes] + start.place[column["place"]] + start.placeless[column["placeless"]]
        + np.where(in_town, start.street[column["street"]], 0.0)
    )  # fmt: skip
    is_known = column.pop("is_known").astype(bool)
    return Observed(
        companies=companies, weight=weight, information=np.full(len(rows), RARE), namesakes=namesakes,
        is_known=is_known, **column,
    )  # fmt: skip


def drawn(seed: int, companies: int, *, share: float = 0.6, moved: float = 0.2, namesakes: float = 0.1,
          placeless: float = 0.02, same_street: float = 0.5) -> list[dict[str, Any]]:  # fmt: skip
    """Candidates of companies: partners, and namesakes in other states."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for company in range(companies):
        if random.random() < share:
            row = {"company": company, "name": NameLevel.EQUAL if random.random() < 0.7 else NameLevel.SPELLING_VARIANT}
            if random.random() < placeless:
                row["placeless"] = 1
            elif random.random() < moved:
                row["place"] = PlaceLevel.DIFFERENT_CITY
            else:
                row["place"] = PlaceLevel.SAME_CITY_AND_ZIP
                row["street"] = StreetLevel.SAME if random.random() < same_street else StreetLevel.DIFFERENT
            rows.append(row)
        rows += [{"company": company, "name": NameLevel.EQUAL, "place": PlaceLevel.DIFFERENT_STATE}
                 for _ in range(random.poisson(namesakes))]  # fmt: skip
    return rows


def test_planted_parameters_are_recovered(start: Weights) -> None:
    companies = 20_000
    found = fit(start, observed_of(start, companies, drawn(1, companies)))
    shares = found.weights.tallies.shares()

    assert found.partner_share == pytest.approx(0.6, abs=0.02)
    assert shares.name[NameLevel.SPELLING_VARIANT] / shares.name[NameLevel.EQUAL] == pytest.approx(3 / 7, abs=0.03)
    assert shares.place[KNOWN_PLACES.index(PlaceLevel.DIFFERENT_CITY)] == pytest.approx(0.2, abs=0.02)
    assert shares.street[-1] == pytest.approx(0.5, abs=0.02)
    assert shares.placeless[1] == pytest.approx(0.02, abs=0.01)
    assert shares.namesakes[1:] @ np.arange(1, 9) == pytest.approx(0.1, abs=0.02)
    assert shares.namesake_place[0] == pytest.approx(1.0, abs=0.01)
    # What is not estimated keeps its share.
    assert shares.name[NameLevel.NOTHING_IN_COMMON] == pytest.approx(start.tallies.shares().name[0])


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000), share=st.floats(0.05, 0.95), moved=st.floats(0.0, 0.5), same_street=st.floats(0.1, 1.0)
)
def test_posterior_never_decreases(start: Weights, seed: int, share: float, moved: float, same_street: float) -> None:
    """Without namesakes, whose number is a correction and no likelihood."""
    rows = drawn(seed, 400, share=share, moved=moved, same_street=same_street, namesakes=0.0)
    history = fit(start, observed_of(start, 400, rows)).log_posterior

    assert len(history) > 1
    assert (np.diff(history) >= -1e-6 * np.abs(history[:-1])).all()


def shares_of(found: Estimated) -> list[float]:
    shares = found.weights.tallies.shares()
    return [round(float(share), 9) for field in fields(Tallies) for share in getattr(shares, field.name)]


def test_same_candidates_give_the_same_weights(start: Weights) -> None:
    observed = observed_of(start, 500, drawn(3, 500))
    assert shares_of(fit(start, observed)) == shares_of(fit(start, observed))


def test_equal_candidates_may_be_one_entry(start: Weights) -> None:
    rows = drawn(4, 500, namesakes=2.0)
    observed = observed_of(start, 500, rows)
    column = {f.name: getattr(observed, f.name) for f in fields(Observed) if f.name not in ("companies", "number")}
    candidates = np.column_stack(list(column.values()))
    _, first, number = np.unique(candidates, axis=0, return_index=True, return_counts=True)
    assert number.max() > 2
    merged = {name: values[first] for name, values in column.items()}

    one, several = (fit(start, given) for given in (Observed(500, **merged, number=number * 1.0), observed))

    assert shares_of(one) == shares_of(several)
    assert one.log_posterior == pytest.approx(several.log_posterior)


def test_small_tables_stay_near_the_defaults(start: Weights) -> None:
    rows = [{"company": 0, "name": NameLevel.TYPO, "place": PlaceLevel.DIFFERENT_CITY},
            {"company": 1, "name": NameLevel.EQUAL, "place": PlaceLevel.SAME_CITY_AND_ZIP}]  # fmt: skip
    found = fit(start, observed_of(start, 5, rows)).weights

    for name in ("name", "place", "street"):
        assert getattr(found, name) == pytest.approx(getattr(start, name), abs=0.7)


def test_known_pairs_count_once(start: Weights) -> None:
    """Pairs with an equal identifier are counted before, so they change no share of levels."""
    rows = [{"company": n, "name": NameLevel.TYPO, "place": PlaceLevel.DIFFERENT_CITY, "is_known": 1}
            for n in range(300)]  # fmt: skip
    found = fit(start, observed_of(start, 300, rows)).weights

    assert found.name[1:] == pytest.approx(start.name[1:], abs=1e-6)
    assert found.place == pytest.approx(start.place, abs=1e-6)


def test_recipients_without_a_place_weigh_what_partners_show(start: Weights, tmp_path: Path) -> None:
    """Partners have places: a recipient without one is evidence against it. Where none has a place, it says nothing."""
    placed = fit(start, observed_of(start, 2_000, drawn(5, 2_000, placeless=0.0))).weights
    assert placed.placeless[1] < -2 < 0 < placed.placeless[0]

    nowhere = replace(start, placeless_u=np.array([0.0, 1.0]))
    nowhere = nowhere.with_tallies(replace(start.tallies, placeless=np.array([0.0, 10.0])))
    found = fit(nowhere, observed_of(nowhere, 2_000, drawn(5, 2_000, placeless=1.0, namesakes=0.0))).weights
    assert found.placeless.tolist() == [0.0, 0.0]


def test_many_namesakes_make_a_name_weaker(start: Weights) -> None:
    """In a table of sites, an equal name in another state is mostly another site."""
    few, many = (
        fit(start, observed_of(start, 3_000, drawn(7, 3_000, namesakes=rate))).weights for rate in (0.005, 0.5)
    )
    assert many.max_name_bits[NameLevel.EQUAL] < few.max_name_bits[NameLevel.EQUAL] - 3
    similar = many.max_name_bits[: NameLevel.SPELLING_VARIANT]
    assert (similar <= many.max_name_bits[NameLevel.EQUAL]).all(), "they say no more than equal names"


def test_namesakes_of_all_companies_are_expected(start: Weights) -> None:
    """Where every company has another site of its name, having one is more frequent than having none."""
    rows = drawn(3, 2_000, moved=0.0, namesakes=0.0)
    rows += [{"company": n, "name": NameLevel.EQUAL, "place": PlaceLevel.DIFFERENT_STATE} for n in range(2_000)]
    found = fit(start, observed_of(start, 2_000, rows)).weights
    shares = found.tallies.shares().namesakes
    assert shares[1] > shares[0]
    assert found.max_name_bits[NameLevel.EQUAL] < start.max_name_bits[NameLevel.EQUAL] - 6


def test_namesakes_are_no_rarer_than_by_default(start: Weights) -> None:
    """A few names elsewhere, which may be namesakes or partners that moved, are not all taken for partners."""
    rows = drawn(4, 3_000, share=0.05, moved=0.0, namesakes=0.0)
    rows += [{"company": n, "name": NameLevel.EQUAL, "place": PlaceLevel.DIFFERENT_STATE} for n in range(2_985, 3_000)]
    shares = fit(start, observed_of(start, 3_000, rows)).weights.tallies.shares().namesakes
    assert shares[1] / shares[0] >= 0.01 - 1e-9


def test_rivals_in_town_weaken_similar_names(start: Weights) -> None:
    rivals = [{"company": n, "name": NameLevel.ADDITIONAL_COMMON_WORDS, "place": PlaceLevel.SAME_CITY_AND_ZIP,
               "street": StreetLevel.DIFFERENT} for n in range(0, 1_000, 5)]  # fmt: skip
    partners = [{"company": n, "name": NameLevel.EQUAL, "place": PlaceLevel.SAME_CITY_AND_ZIP,
                 "street": StreetLevel.SAME} for n in range(1_000)]  # fmt: skip
    plain = fit(start, observed_of(start, 1_000, partners)).weights
    found = fit(start, observed_of(start, 1_000, rivals + partners)).weights
    level = NameLevel.ADDITIONAL_COMMON_WORDS
    assert found.partial_town[level] < plain.partial_town[level] - 3
