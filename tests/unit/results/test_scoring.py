"""Scoring and matches of hand-made candidates: organisations, probabilities, review decisions, counts."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from enrich_dist import schema
from enrich_dist.core.database import connect
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.decisions import CONFIRMED_BITS, SAME_PLACE, UNSEEN_PARTNER_SHARE
from enrich_dist.matching.index import build_index, open_index
from enrich_dist.matching.weights import MCounts, Weights, estimate
from enrich_dist.results import candidate_parts, candidate_tables
from enrich_dist.results.candidate_tables import CandidateTables, read_candidates, read_counts, split_candidates
from enrich_dist.results.estimation import count_identified_pairs
from enrich_dist.results.reduce import create_matches
from enrich_dist.results.scoring import Scores, score
from enrich_dist.results.tables import Table, store_table
from enrich_dist.schema import AddressLevel, Agreement, NameKind, NameLevel, StreetLevel
from tests.support.candidates import (
    BOSTON,
    ELM,
    EXACT_NAME,
    MAIN,
    OTHER_STATE,
    SALEM,
    SAME_TOWN,
    candidate,
    candidate_table,
    drop_tables,
    write_checkpoints,
)

RECIPIENTS = 100_000
NAMES = ["KITWARE", "QUUXLY", "ZYMERGEN"]


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
        yield opened


class Scorer:
    """Scores candidates of three companies; ``scores`` are the latest."""

    scores: Scores

    def __init__(self, connection: duckdb.DuckDBPyConnection, weights: Weights) -> None:
        self.connection = connection
        self.weights = weights
        self.drop_tables()

    def drop_tables(self) -> None:
        """Begin anew, as each example of a property does."""
        drop_tables(self.connection)
        rows = [
            {
                "company_id": n,
                "company_key": f"k{n}",
                "name": f"N{n}",
                "award_count": n + 1,
                **{key: [] for key in ("names", "ueis", "duns", "locations")},
            }
            for n in range(3)
        ]
        self.companies = store_table(self.connection, "companies", pa.Table.from_pylist(rows, schema=schema.COMPANY))
        self.overrides = store_table(self.connection, "overrides", schema.OVERRIDE.empty_table())

    def match_files(self, paths: Sequence[Path], decision: DecisionConfig | None = None) -> list[dict[str, Any]]:
        """Return the matches of checkpoints, by company."""
        return self._match(read_candidates(self.connection, paths), decision)

    def match(self, *rows: dict[str, Any], decision: DecisionConfig | None = None) -> list[dict[str, Any]]:
        """Return the matches of candidates, by company."""
        return self._match(store_table(self.connection, "candidates", candidate_table(rows)), decision)

    def _match(self, candidates: Any, decision: DecisionConfig | None) -> list[dict[str, Any]]:
        tables = CandidateTables(self.connection, candidates, self.companies, self.overrides)
        self.scores = score(tables, self.weights)
        create_matches(self.scores, decision or DecisionConfig())
        return self.connection.sql("from company_matches order by company_id").to_arrow_table().to_pylist()

    def decide(self, *decisions: tuple[str, str, str]) -> None:
        """Set the review decisions: (company key, recipient, decision)."""
        rows = [dict(zip(schema.OVERRIDE.names, decision, strict=True)) for decision in decisions]
        self.overrides = store_table(self.connection, "overrides", pa.Table.from_pylist(rows, schema=schema.OVERRIDE))


@pytest.fixture
def scorer(connection: duckdb.DuckDBPyConnection, weights: Weights) -> Scorer:
    return Scorer(connection, weights)


# --- one best recipient ----------------------------------------------------------------------------------------


def test_best_candidate_wins(tmp_path: Path, scorer: Scorer) -> None:
    first, second, _ = scorer.match_files(
        write_checkpoints(
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
    assert first["match_probability"] + first["runner_up_probability"] <= first["partner_probability"] + 1e-6 <= 1
    assert (second["match_status"], second["recipient_id"], second["match_probability"]) == ("unmatched", None, None)


def test_weight_is_sum_of_comparison_weights(scorer: Scorer, weights: Weights) -> None:
    first = scorer.match(candidate(0, "r", **EXACT_NAME, **SAME_TOWN, street_level=StreetLevel.SAME, uei_agreement=-1))[
        0
    ]

    parts = {name: first[f"{name}_weight"] for name in ("name", "place", "street", "uei", "duns")}
    assert first["match_weight"] == pytest.approx(sum(parts.values()), abs=1e-3)
    assert parts["place"] == pytest.approx(weights.place[7], abs=1e-4)
    assert parts["street"] == pytest.approx(weights.street[3], abs=1e-4)
    assert parts["uei"] == pytest.approx(weights.uei[0], abs=1e-4)
    assert parts["duns"] == 0


def test_probability_is_odds_over_all_odds(scorer: Scorer) -> None:
    rows = [candidate(0, "a", **EXACT_NAME, **SAME_TOWN), candidate(0, "b", **EXACT_NAME, **OTHER_STATE)]
    rows += [candidate(1, "c", **EXACT_NAME), candidate(1, "d")]

    found = scorer.match(*rows)

    weighed = f"select recipient_id, match_weight from {scorer.scores.weighed}"
    weight = dict(scorer.connection.execute(weighed).fetchall())
    share = scorer.scores.partner_share
    prior = share / (1 - share) / RECIPIENTS
    for match, (best, other) in zip(found, (("a", "b"), ("c", "d")), strict=False):
        odds = {name: prior * 2 ** weight[name] for name in (best, other)}
        everything = 1 + (1 + UNSEEN_PARTNER_SHARE) * sum(odds.values())
        assert match["recipient_id"] == best
        assert match["match_probability"] == pytest.approx(odds[best] / everything, abs=1e-5)
        assert match["runner_up_probability"] == pytest.approx(odds[other] / everything, abs=1e-5)


def test_name_alone_never_proves_a_partner(scorer: Scorer) -> None:
    rows = [candidate(0, "a", **EXACT_NAME, **SAME_TOWN), candidate(1, "b", **EXACT_NAME, **SAME_TOWN, uei_agreement=1)]

    by_name, by_uei, *_ = scorer.match(*rows)

    assert by_name["match_probability"] == pytest.approx(1 / (1 + UNSEEN_PARTNER_SHARE), abs=1e-3)
    assert by_uei["match_probability"] > 0.999
    assert by_uei["match_method"] == "uei"


@pytest.mark.parametrize("rivals", [2, 3, 7])
def test_equal_rivals_are_equally_probable(scorer: Scorer, rivals: int) -> None:
    rows = [candidate(0, f"r-{n}", **EXACT_NAME, **SAME_TOWN, uei=f"X{n}") for n in range(rivals)]

    first = scorer.match(*rows)[0]

    assert first["match_status"] == "review"
    assert (
        first["match_probability"]
        == first["runner_up_probability"]
        == pytest.approx(1 / rivals / (1 + UNSEEN_PARTNER_SHARE), abs=1e-3)
    )
    assert rivals * first["match_probability"] <= 1
    assert first["recipient_id"] == "r-0", "of equal ones the first by its id"


def test_thresholds_set_the_status(scorer: Scorer) -> None:
    rows = [candidate(0, f"r-{n}", **EXACT_NAME, **SAME_TOWN, uei=f"X{n}") for n in range(2)]

    def status(accept: float, review: float) -> str:
        found = scorer.match(*rows, decision=DecisionConfig(accept_probability=accept, review_probability=review))
        return str(found[0]["match_status"])

    assert [status(0.4, 0.1), status(0.6, 0.4), status(0.7, 0.6)] == ["matched", "review", "unmatched"]


def test_order_and_chunks_change_nothing(tmp_path: Path, scorer: Scorer) -> None:
    rows = [
        # Of each company one candidate is in the same town, the last one of equal name or the first.
        candidate(
            company, f"r-{n:02}", **EXACT_NAME, **(SAME_TOWN if n == best else OTHER_STATE), uei=f"X{n}", source_row=n
        )
        for company, best in enumerate((11, 0, 5))
        for n in range(12)
    ]
    expected = scorer.match_files(write_checkpoints(tmp_path / "whole", rows))

    assert [match["recipient_id"] for match in expected] == ["r-11", "r-00", "r-05"]
    assert all(match["match_probability"] > 0.5 > match["runner_up_probability"] for match in expected)
    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        cut = 1 + seed * 7
        assert scorer.match_files(write_checkpoints(tmp_path / f"{seed}", shuffled[:cut], shuffled[cut:])) == expected


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
            "address_level": st.sampled_from(AddressLevel),
            "address_companies": st.integers(1, 6),
            "place": st.sampled_from(PLACES),
        }
    ),
    max_size=15,
)


@given(ROWS, st.randoms(use_true_random=False))
@hypothesis_settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_probabilities_sum_to_at_most_one(scorer: Scorer, rows: list[dict[str, Any]], order: random.Random) -> None:
    scorer.drop_tables()
    made = []
    for number, row in enumerate(rows):
        agreements, place = row["place"]
        known = {key: value for key, value in row.items() if key not in ("company_id", "place")}
        made.append(candidate(row["company_id"], f"r{number:02}", source_row=number, **known, **agreements, **place))

    found = scorer.match(*made)

    assert [match["company_id"] for match in found] == [0, 1, 2]
    for match in found:
        if match["recipient_id"] is not None:
            assert 0 <= match["runner_up_probability"] <= match["match_probability"] <= 1
            assert match["match_probability"] + match["runner_up_probability"] <= match["partner_probability"] + 2e-6
            assert match["partner_probability"] <= 1
        else:
            assert all(row["company_id"] != match["company_id"] for row in made)
    assert scorer.match(*order.sample(made, len(made))) == found


@given(ROWS)
@hypothesis_settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_address_alone_never_decides(scorer: Scorer, rows: list[dict[str, Any]]) -> None:
    """Candidates of another name at the address are never accepted, and change no probability of the others."""
    scorer.drop_tables()
    by_name, by_address = [], []
    for number, row in enumerate(rows):
        agreements, place = row["place"]
        values = {key: value for key, value in row.items() if key not in ("company_id", "place")} | agreements | place
        values["address_level"] = AddressLevel.DIFFERENT if number % 2 else AddressLevel.SAME
        if not number % 2:
            values |= {"name_level": NameLevel.NOTHING_IN_COMMON, "uei_agreement": 0, "duns_agreement": 0, "uei": None}
        made = candidate(row["company_id"], f"r{number:02}", source_row=number, **values)
        (by_name if number % 2 else by_address).append(made)

    without = scorer.match(*by_name)
    found = scorer.match(*by_name, *by_address, decision=DecisionConfig(accept_probability=0.01, review_probability=0))

    assert all(match["match_status"] != "matched" for match in found if match["match_method"] == SAME_PLACE)
    probabilities = dict(
        scorer.connection.execute(f"select source_row, probability from {scorer.scores.judged}").fetchall()
    )
    for match in without:
        if match["recipient_id"] is not None:
            assert probabilities[match["recipient_source_row"]] == match["match_probability"]


def test_names_at_an_address_share_its_probability(scorer: Scorer) -> None:
    here = {**SAME_TOWN, **BOSTON, **MAIN, "name_level": NameLevel.NOTHING_IN_COMMON}
    here |= {"address_level": AddressLevel.SAME, "address_companies": 1}
    one, two, three = ([candidate(0, f"r{n}", **here, name=f"NAME {n}") for n in range(count)] for count in (1, 2, 3))

    assert [scorer.match(*rows)[0]["match_probability"] for rows in (one, two, three)] == [0.3, 0.15, 0.1]
    assert scorer.match(*one)[0]["match_status"] == "review"
    better = candidate(0, "better", **EXACT_NAME, **SAME_TOWN, name="BEST", **BOSTON)
    assert scorer.match(*one, better)[0]["recipient_id"] == "better"
    weak = candidate(0, "weak", **OTHER_STATE, name="WEAK")
    assert scorer.match(*one, weak)[0]["recipient_id"] == "r0"
    for conflict in ("uei_agreement", "duns_agreement"):
        assert scorer.match({**one[0], conflict: -1})[0]["match_status"] == "unmatched"
    assert scorer.match({**one[0], "address_companies": 7})[0]["match_status"] == "unmatched"


def test_without_candidates_all_are_unmatched(scorer: Scorer) -> None:
    assert [row["match_status"] for row in scorer.match_files([])] == ["unmatched"] * 3


# --- organisations ---------------------------------------------------------------------------------------------

UEI_1, UEI_2 = {"uei": "AK7AM2AP9AW1"}, {"uei": "AK7AM2AP9AW2"}


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
def test_rows_of_one_firm_are_grouped(scorer: Scorer, one: dict[str, str], other: dict[str, str], joined: bool) -> None:
    rows = [candidate(0, "one", **EXACT_NAME, **one), candidate(0, "other", **EXACT_NAME, **other)]
    for made in (rows, rows[::-1]):
        first = scorer.match(*made)[0]
        alone = scorer.match(made[0])[0]
        assert (first["runner_up_probability"] == 0) is joined
        assert (first["match_probability"] == alone["match_probability"]) is joined


def test_other_names_are_rivals(scorer: Scorer) -> None:
    where = {**SAME_TOWN, **BOSTON, **MAIN}
    known = candidate(0, "known", **EXACT_NAME, **where, **UEI_1)
    typo = {"name_level": NameLevel.TYPO, "name_agreement": 0.9}
    unlike = [
        candidate(0, "other", **{**EXACT_NAME, "name_code": 1}, **where),
        candidate(0, "parent", **EXACT_NAME, name_kind=NameKind.PARENT, **where),
        candidate(0, "sibling", **EXACT_NAME, sibling_level=1, **where),
        candidate(0, "typo", **typo, **SALEM),
    ]

    assert all(scorer.match(known, row)[0]["runner_up_probability"] > 0 for row in unlike)
    alike = [
        candidate(0, "spelling", **{**EXACT_NAME, "name_level": NameLevel.SPELLING_VARIANT}, **where),
        candidate(0, "alike", **typo, **where),
    ]
    assert all(scorer.match(known, row)[0]["runner_up_probability"] == 0 for row in alike), "one name of one town"


def test_row_without_street_joins_its_town(scorer: Scorer) -> None:
    best = candidate(0, "best", **EXACT_NAME, **SAME_TOWN, street_level=StreetLevel.SAME, **BOSTON, **MAIN, **UEI_1)
    second = candidate(
        0, "second", **EXACT_NAME, **SAME_TOWN, street_level=StreetLevel.DIFFERENT, **BOSTON, **ELM, **UEI_2
    )
    bare = candidate(0, "bare", **EXACT_NAME, **SAME_TOWN, **BOSTON)

    two, three = scorer.match(best, second)[0], scorer.match(best, second, bare)[0]

    assert two["recipient_id"] == three["recipient_id"] == "best"
    assert two["match_probability"] == three["match_probability"]
    assert two["partner_probability"] == three["partner_probability"]


def test_best_row_represents_its_organisation(scorer: Scorer) -> None:
    rows = [
        candidate(0, "elsewhere", **EXACT_NAME, **OTHER_STATE, **SALEM, **UEI_1),
        candidate(0, "here", **EXACT_NAME, **SAME_TOWN, **BOSTON, **UEI_1),
    ]
    alone = scorer.match(rows[1])[0]
    both = scorer.match(*rows)[0]
    members = "recipient_cluster_members"
    assert (both.pop(members), alone.pop(members)) == (["elsewhere", "here"], ["here"])
    assert both == alone
    assert both["recipient_id"] == "here"


# --- review decisions --------------------------------------------------------------------------------------


def test_confirmed_pair_outweighs_all_others(scorer: Scorer) -> None:
    rows = [candidate(0, "best", **EXACT_NAME, **SAME_TOWN, uei_agreement=1, **UEI_1), candidate(0, "meant")]
    scorer.decide(("k0", "meant", "confirm"), ("k1", "best", "confirm"))

    first = scorer.match(*rows)[0]

    assert (first["recipient_id"], first["match_method"], first["match_status"]) == ("meant", "review", "matched")
    assert (first["match_weight"], first["match_probability"]) == (CONFIRMED_BITS, 1)


def test_rejected_pair_rejects_its_organisation(scorer: Scorer) -> None:
    rows = [
        candidate(0, "uei", **EXACT_NAME, **SAME_TOWN, **BOSTON, **MAIN, **UEI_1),
        candidate(0, "same-street", **EXACT_NAME, **SAME_TOWN, **BOSTON, **MAIN),
        candidate(0, "rival", **EXACT_NAME, **OTHER_STATE, state="OH"),
        candidate(1, "uei", **EXACT_NAME, **SAME_TOWN, **BOSTON, **MAIN, **UEI_1),
    ]
    assert scorer.match(*rows)[0]["recipient_cluster_members"] == ["same-street", "uei"]
    scorer.decide(("k0", "uei", "reject"))

    first, second, _ = scorer.match(*rows)

    assert (first["recipient_id"], first["runner_up_probability"]) == ("rival", 0)
    assert second["recipient_id"] == "uei", "of another company"


# --- counts ----------------------------------------------------------------------------------------------------


def test_outcomes_are_counted_among_identified_pairs(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
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
    candidates = read_candidates(connection, write_checkpoints(tmp_path / "c", rows[:2], rows[2:]))

    counted = count_identified_pairs(CandidateTables(connection, candidates, Table("none"), Table("none")))

    assert list(counted.name) == [1, *[0] * (NameLevel.EQUAL - 1), 3]
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
        "recipients": {0: 12}, "placeless": {}, "concept": {3: 3, 4: 1}, "random_place": {}, "blocks_left_out": {},
        "pairs_left_out": {}, "addresses_left_out": {},
    }  # fmt: skip
    assert read_counts(connection, []) == {kind: {} for kind in schema.COUNT_KINDS}


def test_ranges_of_companies_change_nothing(tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the candidates are split, and if organisations that no one sees are only counted."""
    levels = (NameLevel.EQUAL, NameLevel.TYPO, NameLevel.ADDITIONAL_WORDS)
    rows = [
        candidate(
            company, f"{company}-{number:02}", source_row=20 * chunk + number, name=f"{NAMES[company]} {number % 4}",
            name_level=levels[number % 3], name_agreement=1.0, **(SAME_TOWN | BOSTON if number % 2 else OTHER_STATE),
            uei_agreement=int(number == chunk), **({"uei": f"AK7AM2AP9A{company}{chunk}"} if number == chunk else {}),
        )
        for chunk in range(4) for company in range(3) for number in range(company, 12)
    ]  # fmt: skip
    files = write_checkpoints(tmp_path / "c", *(rows[33 * n : 33 * n + 33] for n in range(4)))
    scorer.decide(("k1", "1-03", "reject"))
    whole = scorer.match_files(files)

    monkeypatch.setattr(candidate_parts, "PART_ROWS", 10)
    tables = split_candidates(scorer.connection, files, companies=scorer.companies, overrides=scorer.overrides)
    assert tables.parts
    assert len(tables.parts.paths) == 3
    scores = score(tables, scorer.weights, places=2)
    create_matches(scores, DecisionConfig())

    assert scorer.connection.sql("from company_matches order by company_id").to_arrow_table().to_pylist() == whole
    [(kept,)] = scorer.connection.execute(f"select count(*) from {scores.judged}").fetchall()
    assert kept < len(rows) / 2


