"""The reduce on hand-made candidates: who is one organisation, who wins and how probably; accuracy, reconciliation,
verdict."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from enrich_dist import schema
from enrich_dist.core.database import connect
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.decisions import CONFIRMED_BITS, UNSEEN_PARTNER_SHARE
from enrich_dist.matching.index import build_index, open_index
from enrich_dist.matching.weights import MCounts, Weights, estimate
from enrich_dist.results import quality
from enrich_dist.results.quality import Gate
from enrich_dist.results.reduce import (
    MatchedAwardCounter,
    count_identified_pairs,
    create_candidates,
    create_matches,
    create_scored,
    read_counts,
)
from enrich_dist.schema import Agreement, NameKind, NameLevel, PlaceLevel, StreetLevel

RECIPIENTS = 100_000
NAMES = ["KITWARE", "QUUXLY", "ZYMERGEN"]
EXACT_NAME = {"name_level": NameLevel.EQUAL, "name_agreement": 1.0, "name_similarity": 1.0}
OTHER_STATE = {"place_level": PlaceLevel.DIFFERENT_STATE, "state_agreement": Agreement.CONFLICT}
SAME_TOWN = {"place_level": PlaceLevel.SAME_CITY_AND_ZIP, "state_agreement": 1, "city_agreement": 1, "zip_agreement": 1}
BOSTON = {"city": "BOSTON", "state": "MA", "zip5": "02110"}
SALEM = {"city": "SALEM", "state": "MA", "zip5": "01970"}
MAIN, ELM = {"address_line_1": "1 MAIN ST"}, {"address_line_1": "9 ELM RD"}


def candidate(company_id: int, recipient_id: str, **values: Any) -> dict[str, Any]:
    """A candidate that agrees in nothing but what is given; the company's name is the one of its number."""
    return {
        "company_id": company_id, "uei_agreement": 0, "duns_agreement": 0,
        "name_level": NameLevel.ADDITIONAL_WORDS, "name_agreement": 0.2,
        "name_similarity": 0.2, "name_kind": 0, "name_code": company_id, "state_agreement": 0, "city_agreement": 0,
        "zip_agreement": 0, "place_level": 0, "street_level": 0, "source_row": sum(map(ord, recipient_id)),
        "recipient_id": recipient_id, **values,
    }  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Default weights for companies of three rare names."""
    empty = {"names": [], "ueis": [], "duns": [], "locations": [], "award_count": 1}
    rows = [{"company_id": n, "company_key": str(n), "name": name, **empty} for n, name in enumerate(NAMES)]
    directory = tmp_path_factory.mktemp("index")
    build_index(pa.Table.from_pylist(rows, schema=schema.COMPANY), directory)
    return estimate({"recipients": {0: RECIPIENTS}}, MCounts(), open_index(directory).vocabulary)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(memory_mb=200, scratch=tmp_path / "scratch") as opened:
        rows = [
            {"company_id": n, "company_key": f"k{n}", "name": f"N{n}", "award_count": n + 1, "names": [], "ueis": [],
             "duns": [], "locations": []}
            for n in range(3)
        ]  # fmt: skip
        opened.from_arrow(pa.Table.from_pylist(rows, schema=schema.COMPANY)).create("companies")
        opened.from_arrow(schema.OVERRIDE.empty_table()).create("overrides")
        yield opened


def checkpoints(folder: Path, *chunks: Sequence[dict[str, Any]]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = []
    for number, rows in enumerate(chunks):
        paths.append(folder / f"{number}.parquet")
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema.CANDIDATE), paths[-1])
    return paths


class Reduce:
    """Matches of candidates on one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, weights: Weights) -> None:
        self.connection = connection
        self.weights = weights
        self.share = 0.0

    def of(self, paths: list[Path], decision: DecisionConfig | None = None) -> list[dict[str, Any]]:
        """The matches of the checkpoints, by company."""
        create_candidates(self.connection, paths)
        create_scored(self.connection, self.weights)
        self.share = create_matches(self.connection, decision or DecisionConfig(), RECIPIENTS)
        return self.connection.sql("from company_matches order by company_id").to_arrow_table().to_pylist()

    def rows(self, *rows: dict[str, Any], decision: DecisionConfig | None = None) -> list[dict[str, Any]]:
        """The matches of candidates."""
        self.connection.from_arrow(pa.Table.from_pylist(list(rows), schema=schema.CANDIDATE)).create_view(
            "candidates", replace=True
        )
        create_scored(self.connection, self.weights)
        self.share = create_matches(self.connection, decision or DecisionConfig(), RECIPIENTS)
        return self.connection.sql("from company_matches order by company_id").to_arrow_table().to_pylist()

    def decide(self, *decisions: tuple[str, str, str]) -> None:
        """Set what persons decided: (company key, recipient, decision)."""
        table = pa.Table.from_pylist(
            [dict(zip(schema.OVERRIDE.names, decision, strict=True)) for decision in decisions], schema=schema.OVERRIDE
        )
        self.connection.execute("drop table overrides")
        self.connection.from_arrow(table).create("overrides")


