"""The bundled sample with two real workers, once published and once blocked, and what documents say of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from dagster_defs.launch import launch, open_instance
from enrich_dist import schema
from enrich_dist.core.files import file_digest
from enrich_dist.events import Step
from enrich_dist.farm.attempts import FailureKind
from enrich_dist.matching.decisions import METHODS
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.runs.archive import read_archive
from enrich_dist.settings import flatten
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import STEPS, RunDirectory
from scripts.reference import FIGURES
from tests.conftest import REPOSITORY, SampleRuns, enrich_dist
from tests.support.known_case import injected_faults, settings
from tests.support.paced import Paced

pytestmark = pytest.mark.cluster
SAMPLE_AWARDS, SAMPLE_RECIPIENTS = 11_446, 96_666
_README_ROW = re.compile(
    r"^\| (?P<award>[^|]+), [^|,]+ \| (?P<recipient>[^|]+) \| (?P<status>matched|review), (?P<percent>[\d.]+)% \|$"
)

undisturbed = pytest.mark.skipif(
    bool(injected_faults()), reason="injected faults take memory and time that no record has"
)


def events(instance: dg.DagsterInstance, run_id: str) -> list[dg.DagsterEvent]:
    return [entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event is not None]


def run_ids(instance: dg.DagsterInstance) -> list[str]:
    """Return the ids of the runs, the oldest first."""
    return [run.run_id for run in reversed(instance.get_runs())]


def materialized(instance: dg.DagsterInstance, run_id: str) -> dict[str, dict[str, object]]:
    """Return metadata values by asset, in the order of materialization."""
    found = {}
    for event in events(instance, run_id):
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            materialization = event.step_materialization_data.materialization
            name = materialization.asset_key.to_user_string()
            found[name] = {key: value.value for key, value in materialization.metadata.items()}
    return found


def step_times(instance: dg.DagsterInstance, run_id: str, step: str) -> tuple[float, float]:
    """Return when Dagster started a step and when it recorded the output, in Unix seconds."""
    times = {
        entry.dagster_event.event_type: entry.timestamp
        for entry in instance.all_logs(run_id)
        if entry.dagster_event is not None and entry.dagster_event.step_key == step
    }
    return times[dg.DagsterEventType.STEP_START], times[dg.DagsterEventType.ASSET_MATERIALIZATION]


def test_sample_is_published(sample_runs: SampleRuns) -> None:
    assert sample_runs.passed.returncode == 0, sample_runs.passed.stderr
    assert "published" in sample_runs.passed.stdout
    assert f"of {SAMPLE_AWARDS:,} awards have an accepted match" in sample_runs.passed.stdout
    for label in ("Result", "Database", "Markdown", "Report"):
        [line] = [line for line in sample_runs.passed.stdout.splitlines() if line.startswith(label)]
        assert Path(line.split(maxsplit=1)[1]).is_file()


def test_assets_are_materialized_in_order(sample_runs: SampleRuns, instance: dg.DagsterInstance) -> None:
    order = list(materialized(instance, run_ids(instance)[0]))

    assert sorted(order) == sorted(STEPS)
    for earlier, later in [
        ("sbir_awards", "award_companies"),
        ("award_companies", "chunk_matches"),
        ("recipient_chunks", "chunk_matches"),
        ("chunk_matches", "enriched_awards"),
        ("enriched_awards", "published_awards"),
    ]:
        assert order.index(earlier) < order.index(later)


@undisturbed
def test_assets_have_time_and_memory(instance: dg.DagsterInstance, sample_runs: SampleRuns) -> None:
    run_id = run_ids(instance)[0]
    found, outside = materialized(instance, run_id), sample_runs.outside
    archive = read_archive(sample_runs.work_dir / "benchmarks")
    [recorded] = [run for run in archive.records if run_id.replace("-", "").startswith(run.id)]
    driver, *_ = outside.children

    peaks_mb, compared = [], 0
    for name, metadata in found.items():
        rows, seconds, rate, peak_mb = (
            float(str(metadata[key])) for key in ("rows", "seconds", "rows_per_second", "peak_memory_mb")
        )
        begin, end = step_times(instance, run_id, name)
        least_mb, most_mb = (size / 1e6 for size in outside.bounds_bytes(driver, begin, end))
        if end - begin > 0.5:  # else there may be no sample
            assert least_mb * 0.99 <= peak_mb <= most_mb * 1.01, name
            compared += 1
        assert (end - begin) / 4 - 1 <= seconds <= end - begin, name
        assert rows > 0
        assert rate == pytest.approx(rows / seconds, rel=0.02, abs=0.1), name
        peaks_mb.append(peak_mb)
        if name in recorded.steps:
            step = recorded.steps[Step(name)]
            assert (step.rows, step.seconds, round(step.peak_memory_bytes / 1e6, 1)) == (rows, seconds, peak_mb)
    assert compared >= 4
    total = found["published_awards"]
    assert total["run_steps"] == len(STEPS)
    assert total["run_seconds"] == pytest.approx(sum(float(str(item["seconds"])) for item in found.values()), abs=0.1)
    assert total["run_driver_peak_memory_mb"] == max(peaks_mb)
    workers = [outside.bounds_bytes(pid) for pid in worker_pids(found)]
    least_mb, most_mb = ([size / 1e6 for size in sizes] for sizes in zip(*workers, strict=True))
    worker_mb, sum_mb = (float(str(total[f"run_{name}_mb"])) for name in ("worker_peak_memory", "memory_sum"))
    assert max(least_mb) * 0.99 <= worker_mb <= max(most_mb) * 1.01
    assert sum(least_mb) * 0.99 <= sum_mb - max(peaks_mb) <= sum(most_mb) * 1.01


def worker_table(found: dict[str, dict[str, object]]) -> list[dict[str, str]]:
    """Return the rows of the table of memory per worker."""
    lines = str(found["chunk_matches"]["memory_per_worker"]).splitlines()
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in rows]


def worker_pids(found: dict[str, dict[str, object]]) -> set[int]:
    return {int(row["process"]) for row in worker_table(found)}


def test_html_report_is_linked(instance: dg.DagsterInstance, sample_runs: SampleRuns) -> None:
    found = materialized(instance, run_ids(instance)[0])

    for name in ("enriched_awards", "published_awards"):
        assert str(found[name]["html_report_path"]) == str(sample_runs.work_dir / "report.html")


def test_metadata_of_matching_and_result(instance: dg.DagsterInstance, sample_runs: SampleRuns) -> None:
    found = materialized(instance, run_ids(instance)[0])

    farm, enriched = found["chunk_matches"], found["enriched_awards"]
    assert (farm["chunks_computed"], farm["rows"]) == (10, SAMPLE_RECIPIENTS)
    # A worker that an injected fault killed returns as another process.
    assert int(str(farm["workers"])) >= 2 if injected_faults() else farm["workers"] == 2
    assert 50 < float(str(farm["worker_peak_memory_mb"])) < int(str(farm["worker_memory_threshold_mb"]))
    assert 50 < float(str(farm["worker_projected_peak_memory_mb"])) < int(str(farm["worker_memory_threshold_mb"]))
    assert (farm["degradations"], farm["batch_rows"]) == (0, farm["batch_rows_least"])
    assert enriched["match_rate"] == pytest.approx(int(str(enriched["awards_matched"])) / SAMPLE_AWARDS, abs=1e-6)
    assert "exact_name_place" in str(enriched["matches_by_method"])
    assert "file config/sample.yaml" in str(enriched["overridden_settings"])
    assert "DUNS only" in str(enriched["match_rate_by_identifier_type"])
    assert "0.95 to 1.00" in str(enriched["companies_by_match_probability"])


@undisturbed
def test_memory_per_worker_is_that_of_its_process(instance: dg.DagsterInstance, sample_runs: SampleRuns) -> None:
    found = materialized(instance, run_ids(instance)[0])
    farm, workers = found["chunk_matches"], worker_table(found)
    store = CheckpointStore(sample_runs.work_dir / "checkpoints")
    records = [store.read_record(path.stem) for path in (sample_runs.work_dir / "checkpoints").glob("*.json")]

    assert {worker["worker"] for worker in workers} >= {"0", "1"}
    for worker in workers:
        mine = [record for record in records if record.pid == int(worker["process"])]
        least_mb, most_mb = (size / 1e6 for size in sample_runs.outside.bounds_bytes(int(worker["process"])))
        peak_mb = int(worker["peak MB"])
        assert peak_mb == round(max(record.peak_memory_bytes for record in mine) / 1e6)
        assert least_mb * 0.99 <= peak_mb <= most_mb * 1.01
        assert int(worker["chunks"]) == len(mine)
        assert int(worker["records"].replace(",", "")) == sum(record.rows_in for record in mine)
    assert sum(int(worker["chunks"]) for worker in workers) == len(records) == farm["chunks"]
    largest = max(record.peak_memory_bytes for record in records)
    assert farm["worker_peak_memory_mb"] == pytest.approx(largest / 1e6, abs=0.06)


def test_progress_is_in_dagster_log(instance: dg.DagsterInstance, sample_runs: SampleRuns) -> None:
    messages = [entry.user_message for entry in instance.all_logs(run_ids(instance)[0])]

    lines = [text for text in messages if f" of {SAMPLE_RECIPIENTS:,} recipients (" in text]
    for line in lines:
        assert ("rate unknown yet" in line) != bool(re.search(r", [\d,]+ records/s, \d+:\d\d left, ", line)), line
    assert [text for text in messages if f"{SAMPLE_RECIPIENTS:,} of {SAMPLE_RECIPIENTS:,} recipients (100.0%)" in text]
    audit = [text for text in messages if text.startswith("setting ")]
    assert len([text for text in audit if text.startswith("setting paths.work_dir = ")]) == 1
    assert "setting chunk_size = 10000 (file config/sample.yaml)" in audit


@undisturbed
def test_remaining_time_in_dagster_log_comes_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks take a known time, so that what the log expects can be compared with what it took."""
    ledger = tmp_path / "calls"
    ledger.mkdir()
    matcher = Pipeline.matcher
    monkeypatch.setattr(Pipeline, "matcher", lambda pipeline: Paced(matcher(pipeline), ledger))
    run = settings(tmp_path, chunk_size=1, farm={"progress_interval_seconds": 0.1})
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(run.model_dump(mode="json", exclude_unset=True)), "utf-8")

    run_id = launch(run, config=config, overrides=[], log_level="CRITICAL")

    with open_instance(run.paths.work_dir / "dagster") as instance:
        log = [(entry.timestamp, entry.user_message) for entry in instance.all_logs(run_id)]
    line = re.compile(r"([\d,]+) of 54 recipients .*?(?:, (\d+):(\d\d) left)?, \d+ of")
    shown = [(at, *match.groups()) for at, text in log if (match := line.match(text))]
    end = min(at for at, done, *_ in shown if done == "54")
    middle = [item for item in shown if 14 <= int(item[1]) <= 30]
    assert len(middle) > 3
    for at, _, minutes, seconds in middle:
        assert minutes is not None
        assert (end - at) / 2 - 1 <= 60 * int(minutes) + int(seconds) <= 2 * (end - at) + 1