def test_many_checkpoints_need_few_open_files(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_checkpoints(tmp_path / "chunks", *([candidate(0, f"{n}-{m}") for m in "abc"] for n in range(150)))
    one = connection.sql(f"from {read_candidates(connection, files[:1])}").to_arrow_table()
    monkeypatch.setattr(candidate_tables, "MAX_OPEN_FILES", 4)
    process, done = psutil.Process(), threading.Event()
    before = process.num_fds()

    def watch() -> int:
        most = 0
        while not done.is_set():
            most = max(most, process.num_fds())
        return most

    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(watch)
        view = read_candidates(connection, files)
        found = connection.sql(f"from {view} order by all").to_arrow_table()
        done.set()

    assert len(found) == 450
    assert found.schema.equals(one.schema)
    assert set(found["recipient_id"].to_pylist()) >= set(one["recipient_id"].to_pylist())
    assert watched.result() - before <= 8  # 70 with all of them in one view


def test_counts_of_many_chunks_add_up(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidate_tables, "MAX_OPEN_FILES", 4)
    paths = [tmp_path / f"{n}.parquet" for n in range(10)]
    for path in paths:
        pq.write_table(pa.Table.from_pylist([{"kind": "recipients", "key": 0, "count": 5}], schema=schema.COUNT), path)

    assert read_counts(connection, paths)["recipients"] == {0: 50}
