"""Operators are notified once per incident: real runs, and a real HTTP server that receives the messages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from dagster_defs.automation import nightly, notify_operators
from dagster_defs.checks import DRIFT_SPECS, VERDICT_SPECS
from dagster_defs.definitions import defs
from dagster_defs.launch import open_instance
from enrich_dist.core.files import read_json
from enrich_dist.events import Step
from enrich_dist.runs.archive import read_archive, write_record
from enrich_dist.runs.records import RunRecord
from enrich_dist.store.run_directory import CURRENT, Number
from tests.conftest import enrich_dist, free_port
from tests.integration.cluster.test_secrets import files_with
from tests.support import known_case as known
from tests.support.histories import match_rate, vary
from tests.support.in_process import run_in_process
from tests.support.listener import Listener, listening_for_posts, write_urls

pytestmark = pytest.mark.cluster
CANARY = "canary8b0e4"
GATE = "match_rate_threshold"


@pytest.fixture(scope="module")
def server() -> Iterator[Listener]:
    with listening_for_posts() as started:
        yield started


@pytest.fixture
def listener(server: Listener) -> Listener:
    server.taken()
    return server


class Project:
    """A folder with settings for the known case and an address file, and a Dagster instance of its own."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.folder = folder
        self.settings = known.settings(folder)
        document = self.settings.model_dump(mode="json", exclude_unset=True)
        document["notifications"] = {"urls_file": str(write_urls(folder / "secret" / "urls", *lines))}
        self.config = folder / "settings.yaml"
        self.config.write_text(yaml.safe_dump(document), "utf-8")
        self.home = folder / "home"
        self.cursor: str | None = None

    @property
    def work_dir(self) -> Path:
        return self.settings.paths.work_dir

    def run(self, instance: dg.DagsterInstance, *overrides: str, assets: list[str] | None = None) -> str:
        """Run the job in this process, as the daemon or the UI would launch it."""
        result = defs.resolve_job_def("enrich").execute_in_process(
            instance=instance,
            raise_on_error=False,
            asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
            run_config={
                "resources": {"settings": {"config": {"config": str(self.config), "overrides": list(overrides)}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
        return result.run_id

    def evaluate_sensor(self, instance: dg.DagsterInstance) -> int:
        """Evaluate the sensor once, as the daemon does, and return how many runs it handled; -1 for the first time."""
        context = dg.build_sensor_context(instance=instance, cursor=self.cursor)
        skipped = notify_operators(context)
        self.cursor = context.cursor
        assert isinstance(skipped, dg.SkipReason)
        count = str(skipped.skip_message).split()[0]
        return int(count) if count.isdecimal() else -1


@pytest.fixture
def project(tmp_path: Path, server: Listener) -> Project:
    made = Project(tmp_path, server.url(CANARY))
    run_in_process(made.settings)  # later runs find finished chunks and need no cluster
    return made


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        project.evaluate_sensor(opened)
        yield opened


def test_block_is_notified_once(project: Project, instance: dg.DagsterInstance, listener: Listener) -> None:
    found = []
    for gate in (0.99, 0.99, 0.5, 0.99):
        run_id = project.run(instance, f"{GATE}={gate}")
        project.evaluate_sensor(instance)
        found.append([run_id in post["message"] for post in listener.taken()])

    assert found == [[True], [], [], [True]]
    assert project.evaluate_sensor(instance) == 0


def test_block_message_has_reasons_and_report(
    project: Project, instance: dg.DagsterInstance, listener: Listener
) -> None:
    project.run(instance, f"{GATE}=0.99", "min_estimated_precision=1.0")
    project.evaluate_sensor(instance)

    [post] = listener.taken()
    assert post["title"] == "enrich_dist blocked: match_rate and 1 more"
    reasons = next(
        document["reasons"]
        for path in (project.work_dir / "results").glob("*/verdict.json")
        for document in [read_json(path)]
        if len(document["reasons"]) == 2
    )
    assert [reason for reason in reasons if reason not in post["message"]] == []
    assert f"Report: {project.work_dir / 'report.html'}" in post["message"]
    assert "Next: " in post["message"]


def test_failure_is_notified_once(project: Project, instance: dg.DagsterInstance, listener: Listener) -> None:
    missing = f"inputs.awards={project.folder / 'missing.csv'}"
    found = []
    for overrides in ([missing], [missing], [], [missing]):
        project.run(instance, *overrides)
        project.evaluate_sensor(instance)
        found.append(listener.taken())

    assert [len(posts) for posts in found] == [1, 0, 0, 1]
    [post] = found[0]
    assert post["title"].startswith("enrich_dist failed: ")
    assert "SourceError: " in post["message"]
    assert "missing.csv" in post["message"]
    assert "Traceback" not in post["message"]


@pytest.mark.long
def test_refused_publication_is_a_block(project: Project, instance: dg.DagsterInstance, listener: Listener) -> None:
    project.run(instance, f"{GATE}=0.99")
    project.evaluate_sensor(instance)
    listener.taken()

    project.run(instance, f"{GATE}=0.99", assets=["published_awards"])
    project.evaluate_sensor(instance)

    [post] = listener.taken()
    assert post["title"] == "enrich_dist blocked: published_awards"


@pytest.mark.long
def test_runs_before_the_sensor_are_ignored(project: Project, instance: dg.DagsterInstance, listener: Listener) -> None:
    project.run(instance, f"{GATE}=0.99")
    project.cursor = None

    assert project.evaluate_sensor(instance) == -1
    for gate in (0.99, 0.5, 0.99):
        project.run(instance, f"{GATE}={gate}")
    assert project.evaluate_sensor(instance) == 3
    assert len(listener.taken()) == 2


def test_other_projects_runs_are_ignored(project: Project, instance: dg.DagsterInstance, listener: Listener) -> None:
    @dg.op
    def fails() -> None:
        raise ValueError("not ours")

    @dg.job
    def theirs() -> None:
        fails()

    theirs.execute_in_process(instance=instance, raise_on_error=False)

    assert project.evaluate_sensor(instance) == 1
    assert listener.taken() == []


@pytest.mark.long
def test_failed_notification_is_sent_again(project: Project, instance: dg.DagsterInstance, listener: Listener) -> None:
    write_urls(project.folder / "secret" / "urls", f"json://127.0.0.1:{free_port()}/{CANARY}")
    project.run(instance, f"{GATE}=0.99")
    project.evaluate_sensor(instance)
    write_urls(project.folder / "secret" / "urls", listener.url())

    run_id = project.run(instance, f"{GATE}=0.99")
    project.evaluate_sensor(instance)

    [post] = listener.taken()
    assert run_id in post["message"]


def checks_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, dg.AssetCheckEvaluation]:
    found = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    evaluations = [entry.dagster_event.asset_check_evaluation_data for entry in found if entry.dagster_event]
    return {evaluation.check_name: evaluation for evaluation in evaluations}


@pytest.mark.long
def test_verdict_checks_are_blocking_asset_checks(project: Project, instance: dg.DagsterInstance) -> None:
    run_id = project.run(instance, f"{GATE}=0.99")
    verdict = next(
        document
        for path in (project.work_dir / "results").glob("*/verdict.json")
        for document in [read_json(path)]
        if document["status"] == "blocked"
    )

    found = checks_of(instance, run_id)

    assert {check["name"] for check in verdict["checks"]} == {spec.name for spec in VERDICT_SPECS}
    assert all(spec.blocking for spec in VERDICT_SPECS)
    for check in verdict["checks"]:
        assert found[check["name"]].passed == check["passed"]
        assert check["reason"] in str(found[check["name"]].description)
        assert found[check["name"]].metadata["threshold"].value == check["threshold"]


@pytest.mark.long
def test_blocked_asset_has_the_reason(project: Project, instance: dg.DagsterInstance) -> None:
    run_id = project.run(instance, f"{GATE}=0.99")

    [entry] = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    skipped = [entry.user_message for entry in instance.all_logs(run_id) if entry.step_key == "published_awards"]

    assert entry.dagster_event is not None
    observation: Any = entry.dagster_event.event_specific_data
    assert observation.asset_observation.asset_key == dg.AssetKey("published_awards")
    assert "match rate" in observation.asset_observation.metadata["blocked_because"].value
    assert any("published_awards" in str(message) for message in skipped)
    assert not (project.work_dir / "published" / CURRENT).exists()


@pytest.mark.long
def test_first_run_passes_drift_checks(project: Project, instance: dg.DagsterInstance) -> None:
    found = checks_of(instance, project.run(instance))

    drift = {spec.name: found[spec.name] for spec in DRIFT_SPECS}
    assert all(evaluation.passed for evaluation in drift.values())
    assert not drift["match_rate_drift"].metadata["compared"].value


def faster(record: RunRecord, number: int, by: float) -> RunRecord:
    """Return a record of an earlier run that was faster, with a higher match rate and less memory."""
    rate = (Step.CHUNK_MATCHES, Number.FARM_RECORDS_PER_SECOND)
    return vary(
        record,
        run_id=f"planted{number:05d}",
        finished_seconds=record.finished_seconds - 3_600 * number,
        steps={name: replace(step, seconds=step.seconds / by) for name, step in record.steps.items()},
        numbers={rate: record.matching(rate[1]) * by, **match_rate(min(record.match_rate + 0.02, 1.0))},
        workers=tuple(
            replace(worker, peak_memory_bytes=int(worker.peak_memory_bytes / 1.35)) for worker in record.workers
        ),
    )


@pytest.mark.long
def test_regression_fails_checks_and_is_notified(tmp_path: Path, listener: Listener) -> None:
    project = Project(tmp_path, listener.url())
    with open_instance(project.home) as instance:
        project.evaluate_sensor(instance)
        project.run(instance)
        [record] = read_archive(project.work_dir / "benchmarks").records
        assert record.computed_everything
        found = []
        for by in (1.0, 100.0, 100.0):
            # Only the records of six earlier runs remain.
            shutil.rmtree(project.work_dir / "benchmarks")
            for folder in ("awards", "companies", "index", "chunks", "checkpoints", "results", "published"):
                shutil.rmtree(project.work_dir / folder, ignore_errors=True)
            for number in range(6):
                planted = faster(record, number, by)
                if by == 1.0:
                    planted = vary(planted, numbers=match_rate(record.match_rate), workers=record.workers)
                write_record(project.work_dir / "benchmarks", planted)
            run_id = project.run(instance, "checks.warn_slower_share=4", "checks.fail_slower_share=5")
            project.evaluate_sensor(instance)
            found.append((run_id, checks_of(instance, run_id), listener.taken()))

    (_, equal, none), (run_id, worse, [post]), (_, again, nothing) = found
    assert none == nothing == []
    assert {name: equal[name].passed for name in equal} == dict.fromkeys(equal, True)
    assert equal["run_seconds"].metadata["compared"].value is True
    for checks in (worse, again):
        assert {name for name in checks if not checks[name].passed} == {spec.name for spec in DRIFT_SPECS}
    assert worse["run_seconds"].severity is dg.AssetCheckSeverity.ERROR
    assert worse["records_per_second"].severity is dg.AssetCheckSeverity.ERROR
    assert worse["worker_peak_memory"].severity is dg.AssetCheckSeverity.WARN
    assert worse["match_rate_drift"].severity is dg.AssetCheckSeverity.WARN
    assert worse["match_rate_drift"].metadata["worse_by_points"].value == pytest.approx(2.0)
    assert worse["run_seconds"].metadata["recent_runs"].value == 6
    assert (project.work_dir / "published" / CURRENT).exists(), "a regression does not block"
    assert post["title"].startswith("enrich_dist regression: ")
    assert run_id in post["message"]
    for evaluation in (worse[spec.name] for spec in DRIFT_SPECS):
        assert str(evaluation.description) in post["message"]


@pytest.mark.long
def test_command_line_notifies_before_the_sensor(tmp_path: Path, listener: Listener) -> None:
    project = Project(tmp_path, listener.url(CANARY), f"json://user:{CANARY}@127.0.0.1:{free_port()}/{CANARY}")
    arguments = ["run", "--config", project.config, "--verbose"]
    with open_instance(project.home) as instance:
        project.evaluate_sensor(instance)

    blocked = enrich_dist(*arguments, "--set", f"{GATE}=0.99", DAGSTER_HOME=str(project.home))
    first = listener.taken()
    again = enrich_dist(*arguments, "--set", f"{GATE}=0.99", DAGSTER_HOME=str(project.home))
    second = listener.taken()
    bad = enrich_dist(*arguments, "--set", "inputs.awards=missing.csv", DAGSTER_HOME=str(project.home))
    third = listener.taken()
    with open_instance(project.home) as instance:
        runs = [run.run_id for run in instance.get_runs()]
        handled = project.evaluate_sensor(instance)

    assert (blocked.returncode, again.returncode, bad.returncode) == (3, 3, 2)
    assert [len(first), len(second), len(third)] == [1, 0, 1]
    assert runs[-1] in first[0]["message"]
    assert third[0]["title"] == "enrich_dist failed: start"
    assert handled == 2
    assert listener.taken() == []
    for ended in (blocked, bad):
        assert "line 2 (json)" in ended.stderr
    printed = "".join(done.stdout + done.stderr for done in (blocked, again, bad))
    assert CANARY not in printed
    assert files_with([CANARY.encode()], project.work_dir, project.home) == {}


def test_schedule_is_stopped_by_default() -> None:
    assert nightly.default_status is dg.DefaultScheduleStatus.STOPPED
    assert nightly.cron_schedule == "0 3 * * *"
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime(2026, 11, 26, 3))
        evaluation = nightly.evaluate_tick(context)
    assert evaluation.run_requests is not None
    assert len(evaluation.run_requests) == 1