def test_each_award_is_published_once(sample_runs: SampleRuns) -> None:
    current = sample_runs.work_dir / "published" / "current"
    awards = pq.read_table(current / "enriched_awards.parquet")
    metrics = json.loads((current / "metrics.json").read_text("utf-8"))

    assert len(awards) == SAMPLE_AWARDS
    assert awards["source_row"].to_pylist() == list(range(2, SAMPLE_AWARDS + 2))
    assert set(awards["match_status"].to_pylist()) == {"matched", "review", "unmatched"}
    matched = [
        row for row in awards.select(["match_status", "recipient_id"]).to_pylist() if row["match_status"] == "matched"
    ]
    assert all(row["recipient_id"] for row in matched)
    assert metrics["awards"]["matched"] == len(matched)
    assert metrics["reconciliation"]["balanced"]
    assert metrics["reconciliation"]["recipients"]["read"] == SAMPLE_RECIPIENTS
    with duckdb.connect(str(current / "enrich_dist.duckdb"), read_only=True) as connection:
        [(count,)] = connection.execute("select count(*) from enriched_awards").fetchall()
    assert count == SAMPLE_AWARDS


def test_base_threshold_blocks_the_run(sample_runs: SampleRuns) -> None:
    blocked = sample_runs.blocked

    assert blocked.returncode == 3
    [line] = [line for line in blocked.stderr.splitlines() if line.startswith("Error:")]
    assert "match rate" in line
    published = sorted(path.name for path in (sample_runs.work_dir / "published").iterdir())
    assert published == sample_runs.published_before_blocked


