"""``enrich-dist dedupe``: which rows of a table are one organisation, on the command line and for odd tables."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from enrich_dist.errors import SourceError
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.pipeline.deduplication import CLUSTERS, deduplicate
from tests.support.review_case import CommandLine

BOSTON = {"city": "Boston", "state": "MA", "zip": "02110"}
SALEM = {"city": "Salem", "state": "OR", "zip": "97301"}
UEI_1, UEI_2 = "AK7AM2AP9AW1", "BK7AM2AP9AW2"
FIRMS: list[list[dict[str, Any]]] = [
    [
        {"id": "mill-12", "name": "Zymergen Photonics LLC", "address": "12 Mill Street", "uei": UEI_1, **BOSTON},
        {"id": "mill-18", "name": "ZYMERGEN PHOTONICS, L.L.C.", "address": "18 Mill St", **BOSTON},
        {"id": "mill-suite", "name": "Zymergen Photonics", "address": "12 Mill St Suite 400", **BOSTON},
        {"id": "mill-town", "name": "Zymergen Photonics Inc", "city": "Boston", "state": "MA"},
    ],
    [{"id": "uei-1", "name": "Quuxly Robotics", "uei": "CK7AM2AP9AW3", "address": "9 Elm Rd", **BOSTON}],
    [{"id": "uei-2", "name": "Quuxly Robotics", "uei": UEI_2, "address": "9 Elm Rd", **BOSTON}],
    [
        {"id": "by-uei", "name": "Old Name of Kitware", "uei": "DK7AM2AP9AW4", **SALEM},
        {"id": "kitware", "name": "Kitware Incorporated", "uei": "DK7AM2AP9AW4", **BOSTON},
    ],
    [{"id": "fund-2", "name": "Gryphonite Fund II", **BOSTON}],
    [{"id": "fund-3", "name": "Gryphonite Fund III", **BOSTON}],
    [{"id": "alone", "name": "Beckmann Tooling", **BOSTON}],
    [
        {"id": "typo", "name": "Harmonia Roboticks", "address": "7 Oak Ave", **BOSTON},
        {"id": "typed", "name": "Harmonia Robotics", "address": "7 Oak Ave", **BOSTON},
    ],
    *(
        [{"id": f"n{n}", "name": f"{word} Wares", **SALEM}]
        for n, word in enumerate(["Alpha", "Bravo", "Carlo", "Delta"])
    ),
]
ROWS = [row for firm in FIRMS for row in firm]
COLUMNS = ("id", "name", "address", "city", "state", "zip", "uei")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in COLUMNS}), path)
    return path


def clusters(folder: Path, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The output of rows, by id."""
    out = folder / "clusters.parquet"
    deduplicate(
        write(folder / "rows.parquet", rows), out, columns={}, candidates=CandidateConfig(),
        accept_probability=DecisionConfig().accept_probability,
    )  # fmt: skip
    found = pq.read_table(out)
    assert found.schema.equals(CLUSTERS)
    assert found["id"].to_pylist() == [row["id"] for row in rows], "in the order of the table"
    return {row["id"]: row for row in found.to_pylist()}


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def test_rows_of_one_firm_are_one_cluster(tmp_path: Path) -> None:
    found = clusters(tmp_path, ROWS)

    for firm in FIRMS:
        own = [found[row["id"]] for row in firm]
        assert {row["cluster_id"] for row in own} == {own[0]["cluster_id"]}, own
        assert {row["cluster_size"] for row in own} == {len(firm)}
        [best] = [row for row in own if row["is_representative"]]
        assert (best["id"], best["probability"]) == (best["cluster_id"], 1)
        assert all(DecisionConfig().accept_probability <= row["probability"] <= 1 for row in own)
    assert found["mill-18"]["cluster_id"] == "mill-12", "the row with a UEI represents the firm"
    assert found["mill-18"]["address"] == "18 Mill St"


@hypothesis_settings(deadline=None, max_examples=5)
@given(order=st.randoms(use_true_random=False))
def test_order_changes_nothing(tmp_path_factory: pytest.TempPathFactory, order: random.Random) -> None:
    shuffled = ROWS[:]
    order.shuffle(shuffled)
    assert clusters(tmp_path_factory.mktemp("shuffled"), shuffled) == clusters(tmp_path_factory.mktemp("rows"), ROWS)


def test_clusters_keep_their_ids_among_other_rows(tmp_path: Path) -> None:
    others = [{"id": f"other-{n}", "name": f"{chr(65 + n)}unicorn Bakery", **SALEM} for n in range(10)]
    before, after = clusters(tmp_path, ROWS), clusters(tmp_path, [*others, *ROWS])
    assert {key: row["cluster_id"] for key, row in before.items()} == {
        key: row["cluster_id"] for key, row in after.items() if not key.startswith("other")
    }


@pytest.mark.long
def test_one_name_in_a_thousand_towns_stays_apart(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "name": "Main Street Bakery", "city": f"Town {n}", "state": "OH", "zip": f"{43000 + n}"}
        for n in range(1_000)
    ]
    assert {row["cluster_size"] for row in clusters(tmp_path, rows).values()} == {1}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "xlsx"])
def test_the_command_clusters_a_table(tmp_path: Path, cli: CommandLine, suffix: str) -> None:
    table, out = write(tmp_path / "rows.parquet", ROWS), tmp_path / f"clusters.{suffix}"

    code, printed, progress = cli("dedupe", table, "--out", out)

    assert code == 0
    assert "17 rows: 12 organisations, 5 duplicate rows, 0 invalid. The largest organisation has 4 rows." in printed
    assert "17 of 17 rows compared (100.0%), about 0 s remaining." in progress
    assert out.exists()


def test_column_names_are_given(tmp_path: Path, cli: CommandLine) -> None:
    (tmp_path / "rows.csv").write_text("number,firm\n1,Zymergen Photonics\n2,Quuxly Robotics\n", "utf-8")
    arguments = ("dedupe", tmp_path / "rows.csv", "--out", tmp_path / "out.csv", "--column", "id=number")
    assert cli(*arguments, "--column", "name=firm")[0] == 0
    assert (tmp_path / "out.csv").read_text("utf-8").splitlines()[1].startswith('"1","1",1,true,1')


def test_other_files_are_never_replaced(tmp_path: Path, cli: CommandLine) -> None:
    table, out = write(tmp_path / "rows.parquet", ROWS), tmp_path / "mine.csv"
    out.write_text("a,b\n1,2\n", "utf-8")
    assert cli("dedupe", table, "--out", out)[0] == 2
    assert out.read_text("utf-8") == "a,b\n1,2\n"


def test_table_too_large_for_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = psutil.virtual_memory()._replace(available=1_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(SourceError, match=r"17 rows need about .* of memory") as refused:
        clusters(tmp_path, ROWS)
    assert "split the table" in str(refused.value)
