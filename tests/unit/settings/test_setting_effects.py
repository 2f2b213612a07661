"""What settings do, seen without a cluster: each test changes one and sees what its comment in base.yaml says.

Those that need workers stand beside the rest that does (``tests/unit/settings/test_every_setting.py`` finds all).
"""

from __future__ import annotations

import csv
import threading
import time
import urllib.error
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from dagster_defs.assets import log_events
from dagster_defs.resources import EnrichSettings
from enrich_dist.errors import BudgetError
from enrich_dist.events import FarmProgress, emit
from enrich_dist.monitoring.prometheus.run_monitor import RunMonitor
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.preflight.runner import admit
from enrich_dist.run_lifecycle import finish_run
from enrich_dist.runs.archive import read_archive
from enrich_dist.runs.drift import judge_drift
from enrich_dist.runs.growth import Severity
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import Output
from tests.conftest import free_port
from tests.support.histories import match_rate, vary
from tests.support.in_process import run_in_process
from tests.support.known_case import AWARDS, RECIPIENT_ROWS, settings, write_inputs
from tests.support.prometheus_server import read
from tests.unit.runs.test_drift import judged, now, past


def statuses(pipeline: Pipeline) -> dict[str, str]:
    """Award's company → match status."""
    result = pipeline.directory.output(Output.RESULT)
    table = pq.read_table(Path(result) / "enriched_awards.parquet", columns=["company", "match_status"])
    return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))


def metrics(pipeline: Pipeline) -> dict[str, Any]:
    from enrich_dist.core.files import read_json

    return read_json(Path(pipeline.directory.output(Output.RESULT)) / "metrics.json")


