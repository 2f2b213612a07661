"""The totals of a run are in Dagster and in its own record, however it ends; reused steps are not plotted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_defs.launch import open_instance
from enrich_dist.core.tables import parse_markdown
from enrich_dist.runs.ended_runs import Ending, read_ended_runs
from enrich_dist.store.run_directory import STEPS, RunDirectory
from tests.conftest import SampleRuns, enrich_dist
from tests.integration.dagster.test_sample_job import events, materialized, run_ids
from tests.support.known_case import injected_faults

pytestmark = pytest.mark.cluster


def observations(instance: dg.DagsterInstance, run_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return asset and metadata of each observation of a run."""
    return [
        (found.asset_key.to_user_string(), {key: value.value for key, value in found.metadata.items()})
        for event in events(instance, run_id)
        if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION
        for found in [event.asset_observation_data.asset_observation]
    ]


def peaks_mb(table: str) -> dict[str, float]:
    """Return the peak of each worker in a memory table."""
    parsed = parse_markdown(table)
    column = parsed.head.index("peak MB")
    return {row[0]: float(row[column].replace(",", "")) for row in parsed.rows}


def test_totals_equal_steps_and_workers(sample_runs: SampleRuns, instance: dg.DagsterInstance) -> None:
    found: dict[str, dict[str, Any]] = materialized(instance, run_ids(instance)[0])
    judged, published = found["enriched_awards"], found["published_awards"]
    driver_mb = max(item["peak_memory_mb"] for item in found.values())
    workers_mb = peaks_mb(found["chunk_matches"]["memory_per_worker"])

    assert published["run_seconds"] == pytest.approx(sum(item["seconds"] for item in found.values()), abs=0.01)
    assert published["run_rows"] == sum(item["rows"] for item in found.values())
    assert (judged["run_steps"], published["run_steps"]) == (len(STEPS) - 1, len(STEPS))
    assert judged["run_seconds"] == pytest.approx(published["run_seconds"] - found["published_awards"]["seconds"])
    assert published["run_driver_peak_memory_mb"] == driver_mb
    assert published["run_worker_peak_memory_mb"] == pytest.approx(max(workers_mb.values()), abs=1)
    if not injected_faults():  # a killed worker returns as another process of the same name
        assert published["run_memory_sum_mb"] == pytest.approx(driver_mb + sum(workers_mb.values()), abs=2)


def test_blocked_run_has_totals_apart_from_whole_runs(sample_runs: SampleRuns, instance: dg.DagsterInstance) -> None:
    found = materialized(instance, run_ids(instance)[1])
    judged = found["enriched_awards"]

    assert "published_awards" not in found
    assert judged["resumed_run_steps"] == len(STEPS) - 1  # the sample's chunks were resumed
    assert float(str(judged["resumed_run_seconds"])) > 0
    assert float(str(judged["resumed_run_memory_sum_mb"])) > 50
    assert "run_seconds" not in judged
    for name in ("sbir_awards", "chunk_matches"):
        plotted = {key for key, value in found[name].items() if isinstance(value, int | float)}
        assert found[name]["reused"] is True
        assert not plotted & {"seconds", "rows_per_second", "peak_memory_mb", "farm_seconds", "workers"}
        assert " s, peak memory " in str(found[name]["took"])


def test_rates_by_identifier_and_probability_are_numbers(sample_runs: SampleRuns, instance: dg.DagsterInstance) -> None:
    found: dict[str, Any] = materialized(instance, run_ids(instance)[0])["enriched_awards"]
    rates = parse_markdown(found["match_rate_by_identifier_type"])
    bands = parse_markdown(found["companies_by_match_probability"])

    names = {"UEI and DUNS": "uei_and_duns", "UEI only": "uei_only", "DUNS only": "duns_only", "none": "no_identifier"}
    assert rates.rows
    for kind, _, _, rate in rates.rows:
        assert f"{found[f'match_rate_{names[kind]}']:.1%}" == rate
    counted = {float(row[0][:4]): sum(int(cell.replace(",", "")) for cell in row[1:]) for row in bands.rows}
    assert found["companies_probability_95_to_100"] == counted[0.95]
    assert found["companies_probability_0_to_50"] == sum(count for low, count in counted.items() if low < 0.5)


@pytest.mark.parametrize(
    ("step", "records"),
    [
        ("award companies", "2 of 2 stages"),
        ("recipient chunks", "96,666 of 96,666 rows"),
        ("enriched awards", "5 of 5 stages"),
        ("published awards", "bytes"),
    ],
)
def test_progress_of_every_step(sample_runs: SampleRuns, instance: dg.DagsterInstance, step: str, records: str) -> None:
    logged = [entry.user_message for entry in instance.all_logs(run_ids(instance)[0])]
    for lines in (logged, sample_runs.passed.stderr.splitlines()):
        own = [line for line in lines if line.startswith(f"{step}: ")]
        assert any(f"{records} (100.0%)" in line and "elapsed, 0:00 left" in line for line in own), own
        assert len(own) >= 2, "also before its end"


def test_failed_run_has_totals_in_record_and_observation(tmp_path: Path) -> None:
    failed = enrich_dist(
        "run", "--config", "config/sample.yaml", "--work-dir", tmp_path / "work",
        "--set", "match_rate_threshold=0.99", "--set", "fail_fast=true",
    )  # fmt: skip
    assert failed.returncode == 3, failed.stderr

    with open_instance(tmp_path / "work" / "dagster") as instance:
        [run_id] = run_ids(instance)
        [(asset, totals)] = observations(instance, run_id)
        done = materialized(instance, run_id)
    [recorded] = read_ended_runs(RunDirectory(tmp_path / "work"))

    assert asset == "chunk_matches"
    assert totals["failed_run_steps"] == len(done) + 1 == 4
    assert totals["failed_run_seconds"] > sum(float(str(item["seconds"])) for item in done.values())
    assert totals["failed_run_worker_peak_memory_mb"] > 50
    assert totals["failed_run_memory_sum_mb"] > totals["failed_run_driver_peak_memory_mb"] + 50
    assert "Stopped early because fail_fast is set" in totals["failed_because"]
    assert peaks_mb(totals["memory_per_worker"])
    assert (recorded.run_id, recorded.ending, recorded.where) == (run_id, Ending.FAILED, "chunk_matches")
    assert recorded.totals.numbers(failed=True).items() <= totals.items()
    assert recorded.reason == totals["failed_because"]
    listed = enrich_dist("runs", "ls", "--work-dir", tmp_path / "work")
    assert "failed" in listed.stdout
    assert run_id[:8] in listed.stdout
