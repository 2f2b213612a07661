"""The reduce on hand-made candidates, the metrics, the reconciliation and the verdict."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrich_dist import quality, schema
from enrich_dist.duck import connect
from enrich_dist.matching.scoring import DecisionConfig
from enrich_dist.reduce import MatchedSoFar, create_matches, create_scored

EXACT_NAME = {"name_exact": True, "name_similarity": 1.0}
SAME_TOWN = {"state_agreement": 1, "city_agreement": 1, "zip_agreement": 1}


def candidate(company_id: int, recipient_id: str, **values: Any) -> dict[str, Any]:
    """A candidate that agrees in nothing but what is given."""
    return {
        "company_id": company_id, "uei_agreement": 0, "duns_agreement": 0, "name_exact": False, "name_similarity": 0.2,
        "alternate_name": False, "state_agreement": 0, "city_agreement": 0, "zip_agreement": 0,
        "source_row": sum(map(ord, recipient_id)), "recipient_id": recipient_id, **values,
    }  # fmt: skip


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(memory_mb=200, scratch=tmp_path / "scratch") as opened:
        rows = [
            {"company_id": n, "company_key": f"k{n}", "name": f"N{n}", "award_count": n + 1, "names": [], "ueis": [],
             "duns": [], "locations": []}
            for n in range(3)
        ]  # fmt: skip
        opened.from_arrow(pa.Table.from_pylist(rows, schema=schema.COMPANY)).create("companies")
        yield opened


def checkpoints(folder: Path, *chunks: list[dict[str, Any]]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = []
    for number, rows in enumerate(chunks):
        paths.append(folder / f"{number}.parquet")
        pq.write_table(pa.Table.from_pylist(rows, schema=schema.CANDIDATE), paths[-1])
    return paths


def matches(connection: duckdb.DuckDBPyConnection, paths: list[Path]) -> list[dict[str, Any]]:
    create_scored(connection, paths)
    create_matches(connection, DecisionConfig())
    return connection.sql("from company_matches order by company_id").to_arrow_table().to_pylist()


def test_the_best_candidate_wins_and_the_runner_up_sets_the_margin(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    paths = checkpoints(
        tmp_path / "c",
        [candidate(0, "r-weak", **EXACT_NAME, uei="X1")],
        [candidate(0, "r-best", **EXACT_NAME, **SAME_TOWN, uei="X2")],
    )

    first, second, _ = matches(connection, paths)

    assert (first["match_status"], first["match_method"], first["recipient_id"]) == (
        "matched", "exact_name_place", "r-best",
    )  # fmt: skip
    assert first["match_margin"] == pytest.approx(first["match_score"] - 0.85)
    assert (second["match_status"], second["recipient_id"]) == ("unmatched", None)


def test_two_organisations_alike_go_to_review(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    rows = [candidate(0, f"r-{n}", **EXACT_NAME, **SAME_TOWN, uei=f"X{n}") for n in range(2)]

    first = matches(connection, checkpoints(tmp_path / "c", rows))[0]

    assert (first["match_status"], first["match_margin"]) == ("review", 0)


def test_two_rows_of_one_organisation_are_no_rivals(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    rows = [candidate(0, f"r-{n}", **EXACT_NAME, **SAME_TOWN, uei="X") for n in range(2)]

    first = matches(connection, checkpoints(tmp_path / "c", rows))[0]

    assert (first["match_status"], first["recipient_id"]) == ("matched", "r-0")


def test_order_and_chunks_of_candidates_change_nothing(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    rows = [
        candidate(company, f"r-{n}", **EXACT_NAME, **(SAME_TOWN if n % 3 else {}), uei=f"X{n % 4}")
        for company, n in itertools.product(range(3), range(12))
    ]
    expected = matches(connection, checkpoints(tmp_path / "whole", rows))

    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        cut = 1 + seed * 7
        assert matches(connection, checkpoints(tmp_path / f"{seed}", shuffled[:cut], shuffled[cut:])) == expected


def test_no_candidate_at_all_leaves_every_company_unmatched(connection: duckdb.DuckDBPyConnection) -> None:
    assert [row["match_status"] for row in matches(connection, [])] == ["unmatched"] * 3


def test_awards_matched_so_far_count_each_company_once(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    good = {**EXACT_NAME, **SAME_TOWN}
    first, second = checkpoints(
        tmp_path / "c",
        [candidate(0, "a", **good), candidate(1, "b", **EXACT_NAME)],
        [candidate(0, "c", **good), candidate(2, "d", **good)],
    )
    counter = MatchedSoFar(connection, DecisionConfig())

    counts = [counter.awards()]
    for path in (first, second, second):
        counter.add([path])
        counts.append(counter.awards())

    assert counts == [0, 1, 4, 4]


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


def judge(rate: float = 0.7, threshold: float = 0.7, **changes: Any) -> dict[str, Any]:
    metrics = {
        "match_rate": rate,
        "awards": AWARDS,
        "reconciliation": reconcile(),
        "completeness": {"chunks_missing": 0},
        **changes,
    }
    return quality.judge(metrics, match_rate_threshold=threshold)


def test_the_threshold_itself_passes_and_less_does_not() -> None:
    assert judge(0.7)["status"] == "passed"
    assert judge(0.6999)["status"] == "blocked"
    assert "match rate 0.6999, threshold 0.7000" in judge(0.6999)["reasons"][0]


def test_a_missing_chunk_blocks() -> None:
    verdict = judge(completeness={"chunks_missing": 1})

    assert verdict["status"] == "blocked"
    assert verdict["reasons"] == ["1 of the planned chunks are missing from the result"]