@pytest.fixture
def reduced(connection: duckdb.DuckDBPyConnection, weights: Weights) -> Reduce:
    return Reduce(connection, weights)


# --- one best recipient ----------------------------------------------------------------------------------------


def test_the_best_candidate_wins_and_the_runner_up_is_told(tmp_path: Path, reduced: Reduce) -> None:
    first, second, _ = reduced.of(
        checkpoints(
            tmp_path / "c",
            [candidate(0, "r-weak", **EXACT_NAME, **OTHER_STATE, uei="X1", name="WEAK")],
            [candidate(0, "r-best", **EXACT_NAME, **SAME_TOWN, uei="X2", name="BEST", **BOSTON)],
        )
    )

    assert (first["match_status"], first["match_method"], first["recipient_id"]) == (
        "matched", "exact_name_place", "r-best",
    )  # fmt: skip
    assert (first["recipient_name"], first["recipient_city"], first["recipient_source_row"]) == (
        "BEST", "BOSTON", sum(map(ord, "r-best")),
    )  # fmt: skip
    assert 0 < first["runner_up_probability"] < 0.01 < 0.9 < first["match_probability"]
    assert first["match_probability"] + first["runner_up_probability"] <= first["partner_probability"] <= 1
    assert (second["match_status"], second["recipient_id"], second["match_probability"]) == ("unmatched", None, None)


def test_the_weight_is_the_sum_of_what_the_comparisons_weigh(reduced: Reduce, weights: Weights) -> None:
    first = reduced.rows(candidate(0, "r", **EXACT_NAME, **SAME_TOWN, street_level=StreetLevel.SAME, uei_agreement=-1))[
        0
    ]

    parts = {name: first[f"{name}_weight"] for name in ("name", "place", "street", "uei", "duns")}
    assert first["match_weight"] == pytest.approx(sum(parts.values()), abs=1e-3)
    assert parts["place"] == pytest.approx(weights.place[7], abs=1e-4)
    assert parts["street"] == pytest.approx(weights.street[3], abs=1e-4)
    assert parts["uei"] == pytest.approx(weights.uei[0], abs=1e-4)
    assert parts["duns"] == 0


def test_the_probability_is_the_odds_over_all_odds(reduced: Reduce) -> None:
    rows = [candidate(0, "a", **EXACT_NAME, **SAME_TOWN), candidate(0, "b", **EXACT_NAME, **OTHER_STATE)]
    rows += [candidate(1, "c", **EXACT_NAME), candidate(1, "d")]

    found = reduced.rows(*rows)

    weight = dict(reduced.connection.execute("select recipient_id, match_weight from scored").fetchall())
    prior = reduced.share / (1 - reduced.share) / RECIPIENTS
    for match, (best, other) in zip(found, (("a", "b"), ("c", "d")), strict=False):
        odds = {name: prior * 2 ** weight[name] for name in (best, other)}
        everything = 1 + (1 + UNSEEN_PARTNER_SHARE) * sum(odds.values())
        assert match["recipient_id"] == best
        assert match["match_probability"] == pytest.approx(odds[best] / everything, abs=1e-5)
        assert match["runner_up_probability"] == pytest.approx(odds[other] / everything, abs=1e-5)


