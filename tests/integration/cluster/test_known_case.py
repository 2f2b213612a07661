"""The hand-made case through all steps on a real cluster: every award gets the answer that is known for it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client

from enrich_dist import schema
from enrich_dist.errors import PublicationBlockedError
from enrich_dist.events import Step
from enrich_dist.farm.logs import read_chunk_log
from enrich_dist.matching.decisions import IDENTIFIED_METHODS
from enrich_dist.store.run_directory import CURRENT, RunDirectory
from tests.conftest import run_steps
from tests.support.known_case import AWARDS, settings, write_inputs

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
    else:
        assert [name for name in row if name.startswith("recipient_") and row[name] is not None] == []
    # Of those without a candidate there is none to look at.
    identified = expected.method in IDENTIFIED_METHODS
    least, most = expected.probability or ((0.99, 1.0) if identified else (0.98, 0.991))
    assert row["match_probability"] is None or least <= row["match_probability"] <= most
    assert (row["match_probability"] is None) == (expected.status == "unmatched")


def test_report_draws_the_chunk_log(published: Path) -> None:
    directory = RunDirectory(published.parents[1])

    attempts = [one for one in read_chunk_log(directory.chunk_log) if one.outcome == "finished"]

    chunks, _ = directory.latest_farm()
    assert sorted(one.chunk_id for one in attempts) == [chunk["chunk_id"] for chunk in chunks]
    for one in attempts:
        assert one.started_seconds is not None
        assert 0 <= one.submitted_seconds <= one.started_seconds <= one.finished_seconds <= one.received_seconds
        assert one.peak_memory_bytes is not None
        assert 50e6 < one.peak_memory_bytes < 1.5e9
    assert '"timeline"' in directory.html_report.read_text("utf-8")


def test_an_award_keeps_all_its_columns(published: Path) -> None:
    row = pq.read_table(published / "enriched_awards.parquet").slice(4, 1).to_pylist()[0]

    assert row["company"] == "Kitware & Sons, Inc."
    assert row["address1"] == "1 Main St"
    assert row["source_row"] == 6
    assert str(row["award_amount"]) == "150000.00"
    assert row["recipient_name"] == "KITWARE AND SONS INCORPORATED"
    assert row["recipient_uei"] == "EK7EM2EP9EW5"
    assert row["recipient_city"] == "CLIFTON PARK"


def test_database_agrees_with_parquet(published: Path) -> None:
    with duckdb.connect(str(published / "enrich_dist.duckdb"), read_only=True) as connection:
        tables = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
        awards = connection.sql("from enriched_awards").to_arrow_table()
        [(review,)] = connection.execute(
            "select recipient_name from company_matches where company_name = 'Moved Materials Inc'"
        ).fetchall()
        views = connection.execute("select view_name from duckdb_views() where not internal").fetchall()

    assert tables == {"companies", "company_matches", "enriched_awards", "overrides", "rejects", "shared_identifiers"}
    assert awards.equals(pq.read_table(published / "enriched_awards.parquet"))
    assert review == "MOVED MATERIALS INC"
    assert views == []


def test_low_match_rate_blocks(tmp_path: Path, client: Client) -> None:
    run = settings(tmp_path, match_rate_threshold=0.70)

    rate = sum(award.status == "matched" for award in AWARDS) / len(AWARDS)

    with pytest.raises(PublicationBlockedError, match=rf"match rate {rate:.1%} \(minimum 70\.0%\)"):
        run_steps(run, lambda: client)
    assert not (tmp_path / "work" / "published" / CURRENT).exists()


def test_matches_that_are_too_doubtful_block(tmp_path: Path, client: Client) -> None:
    # Without a threshold worth the name, half of what is accepted is wrong by its own probability.
    doubtful = {"accept_probability": 0.05, "review_probability": 0.05}
    run = settings(tmp_path, matching=doubtful, min_estimated_precision=0.97)

    with pytest.raises(PublicationBlockedError, match=r"estimated precision [\d.]+% \(minimum 97\.0%\)"):
        run_steps(run, lambda: client)
    assert not (tmp_path / "work" / "published" / CURRENT).exists()


@pytest.mark.long
def test_review_decision_outweighs_the_rest(tmp_path: Path, client: Client) -> None:
    run = settings(tmp_path)
    pipeline = run_steps(run, lambda: client)
    matches = pq.read_table(pipeline.directory.published / CURRENT / "company_matches.parquet").to_pylist()
    keys = {row["company_name"]: row["company_key"] for row in matches}
    decisions = [
        {"company_key": keys["Ambiguous Optics"], "recipient_id": "r-ambiguous-b", "decision": "confirm"},
        {"company_key": keys["Placeless Analytics"], "recipient_id": "r-placeless", "decision": "reject"},
    ]
    pq.write_table(pa.Table.from_pylist(decisions, schema=schema.OVERRIDE), pipeline.directory.overrides)

    decided = run_steps(run, lambda: client)

    rows = pq.read_table(decided.directory.published / CURRENT / "enriched_awards.parquet").to_pylist()
    found = {row["company"]: (row["match_status"], row["match_method"], row["recipient_id"]) for row in rows}
    assert decided.directory.all_latest()[Step.CHUNK_MATCHES].numbers["chunks_computed"] == 0
    assert found["Ambiguous Optics"] == ("matched", "review", "r-ambiguous-b")
    assert found["Placeless Analytics"] == ("unmatched", None, None)
    assert found["Kitware & Sons, Inc."] == ("matched", "exact_name_place", "r-exact")


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