def records(pipeline: Pipeline) -> list[Any]:
    store = CheckpointStore(pipeline.checkpoint_location)
    return [store.read_record(task.checkpoint_key) for task in pipeline.tasks()]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The known case, with everything at its default but what a run of it needs."""
    return run_in_process(settings(tmp_path_factory.mktemp("plain")))


# --- inputs


@pytest.mark.setting("inputs.awards")
def test_awards_setting_selects_file(tmp_path: Path) -> None:
    awards, recipients = write_inputs(tmp_path)
    short = tmp_path / "short.csv"
    short.write_text("".join(awards.read_text("utf-8").splitlines(keepends=True)[:4]), "utf-8")

    assert Pipeline(settings(tmp_path, inputs=(short, recipients)), "test").ingest_awards().rows == 3


@pytest.mark.setting("inputs.recipients")
def test_recipients_setting_selects_file(tmp_path: Path) -> None:
    awards, recipients = write_inputs(tmp_path)
    pq.write_table(pq.read_table(recipients).slice(0, 7), tmp_path / "few.parquet")

    run = settings(tmp_path, inputs=(awards, tmp_path / "few.parquet"))

    assert Pipeline(run, "test").partition_recipients().rows == 7


@pytest.mark.setting("inputs.recipients_member")
def test_member_selects_file_in_zip(tmp_path: Path) -> None:
    awards, recipients = write_inputs(tmp_path)
    both = tmp_path / "both.zip"
    table = pq.read_table(recipients).drop_columns("alternate_names")
    with zipfile.ZipFile(both, "w") as archive:
        for name, rows in (("few.csv", 5), ("fewer.csv", 3)):
            pacsv.write_csv(table.slice(0, rows), tmp_path / name)
            archive.write(tmp_path / name, name)
    inputs = {"awards": awards, "recipients": both, "recipients_member": "fewer.csv"}

    found = Pipeline(Settings(inputs=inputs, paths={"work_dir": tmp_path / "w"}), "test").partition_recipients()

    assert found.numbers["source_rows"] == 3


@pytest.mark.setting("inputs.award_columns")
def test_award_columns_are_renamed(tmp_path: Path) -> None:
    awards, recipients = write_inputs(tmp_path)
    with awards.open(newline="", encoding="utf-8") as handle:
        header, *rows = csv.reader(handle)
    with awards.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["Grantee" if name == "Company" else name for name in header], *rows])
    inputs = {"awards": awards, "recipients": recipients, "award_columns": {"company": "Grantee"}}

    assert Pipeline(Settings(inputs=inputs, paths={"work_dir": tmp_path / "w"}), "test").ingest_awards().rows == 19


@pytest.mark.setting("inputs.recipient_columns")
def test_recipient_columns_are_renamed(tmp_path: Path) -> None:
    awards, recipients = write_inputs(tmp_path)
    table = pq.read_table(recipients)
    renamed = ["org" if name == "legal_business_name" else name for name in table.column_names]
    pq.write_table(table.rename_columns(renamed), recipients)
    inputs = {"awards": awards, "recipients": recipients, "recipient_columns": {"name": "org"}}

    found = Pipeline(Settings(inputs=inputs, paths={"work_dir": tmp_path / "w"}), "test").partition_recipients()

    assert found.rows == RECIPIENT_ROWS - 1


# --- paths


@pytest.mark.setting("paths.work_dir")
def test_outputs_are_below_work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    run_in_process(settings(tmp_path, paths={"work_dir": tmp_path / "there"})).publish_awards()

    assert (tmp_path / "there" / "published" / "current" / "enriched_awards.parquet").is_file()
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.setting("paths.checkpoints")
def test_checkpoints_lie_where_they_are_to(tmp_path: Path) -> None:
    run = settings(tmp_path, paths={"work_dir": tmp_path / "work", "checkpoints": str(tmp_path / "kept")})

    pipeline = run_in_process(run)

    assert len(list((tmp_path / "kept").glob("*.json"))) == len(pipeline.tasks()) > 1
    assert not (tmp_path / "work" / "checkpoints").exists()


@pytest.mark.setting("paths.benchmarks")
def test_benchmarks_setting_locates_record(tmp_path: Path) -> None:
    pipeline = run_in_process(settings(tmp_path, paths={"work_dir": tmp_path / "work", "benchmarks": tmp_path / "all"}))

    finish_run(pipeline)

    assert len(read_archive(tmp_path / "all").records) == 1
    assert not pipeline.directory.benchmarks.exists()


# --- chunks and memory


@pytest.mark.setting("chunk_size")
def test_chunk_size_sets_chunk_count(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)

    def chunks(size: int) -> float:
        run = settings(tmp_path / str(size), inputs=inputs, chunk_size=size)
        return Pipeline(run, "test").partition_recipients().numbers["chunks"]

    assert {size: chunks(size) for size in (5, 20, 1_000)} == {5: 11, 20: 3, 1_000: 1}


@pytest.mark.setting("memory_threshold_mb")
def test_memory_threshold_refuses_or_shrinks_batches(
    tmp_path: Path,
) -> None:
    inputs = write_inputs(tmp_path)
    with pytest.raises(BudgetError, match="memory_threshold_mb is 256"):
        admit(settings(tmp_path, inputs=inputs, memory_threshold_mb=256))

    from enrich_dist.pipeline.tasks import fit_tasks_to_memory

    pipeline = Pipeline(settings(tmp_path, inputs=inputs, chunk_size=1_000_000), "test")
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    large = [replace(task, chunk_rows=1_000_000, batch_rows=65_536) for task in pipeline.tasks()]

    def batch_rows(threshold_mb: int) -> int:
        run = settings(tmp_path, inputs=inputs, memory_threshold_mb=threshold_mb)
        return fit_tasks_to_memory(large, run)[0].batch_rows

    assert batch_rows(1_500) == 65_536
    assert batch_rows(400) < 65_536


# --- the gate


def verdict(folder: Path, plain: Pipeline, **values: Any) -> str:
    """The verdict on the known case, whose chunks are matched already."""
    inputs = (plain.settings.inputs.awards, plain.settings.inputs.recipients)
    run = settings(folder, inputs=inputs, paths={"work_dir": plain.directory.root}, **values)
    pipeline = Pipeline(run, "judged")
    pipeline.enrich_awards()
    return "; ".join(pipeline.verdict()["reasons"])


@pytest.mark.setting("match_rate_threshold")
def test_low_match_rate_blocks(tmp_path: Path, plain: Pipeline) -> None:
    assert "match rate 68.4% (minimum 69.0%)" in verdict(tmp_path, plain, match_rate_threshold=0.69)
    assert verdict(tmp_path, plain, match_rate_threshold=0.68) == ""


@pytest.mark.setting("min_estimated_precision")
def test_matches_that_are_too_doubtful_block(tmp_path: Path, plain: Pipeline) -> None:
    assert "estimated precision 97.0% (minimum" in verdict(tmp_path, plain, min_estimated_precision=0.9999)
    assert verdict(tmp_path, plain, min_estimated_precision=0.5) == ""


# --- matching


def crowd(folder: Path, companies: list[tuple[str, str]], recipient: str) -> tuple[Path, Path]:
    """Awards of these companies (name, state), each in a town Reno, and a recipient of this name in that of Nevada."""
    awards, recipients = write_inputs(folder)
    with awards.open(newline="", encoding="utf-8") as handle:
        header, first, *_ = csv.reader(handle)
    known = dict(zip(header, first, strict=True))
    with awards.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, header)
        writer.writeheader()
        for number, (name, state) in enumerate(companies):
            place = {"City": "Reno", "State": state, "Zip": "", "UEI": "", "Duns": ""}
            writer.writerow(known | place | {"Company": name, "Award Title": f"award {number}"})
    table = pq.read_table(recipients)
    rows = table.to_pylist()
    rows[0] |= {"legal_business_name": recipient, "uei": None, "city": "RENO", "state": "NV", "zip5": None}
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), recipients)
    return awards, recipients


ALIKE = [(f"Quantum Widgets {letter * 2}", "NV") for letter in "ABCDEFGHIJLM"]  # KK would be a legal form


def candidates(folder: Path, inputs: tuple[Path, Path], **matching: Any) -> int:
    run = settings(folder, inputs=inputs, matching=matching)
    return sum(record.candidates for record in records(run_in_process(run)))


@pytest.mark.setting("matching.min_name_overlap")
def test_min_name_overlap_limits_candidates(tmp_path: Path) -> None:
    inputs = crowd(tmp_path, ALIKE, "WIDGETS QUANTUM XANADU")

    assert candidates(tmp_path / "some", inputs, min_name_overlap=0.2) == 8
    assert candidates(tmp_path / "all", inputs, min_name_overlap=0.98) == 0


@pytest.mark.setting("matching.max_candidates_per_name")
def test_max_candidates_per_name_limits(tmp_path: Path) -> None:
    inputs = crowd(tmp_path, ALIKE, "WIDGETS QUANTUM XANADU")

    assert [candidates(tmp_path / str(most), inputs, max_candidates_per_name=most) for most in (2, 5)] == [2, 5]


@pytest.mark.setting("matching.max_block_size")
def test_max_block_size_skips_and_counts(tmp_path: Path) -> None:
    inputs = crowd(
        tmp_path, [("Quantum Widgets", state) for state in ("NV", "CA", "TX", "NY", "OH")], "QUANTUM WIDGETS"
    )

    def left_out(most: int) -> int:
        run = settings(tmp_path / str(most), inputs=inputs, matching={"max_block_size": most})
        return int(metrics(run_in_process(run))["model"]["blocks_left_out"])

    assert left_out(5) == 0
    assert left_out(4) > 0


@pytest.mark.setting("matching.batch_rows")
def test_batch_rows_keeps_result(tmp_path: Path, plain: Pipeline) -> None:
    small = run_in_process(settings(tmp_path, matching={"batch_rows": 3}))

    assert {record.batch_rows for record in records(small)} == {3}
    assert {record.batch_rows for record in records(plain)} != {3}
    assert [record.blake3 for record in records(small)] == [record.blake3 for record in records(plain)]


@pytest.mark.setting("matching.accept_probability")
def test_accept_probability_is_inclusive(tmp_path: Path, plain: Pipeline) -> None:
    lax = run_in_process(settings(tmp_path, matching={"accept_probability": 0.4}))

    assert statuses(plain)["Ambiguous Optics"] == "review"  # of two, each as probable as the other
    assert statuses(lax)["Ambiguous Optics"] == "matched"


@pytest.mark.setting("matching.review_probability")
def test_review_probability_is_inclusive(tmp_path: Path, plain: Pipeline) -> None:
    strict = run_in_process(settings(tmp_path, matching={"review_probability": 0.5}))

    assert statuses(plain)["Ambiguous Optics"] == "review"
    assert statuses(strict)["Ambiguous Optics"] == "unmatched"
    assert len(statuses(strict)) == len({award.company for award in AWARDS})


# --- the log


@pytest.mark.setting("farm.progress_interval_seconds")
def test_progress_lines_come_so_often(capfd: pytest.CaptureFixture[str]) -> None:
    resource = EnrichSettings(overrides=["farm.progress_interval_seconds=0.01"])

    with log_events(dg.build_asset_context(), resource):
        for done in range(1, 4):
            emit(progress(done))
            time.sleep(0.02)

    assert capfd.readouterr().err.count(" of 100 recipients") == 3


def progress(done: int) -> FarmProgress:
    return FarmProgress(
        chunks_total=10, chunks_done=done, chunks_resumed=0, records_total=100, records_done=10 * done, awards_total=7,
        awards_matched=3, records_per_second=20.0, remaining_seconds=5.0, workers=2,
    )  # fmt: skip


# --- monitoring


@contextmanager
def monitored(folder: Path, **monitoring: Any) -> Iterator[None]:
    run = settings(folder, monitoring=monitoring)
    pipeline = Pipeline(run, "test")
    watched = RunMonitor(pipeline.directory, run, "test")
    watched.start()
    pipeline.ingest_awards()
    try:
        yield
    finally:
        watched.stop()


@pytest.mark.setting("monitoring.port")
def test_port_serves_metrics(tmp_path: Path) -> None:
    port = free_port()

    with monitored(tmp_path, port=port):
        assert "enrich_dist_run_active 1.0" in read(f"http://127.0.0.1:{port}/metrics")


@pytest.mark.setting("monitoring.address")
def test_metrics_bind_to_address(tmp_path: Path) -> None:
    port = free_port()

    with monitored(tmp_path, port=port, address="127.0.0.2"):
        assert "enrich_dist_run_active 1.0" in read(f"http://127.0.0.2:{port}/metrics")
        with pytest.raises(urllib.error.URLError):
            read(f"http://127.0.0.1:{port}/metrics")


@pytest.mark.setting("monitoring.textfile")
def test_textfile_is_written(tmp_path: Path) -> None:
    with monitored(tmp_path, textfile=tmp_path / "run.prom"):
        assert not (tmp_path / "run.prom").exists()

    assert 'enrich_dist_step_rows{step="sbir_awards"} 19.0' in (tmp_path / "run.prom").read_text("utf-8")


@contextmanager
def gateway() -> Iterator[tuple[str, list[str]]]:
    """A listener that takes what is pushed: its address, and the paths that were asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert b"enrich_dist_run_active" not in self.rfile.read(int(self.headers["content-length"]))
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", paths
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.setting("monitoring.pushgateway", "monitoring.job")
def test_pushgateway_receives_job(tmp_path: Path) -> None:
    with gateway() as (address, paths), monitored(tmp_path, pushgateway=address, job="nightly"):
        pass

    assert paths == ["/metrics/job/nightly"]