def test_however_well_a_name_agrees_the_partner_may_be_another_unless_an_identifier_says_so(reduced: Reduce) -> None:
    rows = [candidate(0, "a", **EXACT_NAME, **SAME_TOWN), candidate(1, "b", **EXACT_NAME, **SAME_TOWN, uei_agreement=1)]

    by_name, by_uei, *_ = reduced.rows(*rows)

    assert by_name["match_probability"] == pytest.approx(1 / (1 + UNSEEN_PARTNER_SHARE), abs=1e-3)
    assert by_uei["match_probability"] > 0.999
    assert by_uei["match_method"] == "uei"


@pytest.mark.parametrize("rivals", [2, 3, 7])
def test_rivals_that_are_alike_are_as_probable_as_each_other(reduced: Reduce, rivals: int) -> None:
    rows = [candidate(0, f"r-{n}", **EXACT_NAME, **SAME_TOWN, uei=f"X{n}") for n in range(rivals)]

    first = reduced.rows(*rows)[0]

    assert first["match_status"] == "review"
    assert (
        first["match_probability"]
        == first["runner_up_probability"]
        == pytest.approx(1 / rivals / (1 + UNSEEN_PARTNER_SHARE), abs=1e-3)
    )
    assert rivals * first["match_probability"] <= 1
    assert first["recipient_id"] == "r-0", "of equal ones the first by its id"


def test_thresholds_set_the_status(reduced: Reduce) -> None:
    rows = [candidate(0, f"r-{n}", **EXACT_NAME, **SAME_TOWN, uei=f"X{n}") for n in range(2)]

    def status(accept: float, review: float) -> str:
        found = reduced.rows(*rows, decision=DecisionConfig(accept_probability=accept, review_probability=review))
        return str(found[0]["match_status"])

    assert [status(0.4, 0.1), status(0.6, 0.4), status(0.7, 0.6)] == ["matched", "review", "unmatched"]


def test_order_and_chunks_of_candidates_change_nothing(tmp_path: Path, reduced: Reduce) -> None:
    rows = [
        candidate(company, f"r-{n}", **EXACT_NAME, **(SAME_TOWN if n % 3 else {}), uei=f"X{n % 4}")
        for company, n in itertools.product(range(3), range(12))
    ]
    expected = reduced.of(checkpoints(tmp_path / "whole", rows))

    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        cut = 1 + seed * 7
        assert reduced.of(checkpoints(tmp_path / f"{seed}", shuffled[:cut], shuffled[cut:])) == expected


PLACES = [({}, {}), (SAME_TOWN, BOSTON), (SAME_TOWN, {**BOSTON, **MAIN}), (OTHER_STATE, {"state": "OH"})]
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "company_id": st.integers(0, 2),
            "name_level": st.sampled_from(NameLevel),
            "name_code": st.integers(0, 2),
            "name_kind": st.sampled_from(NameKind),
            "uei": st.sampled_from([None, "X1", "X2"]),
            "uei_agreement": st.sampled_from(Agreement),
            "duns_agreement": st.sampled_from(Agreement),
            "street_level": st.sampled_from(StreetLevel),
            "place": st.sampled_from(PLACES),
        }
    ),
    max_size=15,
)


@given(ROWS, st.randoms(use_true_random=False))
@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_probabilities_of_a_company_sum_to_one_at_most_whatever_the_order(
    reduced: Reduce, rows: list[dict[str, Any]], order: random.Random
) -> None:
    made = []
    for number, row in enumerate(rows):
        agreements, place = row["place"]
        known = {key: value for key, value in row.items() if key not in ("company_id", "place")}
        made.append(candidate(row["company_id"], f"r{number:02}", source_row=number, **known, **agreements, **place))

    found = reduced.rows(*made)

    assert [match["company_id"] for match in found] == [0, 1, 2]
    for match in found:
        if match["recipient_id"] is not None:
            assert 0 <= match["runner_up_probability"] <= match["match_probability"] <= 1
            assert match["match_probability"] + match["runner_up_probability"] <= match["partner_probability"] + 2e-6
            assert match["partner_probability"] <= 1
        else:
            assert all(row["company_id"] != match["company_id"] for row in made)
    assert reduced.rows(*order.sample(made, len(made))) == found


def test_no_candidate_at_all_leaves_every_company_unmatched(reduced: Reduce) -> None:
    assert [row["match_status"] for row in reduced.of([])] == ["unmatched"] * 3


# --- organisations ---------------------------------------------------------------------------------------------

