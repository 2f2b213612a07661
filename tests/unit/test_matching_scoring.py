"""Methods and scores of comparison vectors, evaluated by DuckDB as the reduce does."""

from __future__ import annotations

import itertools
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from enrich_dist import schema
from enrich_dist.errors import SettingsError
from enrich_dist.matching.scoring import METHODS, DecisionConfig, method_sql, score_sql

UNKNOWN = {
    "uei_agreement": 0,
    "duns_agreement": 0,
    "name_exact": False,
    "name_similarity": 0.5,
    "alternate_name": False,
    "state_agreement": 0,
    "city_agreement": 0,
    "zip_agreement": 0,
    "street_similarity": None,
}
EXACT = {"name_exact": True, "name_similarity": 1.0}
STATE = {"state_agreement": 1}
CITY = {"state_agreement": 1, "city_agreement": 1}
OTHER_CITY = {"state_agreement": 1, "city_agreement": -1}
OTHER_STATE = {"state_agreement": -1, "city_agreement": -1}


def judge(vectors: list[dict[str, Any]]) -> list[tuple[str, float]]:
    table = pa.Table.from_pylist([{**UNKNOWN, **vector} for vector in vectors], schema=schema.COMPARISON)
    with duckdb.connect() as connection:
        connection.register("vectors", table)
        return connection.sql(f"SELECT {method_sql()}, {score_sql()} FROM vectors").fetchall()


def similar(value: float, **columns: Any) -> dict[str, Any]:
    return {"name_similarity": value, **columns}


@pytest.mark.parametrize(
    ("vector", "method", "score"),
    [
        ({"uei_agreement": 1}, "uei", 1.0),
        ({"uei_agreement": 1, "duns_agreement": -1, **OTHER_STATE}, "uei", 1.0),
        (similar(0.1, uei_agreement=1), "uei", 0.99),
        ({"duns_agreement": 1}, "duns", 0.98),
        (similar(0.1, duns_agreement=1), "duns", 0.975),
        ({"duns_agreement": 1, "uei_agreement": -1}, "duns", 0.85),
        ({**EXACT, **CITY, "zip_agreement": 1}, "exact_name_place", 0.975),
        ({**EXACT, **CITY}, "exact_name_place", 0.97),
        ({**EXACT, "zip_agreement": 1}, "exact_name_place", 0.97),
        ({**EXACT, **STATE}, "exact_name_place", 0.94),
        ({**EXACT, **OTHER_CITY}, "exact_name_place", 0.92),
        ({**EXACT, **CITY, "duns_agreement": -1}, "exact_name_place", 0.95),
        ({**EXACT, **CITY, "uei_agreement": -1}, "exact_name_place", 0.85),
        (EXACT, "exact_name", 0.85),
        ({**EXACT, **OTHER_STATE}, "exact_name", 0.75),
        ({**EXACT, "zip_agreement": -1}, "exact_name", 0.75),
        (similar(0.93, **CITY), "fuzzy_name_place", 0.90),
        (similar(1.0, **CITY), "fuzzy_name_place", 0.95),
        (similar(0.9299, **CITY), "fuzzy_name_place", 0.8998),
        (similar(1.0, **CITY, uei_agreement=-1), "fuzzy_name_place", 0.85),
        (similar(0.85, **CITY, street_similarity=0.9), "fuzzy_name_place", 0.90),
        (similar(0.85, **CITY, street_similarity=0.8999), "fuzzy_name_place", 0.8225),
        (similar(0.61, **CITY, street_similarity=1.0), "fuzzy_name_place", 0.7474),
        (similar(0.97, **STATE), "fuzzy_name_place", 0.90),
        (similar(1.0, **STATE), "fuzzy_name_place", 0.92),
        (similar(1.0, **OTHER_CITY), "fuzzy_name_place", 0.85),
        (similar(0.9), "fuzzy_name", 0.765),
        (similar(1.0, **OTHER_STATE), "fuzzy_name", 0.75),
        (similar(0.0), "fuzzy_name", 0.0),
    ],
)
def test_method_and_score(vector: dict[str, Any], method: str, score: float) -> None:
    assert judge([vector]) == [(method, score)]


@pytest.fixture(scope="module")
def everything() -> list[tuple[dict[str, Any], str, float]]:
    """Every combination of agreements, with some similarities."""
    agreement = (-1, 0, 1)
    names = [(True, 1.0), *((False, value) for value in (0.0, 0.29, 0.85, 0.93, 0.97, 1.0))]
    vectors = [
        dict(zip(UNKNOWN, (uei, duns, exact, value, False, state, city, zip5, street), strict=True))
        for uei, duns, (exact, value), state, city, zip5, street in itertools.product(
            agreement, agreement, names, agreement, agreement, agreement, (None, 0.0, 0.9, 1.0)
        )
    ]
    return [(vector, *judged) for vector, judged in zip(vectors, judge(vectors), strict=True)]


def test_scores_lie_in_range_with_four_decimals(everything: list[tuple[dict[str, Any], str, float]]) -> None:
    assert all(0 <= score <= 1 and round(score, 4) == score for _, _, score in everything)
    assert {method for _, method, _ in everything} == set(METHODS)


def test_what_must_never_be_accepted(everything: list[tuple[dict[str, Any], str, float]]) -> None:
    accept = DecisionConfig().accept_score
    for vector, method, score in everything:
        if method in {"exact_name", "fuzzy_name"} or (method != "uei" and vector["uei_agreement"] == -1):
            assert score < accept, vector


def test_cascade_ranks_identifiers_first(everything: list[tuple[dict[str, Any], str, float]]) -> None:
    def bounds(method: str) -> tuple[float, float]:
        scores = [s for vector, m, s in everything if m == method and vector["uei_agreement"] != -1]
        return min(scores), max(scores)

    assert bounds("uei")[0] > bounds("duns")[1]
    assert bounds("duns")[0] >= bounds("exact_name_place")[1]
    assert bounds("exact_name_place")[1] > bounds("fuzzy_name_place")[1]


@pytest.mark.parametrize(
    "settings",
    [{"accept_score": 0.0}, {"accept_score": 1.1}, {"review_score": 0.95}, {"review_score": -0.1}, {"min_margin": 2}],
)
def test_thresholds_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        DecisionConfig(**settings)