# --- checks


@pytest.mark.setting("checks.recent_runs")
def test_recent_runs_limits_baseline() -> None:
    assert judged(now(), past(20), Settings(checks={"recent_runs": 7}).checks)["run_seconds"].runs == 7


@pytest.mark.parametrize(
    ("limit", "changes", "name"),
    [
        ("warn_slower_share", {"slower": 1.06}, "run_seconds"),
        ("warn_memory_share", {"memory": 1.06}, "worker_peak_memory"),
        ("warn_match_rate_points", {"match_rate": 0.4994}, "match_rate_drift"),
    ],
)
@pytest.mark.setting("checks.warn_slower_share", "checks.warn_memory_share", "checks.warn_match_rate_points")
def test_a_warning_begins_at_its_limit(limit: str, changes: dict[str, float], name: str) -> None:
    assert severity(changes, name, {limit: 0.05}) is Severity.WARN
    assert severity(changes, name, {}) is Severity.PASSED


@pytest.mark.parametrize(
    ("limit", "changes", "name", "values"),
    [
        ("fail_slower_share", {"slower": 1.2}, "run_seconds", (0.15, 0.5)),
        ("fail_memory_share", {"memory": 1.3}, "worker_peak_memory", (0.25, 0.6)),
        ("fail_match_rate_points", {"match_rate": 0.47}, "match_rate_drift", (2.0, 4.0)),
    ],
)
@pytest.mark.setting("checks.fail_slower_share", "checks.fail_memory_share", "checks.fail_match_rate_points")
def test_an_error_begins_at_its_limit(
    limit: str, changes: dict[str, float], name: str, values: tuple[float, float]
) -> None:
    below, above = values

    assert severity(changes, name, {limit: below}) is Severity.ERROR
    assert severity(changes, name, {limit: above}) is Severity.WARN


def severity(changes: dict[str, float], name: str, limits: dict[str, float]) -> Severity:
    """How a run with these changes stands beside ten even ones."""
    given = {key: value for key, value in changes.items() if key != "match_rate"}
    current = vary(now(**given), numbers=match_rate(changes.get("match_rate", 0.5)))
    found = judge_drift(current, past(noise=0.002), Settings(checks=limits).checks)
    return next(drift.severity for drift in found if drift.name == name)