UEI_1, UEI_2 = {"uei": "AAAAAAAAAAA1"}, {"uei": "AAAAAAAAAAA2"}


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        ({**UEI_1, **BOSTON, **MAIN}, {**UEI_1, **SALEM, **ELM}, True),
        ({**UEI_1, **BOSTON, **MAIN}, {**UEI_2, **BOSTON, **MAIN}, False),
        ({**UEI_1, **BOSTON, **MAIN}, {**BOSTON, **MAIN}, True),
        ({**UEI_1, **BOSTON, **MAIN}, {**BOSTON, "address_line_1": "1 Main St"}, True),
        ({**UEI_1, **BOSTON, **MAIN}, {**BOSTON, **ELM}, False),
        ({**UEI_1, **BOSTON, **MAIN}, {**SALEM, **MAIN}, False),
        ({**UEI_1, **BOSTON, **MAIN}, BOSTON, True),
        ({**UEI_1, **BOSTON, **MAIN}, SALEM, False),
        ({**UEI_1, **BOSTON}, BOSTON, True),
        ({**UEI_1, **BOSTON}, {}, True),
        ({**UEI_1}, {}, True),
        ({**UEI_1, **BOSTON}, {"duns": "001234567"}, False),
        ({**BOSTON, **MAIN}, {**BOSTON, **MAIN}, True),
        ({**BOSTON, **MAIN}, {**BOSTON, **ELM}, False),
        ({**BOSTON, **MAIN}, BOSTON, True),
        (BOSTON, BOSTON, True),
        (BOSTON, SALEM, False),
        (BOSTON, {}, True),
        ({}, {}, True),
    ],
    ids=[
        "same-uei", "other-uei", "no-uei-same-street", "no-uei-same-street-in-other-case", "no-uei-other-street",
        "no-uei-same-street-of-another-town", "no-uei-no-street", "no-uei-other-town", "no-uei-no-streets",
        "name-only", "uei-only-and-name-only", "duns-without-place", "without-uei-same-street",
        "without-uei-other-street", "without-uei-no-street", "same-town", "other-town", "town-and-name-only",
        "name-only-twice",
    ],
)  # fmt: skip
def test_rows_of_one_name_that_can_be_one_firm_are_one_organisation_and_others_rivals(
    reduced: Reduce, one: dict[str, str], other: dict[str, str], joined: bool
) -> None:
    rows = [candidate(0, "one", **EXACT_NAME, **one), candidate(0, "other", **EXACT_NAME, **other)]
    for made in (rows, rows[::-1]):
        first = reduced.rows(*made)[0]
        alone = reduced.rows(made[0])[0]
        assert (first["runner_up_probability"] == 0) is joined
        assert (first["match_probability"] == alone["match_probability"]) is joined


def test_names_that_are_not_the_same_are_rivals_at_one_street(reduced: Reduce) -> None:
    where = {**SAME_TOWN, **BOSTON, **MAIN}
    known = candidate(0, "known", **EXACT_NAME, **where, **UEI_1)
    alike = [
        candidate(0, "alike", name_level=NameLevel.TYPO, name_agreement=0.9, **where),
        candidate(0, "other", **{**EXACT_NAME, "name_code": 1}, **where),
    ]

    assert all(reduced.rows(known, row)[0]["runner_up_probability"] > 0 for row in alike)
    spelling = candidate(0, "spelling", **{**EXACT_NAME, "name_level": NameLevel.SPELLING_VARIANT}, **where)
    assert reduced.rows(known, spelling)[0]["runner_up_probability"] == 0, "the same name, written otherwise"


def test_a_row_without_a_street_joins_the_best_of_its_town(reduced: Reduce) -> None:
    best = candidate(0, "best", **EXACT_NAME, **SAME_TOWN, street_level=StreetLevel.SAME, **BOSTON, **MAIN, **UEI_1)
    second = candidate(
        0, "second", **EXACT_NAME, **SAME_TOWN, street_level=StreetLevel.DIFFERENT, **BOSTON, **ELM, **UEI_2
    )
    bare = candidate(0, "bare", **EXACT_NAME, **SAME_TOWN, **BOSTON)

    two, three = reduced.rows(best, second)[0], reduced.rows(best, second, bare)[0]

    assert two["recipient_id"] == three["recipient_id"] == "best"
    assert two["match_probability"] == three["match_probability"]
    assert two["partner_probability"] == three["partner_probability"]