def test_blocked_run_has_failed_check(sample_runs: SampleRuns, instance: dg.DagsterInstance) -> None:
    run_id = run_ids(instance)[1]
    checks = {
        event.event_specific_data.check_name: event.event_specific_data
        for event in events(instance, run_id)
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    }
    errors = [entry.user_message for entry in instance.all_logs(run_id) if entry.level == 40]

    assert list(materialized(instance, run_id))[-1] == "enriched_awards"
    assert materialized(instance, run_id)["chunk_matches"]["chunks_computed"] == 0
    assert not checks["match_rate"].passed
    assert checks["match_rate"].metadata["threshold"].value == 0.70
    assert checks["reconciliation"].passed
    assert checks["completeness"].passed
    assert [text for text in errors if text.startswith("published_awards is blocked: ")]
    [run] = [run for run in instance.get_runs() if run.run_id == run_id]
    assert run.status == dg.DagsterRunStatus.FAILURE


def test_publishing_alone_is_refused(sample_runs: SampleRuns) -> None:
    from dagster_defs.definitions import defs
    from enrich_dist.errors import PublicationBlockedError

    job = defs.resolve_job_def("enrich")
    overrides = [f"paths.work_dir={sample_runs.work_dir}"]

    with pytest.raises(PublicationBlockedError):
        job.execute_in_process(
            asset_selection=[dg.AssetKey("published_awards")],
            run_config={
                "resources": {
                    "settings": {"config": {"config": str(REPOSITORY / "config/sample.yaml"), "overrides": overrides}}
                },
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )


def test_status_reads_files(sample_runs: SampleRuns) -> None:
    status = enrich_dist("status", "--set", f"paths.work_dir={sample_runs.work_dir}")

    assert status.returncode == 0, status.stderr
    assert f"10 of 10 finished, {SAMPLE_RECIPIENTS:,} of {SAMPLE_RECIPIENTS:,} recipients" in status.stdout
    assert "blocked" in status.stdout
    assert f"{sample_runs.work_dir}/published/" in status.stdout


def test_status_imports_no_engine(sample_runs: SampleRuns) -> None:
    code = (
        "import sys, contextlib; from enrich_dist.cli.main import main\n"
        f"sys.argv = ['enrich-dist', 'status', '--set', 'paths.work_dir={sample_runs.work_dir}']\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print('heavy:', sorted({'dagster', 'distributed', 'pyarrow', 'numpy', 'duckdb'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert "recipients" in finished.stdout
    assert "heavy: []" in finished.stdout


def test_run_history_and_diff(sample_runs: SampleRuns, instance: dg.DagsterInstance) -> None:
    listed = enrich_dist("runs", "ls", "--json", "--work-dir", sample_runs.work_dir)
    shown = enrich_dist("runs", "diff", "--json", "--work-dir", sample_runs.work_dir)

    assert (listed.returncode, shown.returncode) == (0, 0), listed.stderr + shown.stderr
    runs, found = json.loads(listed.stdout), json.loads(shown.stdout)
    assert [run["run_id"] for run in reversed(runs)] == run_ids(instance)[: len(runs)]
    assert [run["status"] for run in runs] == ["blocked", "published"]
    assert [run["reused"] for run in runs] == ["all chunks", ""]
    assert runs[0]["recipients"]["blake3"] == file_digest(REPOSITORY / "data/sample/recipients.parquet")
    assert {"match_rate_threshold", "inputs.awards"} <= {item["key"] for item in runs[1]["changed_settings"]}
    # Only the first run has injected faults.
    assert {item["key"] for item in found["settings"]} == {
        "match_rate_threshold", "min_estimated_precision", *flatten(injected_faults())
    }  # fmt: skip
    assert {item["same_bytes"] for item in found["inputs"].values()} == {True}
    counts = found["awards"]["counts"]
    assert counts["kept"] + counts["open"] == found["awards"]["in_both"] == SAMPLE_AWARDS


def test_telemetry_is_off(sample_runs: SampleRuns, instance: dg.DagsterInstance) -> None:
    assert not instance.telemetry_enabled
    assert "enabled: false" in (REPOSITORY / "dagster.yaml").read_text("utf-8")


def test_example_rows_are_published(sample_runs: SampleRuns) -> None:
    rows = [
        match
        for line in (REPOSITORY / "README.md").read_text("utf-8").splitlines()
        if (match := _README_ROW.match(line))
    ]
    assert len(rows) == 2
    database = sample_runs.work_dir / "published" / "current" / "enrich_dist.duckdb"
    with duckdb.connect(str(database), read_only=True) as connection:
        for row in rows:
            found = connection.execute(
                "select recipient_name, match_status, round(100 * match_probability, 1) from company_matches "
                "where company_name = ?",
                [row["award"]],
            ).fetchall()
            recipient, status, percent = found[0]
            assert len(found) == 1
            assert row["recipient"].startswith(recipient)
            assert (status, percent) == (row["status"], float(row["percent"]))


def test_published_columns_are_documented(sample_runs: SampleRuns) -> None:
    published = sample_runs.work_dir / "published" / "current"
    awards = list(pq.read_schema(published / "enriched_awards.parquet"))
    further = awards[len(schema.AWARD) : -len(schema.AWARD_MATCH)]

    assert [field.name for field in awards[: len(schema.AWARD)]] == schema.AWARD.names
    assert [field.name for field in further] == ["ri_name"]
    assert pa.schema(awards[-len(schema.AWARD_MATCH) :]) == schema.AWARD_MATCH
    assert pq.read_schema(published / "company_matches.parquet") == schema.COMPANY_MATCH


@pytest.mark.parametrize("step", STEPS)
def test_every_figure_is_documented(step: str, sample_runs: SampleRuns) -> None:
    figures = RunDirectory(sample_runs.work_dir).latest(step).numbers
    kinds = {kind.name.lower() for kind in FailureKind}
    found = {re.sub(r"probability_\d+_to_\d+$", "probability_<band>", name) for name in figures}
    found = {
        re.sub(rf"_by_({'|'.join(METHODS)}|review)$", "_by_<method>", re.sub(f"_({'|'.join(kinds)})$", "_<kind>", name))
        for name in found
    }

    assert found == set(FIGURES[step])
