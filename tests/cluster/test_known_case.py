"""The hand-made case through all steps on a real cluster: every award gets the answer that is known for it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from distributed import Client

from enrich_dist.errors import PublicationBlockedError
from enrich_dist.publish import CURRENT
from tests.conftest import run_steps
from tests.known import AWARDS, settings, write_inputs

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, client: Client) -> Path:
    pipeline = run_steps(settings(tmp_path_factory.mktemp("known")), lambda: client)
    return pipeline.directory.published / CURRENT


@pytest.mark.parametrize("number", range(len(AWARDS)), ids=[award.company for award in AWARDS])
def test_award_gets_its_known_answer(published: Path, number: int) -> None:
    expected = AWARDS[number]
    row = pq.read_table(published / "enriched_awards.parquet").slice(number, 1).to_pylist()[0]

    assert row["award_title"] == f"{expected.status} {expected.method} {expected.recipient}"
    assert row["match_status"] == expected.status
    assert row["recipient_id"] == expected.recipient
    if expected.status == "matched":
        assert row["match_method"] == expected.method
        assert row["match_score"] >= 0.90
        assert row["match_margin"] >= 0
    else:
        assert [name for name in row if name.startswith("recipient_") and row[name] is not None] == []


def test_an_award_keeps_all_its_columns(published: Path) -> None:
    row = pq.read_table(published / "enriched_awards.parquet").slice(4, 1).to_pylist()[0]

    assert row["company"] == "Kitware & Sons, Inc."
    assert row["address1"] == "1 Main St"
    assert row["source_row"] == 6
    assert str(row["award_amount"]) == "150000.00"
    assert row["recipient_name"] == "KITWARE AND SONS INCORPORATED"
    assert row["recipient_uei"] == "EEEEEEEEEEE5"
    assert row["recipient_city"] == "CLIFTON PARK"


def test_the_database_stands_alone_and_agrees_with_the_parquet_file(published: Path) -> None:
    with duckdb.connect(str(published / "enrich_dist.duckdb"), read_only=True) as connection:
        tables = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
        awards = connection.sql("from enriched_awards").to_arrow_table()
        [(review,)] = connection.execute(
            "select recipient_name from company_matches where company_name = 'Moved Materials Inc'"
        ).fetchall()
        views = connection.execute("select view_name from duckdb_views() where not internal").fetchall()

    assert tables == {"companies", "company_matches", "enriched_awards", "rejects"}
    assert awards.equals(pq.read_table(published / "enriched_awards.parquet"))
    assert review == "MOVED MATERIALS INC"
    assert views == []


def test_an_unmatched_share_over_the_threshold_blocks(tmp_path: Path, client: Client) -> None:
    run = settings(tmp_path, match_rate_threshold=0.70)

    with pytest.raises(PublicationBlockedError, match=r"match rate 0\.5714, threshold 0\.7000"):
        run_steps(run, lambda: client)
    assert not (tmp_path / "work" / "published" / CURRENT).exists()


def test_a_column_map_adapts_other_names(tmp_path: Path, client: Client) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    header, rest = awards.read_text("utf-8").split("\n", 1)
    awards.write_text(header.replace("Company", "Grantee").replace("State", "Province") + "\n" + rest, "utf-8")
    table = pq.read_table(recipients)
    pq.write_table(table.rename_columns(["key", "org", *table.column_names[2:]]), recipients)
    run = settings(tmp_path, inputs=(awards, recipients))
    inputs = run.inputs.model_copy(
        update={
            "award_columns": {"company": "Grantee", "state": "Province"},
            "recipient_columns": {"recipient_id": "key", "name": "org"},
        }
    )

    pipeline = run_steps(run.model_copy(update={"inputs": inputs}), lambda: client)

    ids = pq.read_table(pipeline.directory.published / CURRENT / "enriched_awards.parquet")["recipient_id"].to_pylist()
    assert ids == [award.recipient for award in AWARDS]