def test_the_best_row_stands_for_its_organisation(reduced: Reduce) -> None:
    rows = [
        candidate(0, "elsewhere", **EXACT_NAME, **OTHER_STATE, **SALEM, **UEI_1),
        candidate(0, "here", **EXACT_NAME, **SAME_TOWN, **BOSTON, **UEI_1),
    ]
    alone = reduced.rows(rows[1])[0]
    both = reduced.rows(*rows)[0]
    assert both == alone
    assert both["recipient_id"] == "here"


# --- decisions of persons --------------------------------------------------------------------------------------


def test_a_confirmed_pair_outweighs_all_others(reduced: Reduce) -> None:
    rows = [candidate(0, "best", **EXACT_NAME, **SAME_TOWN, uei_agreement=1, **UEI_1), candidate(0, "meant")]
    reduced.decide(("k0", "meant", "confirm"), ("k1", "best", "confirm"))

    first = reduced.rows(*rows)[0]

    assert (first["recipient_id"], first["match_method"], first["match_status"]) == ("meant", "review", "matched")
    assert (first["match_weight"], first["match_probability"]) == (CONFIRMED_BITS, 1)


def test_a_rejected_pair_is_no_candidate_and_takes_its_organisation_along(reduced: Reduce) -> None:
    rows = [
        candidate(0, "uei", **EXACT_NAME, **SAME_TOWN, **BOSTON, **MAIN, **UEI_1),
        candidate(0, "same-street", **EXACT_NAME, **SAME_TOWN, **BOSTON, **MAIN),
        candidate(0, "rival", **EXACT_NAME, **OTHER_STATE, state="OH"),
        candidate(1, "uei", **EXACT_NAME, **SAME_TOWN, **BOSTON, **MAIN, **UEI_1),
    ]
    assert reduced.rows(*rows)[0]["recipient_id"] == "same-street"
    reduced.decide(("k0", "uei", "reject"))

    first, second, _ = reduced.rows(*rows)

    assert (first["recipient_id"], first["runner_up_probability"]) == ("rival", 0)
    assert second["recipient_id"] == "uei", "of another company"


# --- counts ----------------------------------------------------------------------------------------------------


def test_outcomes_are_counted_among_pairs_that_agree_on_an_identifier(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    identified = {"uei_agreement": 1}
    rows = [
        candidate(0, "a", **EXACT_NAME, **SAME_TOWN, street_level=StreetLevel.SAME, **identified),
        candidate(
            0,
            "b",
            name_level=NameLevel.NOTHING_IN_COMMON,
            **OTHER_STATE,
            street_level=StreetLevel.DIFFERENT,
            uei_agreement=1,
            duns_agreement=-1,
        ),
        candidate(1, "c", **EXACT_NAME, duns_agreement=1, uei_agreement=-1),
        candidate(1, "d", **EXACT_NAME, duns_agreement=1, uei_agreement=1),
        candidate(2, "e", **EXACT_NAME, **SAME_TOWN, street_level=StreetLevel.SAME, uei_agreement=-1),
    ]
    create_candidates(connection, checkpoints(tmp_path / "c", rows[:2], rows[2:]))

    counted = count_identified_pairs(connection)

    assert list(counted.name) == [1, 0, 0, 0, 0, 0, 0, 3]
    assert list(counted.place) == [2, 1, 0, 0, 0, 0, 0, 1]
    assert list(counted.street) == [0, 0, 0, 1], "streets of one town alone"
    assert list(counted.uei) == [1, 1], "where the DUNS agrees"
    assert list(counted.duns) == [1, 1], "where the UEI agrees"


def test_counts_of_all_chunks_are_added(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    parts = [[("recipients", 0, 5), ("concept", 3, 1)], [("recipients", 0, 7), ("concept", 3, 2), ("concept", 4, 1)]]
    paths = []
    for number, part in enumerate(parts):
        paths.append(tmp_path / f"{number}.counts.parquet")
        rows = [dict(zip(schema.COUNT.names, row, strict=True)) for row in part]
        pq.write_table(pa.Table.from_pylist(rows, schema=schema.COUNT), paths[-1])

    assert read_counts(connection, paths) == {
        "recipients": {0: 12}, "concept": {3: 3, 4: 1}, "random_place": {}, "blocks_left_out": {}, "pairs_left_out": {},
    }  # fmt: skip
    assert read_counts(connection, []) == {kind: {} for kind in schema.COUNT_KINDS}


def test_awards_matched_so_far_count_each_company_once(tmp_path: Path) -> None:
    good = {**EXACT_NAME, **SAME_TOWN}
    first, second = checkpoints(
        tmp_path / "c",
        [candidate(0, "a", **good), candidate(1, "b", **EXACT_NAME, **OTHER_STATE)],
        [candidate(0, "c", **good), candidate(2, "d", uei_agreement=1)],
    )
    counter = MatchedAwardCounter(np.array([1, 2, 3], dtype=np.int32))

    counts = [counter.awards()]
    for path in (first, second, second):
        counter.add([path])
        counts.append(counter.awards())

    assert counts == [0, 1, 4, 4]


# --- accuracy --------------------------------------------------------------------------------------------------


def accuracy(*matches: tuple[Any, ...], unreachable_share: float = 0.0) -> dict[str, Any]:
    """Estimated from matches (status, probability, probability of any partner, awards, method)."""
    names = ("match_status", "match_probability", "partner_probability", "award_count", "match_method")
    columns = {name: [match[at] for match in matches] for at, name in enumerate(names)}
    types = dict(zip(names, (pa.string(), pa.float64(), pa.float64(), pa.int32(), pa.string()), strict=True))
    with duckdb.connect() as connection:
        table = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
        connection.from_arrow(table).create("company_matches")
        return quality.estimate_accuracy(connection, unreachable_share=unreachable_share)


GOOD, DOUBTFUL = ("matched", 0.98, 1.0, 1, "exact_name"), ("review", 0.5, 1.0, 5, "exact_name")
NO_PARTNER = ("unmatched", None, None, 3, None)


def test_precision_is_the_mean_probability_of_what_is_accepted() -> None:
    found = accuracy(*[GOOD] * 3, ("matched", 0.7, 0.8, 7, "uei"), DOUBTFUL, NO_PARTNER)

    assert found["precision"]["estimate"] == pytest.approx((3 * 0.98 + 0.7) / 4)
    assert found["precision_by_award"] == pytest.approx((3 * 0.98 + 7 * 0.7) / 10)


def test_recall_is_of_all_that_are_expected_to_have_a_partner() -> None:
    found = accuracy(*[GOOD] * 3, DOUBTFUL, NO_PARTNER)

    assert found["expected_partners"] == pytest.approx(4)
    assert found["recall"]["estimate"] == pytest.approx(3 * 0.98 / 4)


def test_partners_of_another_name_are_missing_where_no_identifier_tells_them() -> None:
    named = accuracy(*[GOOD] * 4, unreachable_share=0.2)
    identified = accuracy(*[(*GOOD[:4], "uei")] * 4, unreachable_share=0.2)

    assert named["expected_partners"] == pytest.approx(5)
    assert named["recall"]["estimate"] == pytest.approx(4 * 0.98 / 5)
    assert identified["expected_partners"] == pytest.approx(4)
    assert named["precision"] == identified["precision"]


@pytest.mark.parametrize("measure", ["precision", "recall"])
def test_intervals_hold_the_estimate_and_shrink_with_more_matches(measure: str) -> None:
    few, many = accuracy(*[GOOD] * 10, DOUBTFUL)[measure], accuracy(*[GOOD] * 1000, *[DOUBTFUL] * 100)[measure]

    for share in (few, many):
        assert 0 <= share["low"] < share["estimate"] < share["high"] <= 1
    assert many["high"] - many["low"] < (few["high"] - few["low"]) / 4


def test_an_interval_is_that_of_jeffreys_prior() -> None:
    """Nine of ten right: the interval that Brown, Cai and DasGupta (2001) tabulate."""
    share = accuracy(*[("matched", 0.9, 1.0, 1, "uei")] * 10)["precision"]
    assert (share["low"], share["high"]) == (pytest.approx(0.619, abs=5e-3), pytest.approx(0.989, abs=5e-3))


def test_shares_of_nothing_are_unknown() -> None:
    found = accuracy(NO_PARTNER)

    assert found["precision"] == found["recall"] == {"estimate": None, "low": None, "high": None}
    assert found["precision_by_award"] is None
    assert accuracy()["expected_partners"] == 0


# --- reconciliation and verdict --------------------------------------------------------------------------------

AWARDS = {"valid": 10, "matched": 7, "review": 1, "unmatched": 2}


def reconcile(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "award_rows_read": 12, "award_rows_rejected": 2, "metrics": {"awards": AWARDS}, "recipient_source_rows": 21,
        "recipient_rows_rejected": 1, "chunks": [(10, 3, 7, 0), (10, 0, 9, 1)], "candidates_written": 5,
        "candidates_read": 5, **changes,
    }  # fmt: skip
    return quality.reconcile(**values)


def test_rows_that_are_all_accounted_for_balance() -> None:
    found = reconcile()

    assert found["balanced"]
    assert found["awards"] == {
        "read": 12, "matched": 7, "review": 1, "unmatched": 2, "invalid": 2, "quarantined": 0,
    }  # fmt: skip
    assert found["recipients"] == {
        "read": 21, "with_candidates": 3, "without_candidates": 16, "invalid": 1, "quarantined": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"award_rows_read": 13}, "13 award rows were read, 12 are accounted for"),
        ({"candidates_read": 4}, "workers wrote 5 candidates, the reduce read 4"),
        ({"recipient_source_rows": 22}, "22 recipient rows were read, 21 are accounted for"),
        (
            {"chunks": [(10, 3, 7, 0), (10, 0, 9, 0)], "recipient_source_rows": 20},
            "chunk 1 was planned with 10 rows, 9",
        ),
    ],
)
def test_a_missing_row_is_named_and_blocks(changes: dict[str, Any], sentence: str) -> None:
    found = reconcile(**changes)

    verdict = judge(reconciliation=found)

    assert sentence in "; ".join(found["differences"])
    assert verdict["status"] == "blocked"
    assert sentence in "; ".join(verdict["reasons"])


def judge(
    rate: float = 0.7,
    threshold: float = 0.7,
    precision: float | None = 0.99,
    least: float = 0.95,
    set_aside: float = 0.1,
    **changes: Any,
) -> dict[str, Any]:
    metrics = {
        "match_rate": rate,
        "awards": AWARDS,
        "accuracy": {"precision": {"estimate": precision}},
        "reconciliation": reconcile(),
        "completeness": {"chunks_missing": 0},
        **changes,
    }
    return quality.judge(
        metrics, Gate(match_rate_threshold=threshold, min_estimated_precision=least, max_quarantined_share=set_aside)
    )


def test_the_threshold_itself_passes_and_less_does_not() -> None:
    assert judge(0.7)["status"] == "passed"
    assert judge(0.6999)["status"] == "blocked"
    assert "match rate 0.6999, threshold 0.7000" in judge(0.6999)["reasons"][0]


def test_matches_that_are_too_often_wrong_block_whatever_the_match_rate() -> None:
    assert judge(1.0, precision=0.95)["status"] == "passed"
    verdict = judge(1.0, precision=0.9499)

    assert verdict["status"] == "blocked"
    assert verdict["reasons"] == [
        "of the accepted matches 0.9499 are right by their own probabilities, at least 0.9500 must be"
    ]
    check = quality.get_check(verdict, "estimated_precision")
    assert (check["passed"], check["value"], check["threshold"]) == (False, 0.9499, 0.95)


def test_nothing_accepted_is_nothing_wrong() -> None:
    assert judge(0.0, threshold=0.0, precision=None)["status"] == "passed"


def test_a_missing_chunk_blocks() -> None:
    verdict = judge(completeness={"chunks_missing": 1})

    assert verdict["status"] == "blocked"
    assert verdict["reasons"] == ["1 of the planned chunks are missing from the result"]


def test_every_failed_check_is_a_reason() -> None:
    verdict = judge(
        0.1,
        precision=0.1,
        set_aside=0.01,
        completeness={"chunks_missing": 1},
        reconciliation=reconcile(candidates_read=4),
    )

    assert [check["passed"] for check in verdict["checks"]] == [False] * 5
    assert len(verdict["reasons"]) == 5
    assert "1 of 21 recipients were set aside, at most 1.00% may be" in verdict["reasons"]
