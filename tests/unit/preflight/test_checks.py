"""Every item of the preflight, holding and not holding, on real files, servers and processes.

Items that ask real workers of a cluster over TLS: tests/integration/cluster/test_readiness_workers.py.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from enrich_dist.preflight.catalog import CHECKS
from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Outcome, Status
from enrich_dist.preflight.smoke_run import read_smoke_test
from enrich_dist.runs.archive import set_baseline, write_record
from enrich_dist.runs.machine import Machine, this_machine
from enrich_dist.runs.records import RunRecord, settings_that_matter
from enrich_dist.runs.revision import Code, source_digest, this_code
from enrich_dist.settings import LoadedSettings, Settings, load_settings
from tests.conftest import free_port
from tests.support import prometheus_server
from tests.support.histories import a_run, a_session
from tests.support.hosts import wait_until
from tests.support.in_process import run_in_process
from tests.support.known_case import AWARDS, settings, write_inputs
from tests.support.listener import listening_for_posts, write_urls
from tests.support.preflight_case import loaded_of, vulnerability_database

RUN = {item.id: item.check for item in CHECKS}


def found(name: str, settings: Settings | LoadedSettings, **options: Any) -> Outcome:
    """What the item says."""
    loaded = settings if isinstance(settings, LoadedSettings) else loaded_of(settings)
    with PreflightContext(loaded, **options) as context:
        return RUN[name](context)


# smoke_test


def smoke_config(folder: Path, awards: Path | None = None) -> Path:
    """A small run of the known case, as a settings file."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = write_inputs(folder / "smoke inputs")
    document = {
        "inputs": {"awards": str(awards or inputs[0]), "recipients": str(inputs[1])},
        "chunk_size": 30,
        "match_rate_threshold": 0.5,
    }
    (folder / "smoke.yaml").write_text(yaml.safe_dump(document), "utf-8")
    return folder / "smoke.yaml"


@pytest.mark.long
@pytest.mark.setting("readiness.smoke_config")
def test_the_smoke_test_runs_the_job_once_and_then_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is set for production must not act on it: by these it could not even begin.
    monkeypatch.setenv("ENRICH_DIST_ENVIRONMENT", "production")
    monkeypatch.setenv("ENRICH_DIST_INPUTS__AWARDS", str(tmp_path / "nowhere"))
    run = settings(tmp_path, readiness={"smoke_config": smoke_config(tmp_path)})

    first = found("smoke_test", run)
    again = found("smoke_test", run)

    assert first.status is Status.PASSED, first.summary
    assert (first.facts["awards"], first.facts["revision"]) == (len(AWARDS), this_code().label)
    assert first == again  # with the time at which it was run
    assert not list((tmp_path / "work" / "scratch").iterdir())
    done = read_smoke_test(tmp_path / "work" / "readiness")
    assert done is not None
    now, code, digest, path = datetime.now(UTC), this_code(), source_digest(), tmp_path / "smoke.yaml"
    assert done.counts(code, digest, path, now=now, max_age_hours=24)
    assert not done.counts(replace(code, revision="0" * 40), digest, path, now=now, max_age_hours=24)
    assert not done.counts(code, "00", path, now=now, max_age_hours=24)
    assert not done.counts(code, digest, tmp_path / "other.yaml", now=now, max_age_hours=24)
    assert not done.counts(code, digest, path, now=now + timedelta(hours=25), max_age_hours=24)
    assert not replace(done, passed=False).counts(code, digest, path, now=now, max_age_hours=24)

    record = tmp_path / "work" / "readiness" / "smoke.json"
    record.write_text(record.read_text("utf-8").replace(f'"awards": {len(AWARDS)}', '"awards": 99'), "utf-8")
    assert read_smoke_test(tmp_path / "work" / "readiness") is None


def test_a_smoke_test_that_fails_says_why(tmp_path: Path) -> None:
    config = smoke_config(tmp_path, awards=tmp_path / "gone.csv")
    run = settings(tmp_path, readiness={"smoke_config": config})

    failed = found("smoke_test", run)

    assert failed.status is Status.FAILED
    assert "ended with exit code 2" in failed.summary
    assert "gone.csv" in failed.summary
    missing = found("smoke_test", settings(tmp_path, readiness={"smoke_config": tmp_path / "none.yaml"}))
    assert (missing.status, "There is no settings file" in missing.summary) == (Status.FAILED, True)


# last_verdict


def test_the_last_verdict_is_that_of_the_latest_result_by_the_thresholds_of_now(tmp_path: Path) -> None:
    run = settings(tmp_path)
    inputs = (run.inputs.awards, run.inputs.recipients)
    assert found("last_verdict", run).status is Status.UNKNOWN

    run_in_process(run, "first")
    good = found("last_verdict", run)
    assert (good.status, good.facts["run_id"]) == (Status.PASSED, "first")

    stricter = settings(tmp_path, inputs=inputs, match_rate_threshold=0.6)  # type: ignore[arg-type]
    laxer = found("last_verdict", stricter)
    assert (laxer.status, "passed at match_rate_threshold 0.5, now it is 0.6" in laxer.summary) == (Status.FAILED, True)

    blocked_by = settings(tmp_path, inputs=inputs, match_rate_threshold=0.99)  # type: ignore[arg-type]
    run_in_process(blocked_by, "second")
    blocked = found("last_verdict", run)
    assert (blocked.status, "the quality gate blocked this result" in blocked.summary) == (Status.FAILED, True)


# baseline


def measured(archive: Path, name: str, code: Code, machine: Machine, *, slower: float = 1.0, days: int = 0) -> None:
    """A session of seven runs with little noise; the first one is made the baseline."""
    random = np.random.default_rng(7)
    at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=days)
    records = [
        replace(run, code=code, machine=machine) for run in a_session(random, 0.01, slower=slower, name=name, at=at)
    ]
    for record in records:
        write_record(archive, record)
    if not days:
        set_baseline(archive, records)


OLD = Code("0.1.0", "0" * 40, False)
COMMITTED = Code("0.1.0", "1" * 40, False)


@pytest.mark.parametrize(
    ("sessions", "status", "told"),
    [
        ([], Status.FAILED, "This machine has no baseline"),
        ([(COMMITTED, 1.0)], Status.PASSED, "This revision is the baseline (1111111111"),
        ([(OLD, 1.0), (COMMITTED, 1.0)], Status.PASSED, "No regression against the baseline (0000000000"),
        ([(OLD, 1.0), (COMMITTED, 1.3)], Status.FAILED, "A regression against the baseline (0000000000"),
        ([(OLD, 1.0), (OLD, 1.0)], Status.WARNING, "of 0000000000 and not of 1111111111"),
    ],
)
def test_the_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sessions: list[tuple[Code, float]], status: Status, told: str
) -> None:
    run = settings(tmp_path, paths={"work_dir": tmp_path / "work", "benchmarks": tmp_path / "archive"})
    for number, (code, slower) in enumerate(sessions):
        measured(tmp_path / "archive", f"session{number}", code, this_machine(), slower=slower, days=number)
    with PreflightContext(loaded_of(run)) as context:
        context.code = COMMITTED
        finding = RUN["baseline"](context)

    assert (finding.status, told in finding.summary) == (status, True), finding.summary


def test_a_baseline_of_another_machine_is_none(tmp_path: Path) -> None:
    run = settings(tmp_path, paths={"work_dir": tmp_path / "work", "benchmarks": tmp_path / "archive"})
    measured(tmp_path / "archive", "elsewhere", this_code(), replace(this_machine(), cores=999))

    assert found("baseline", run).status is Status.FAILED


# settings_valid, no_insecure_override


def test_settings_whose_files_are_there_are_valid_and_others_named(tmp_path: Path) -> None:
    run = settings(tmp_path)
    assert found("settings_valid", run).status is Status.PASSED

    wrong = run.model_copy(
        update={
            "inputs": run.inputs.model_copy(update={"recipients": str(tmp_path / "gone.parquet")}),
            "memory_threshold_mb": 256,
        }
    )
    finding = found("settings_valid", wrong)

    assert (finding.status, finding.facts["problems"]) == (Status.FAILED, 2)
    assert "gone.parquet" in finding.summary
    assert "memory_threshold_mb" in finding.summary


@pytest.mark.parametrize(
    ("overrides", "status", "told"),
    [
        ([], Status.PASSED, "thresholds are those of the product"),
        (["cluster.allow_insecure=true"], Status.FAILED, "cluster.allow_insecure lets the cluster work without TLS"),
        (["testing.fault_probability=0.1"], Status.FAILED, "testing.fault_probability is 0.1 (command line)"),
        (["match_rate_threshold=0.6"], Status.WARNING, "match_rate_threshold is 0.6, laxer than 0.7 (command line)"),
        (["min_estimated_precision=0.9"], Status.WARNING, "min_estimated_precision is 0.9, laxer than 0.95"),
        (["max_quarantined_share=0.1"], Status.WARNING, "max_quarantined_share is 0.1, laxer than 0.001"),
        (["matching.accept_probability=0.5"], Status.WARNING, "matching.accept_probability is 0.5, laxer than 0.68"),
        (["match_rate_threshold=0.8", "max_quarantined_share=0"], Status.PASSED, ""),  # stricter
        (["monitoring.pushgateway=http://gateway:9091"], Status.WARNING, "pushgateway is http beyond this machine"),
        (["monitoring.pushgateway=http://127.0.0.1:9091"], Status.PASSED, ""),
        (["monitoring.pushgateway=https://gateway:9091"], Status.PASSED, ""),
        (["monitoring.port=9410", "monitoring.address=0.0.0.0"], Status.WARNING, "lets others read the figures"),
        (["paths.checkpoints=s3://bucket/prefix?scheme=http"], Status.WARNING, "paths.checkpoints has scheme=http"),
    ],
)
def test_insecure_and_loosened_settings_are_told_with_their_origin(
    overrides: list[str], status: Status, told: str
) -> None:
    finding = found("no_insecure_override", load_settings(None, overrides, {}))

    assert (finding.status, told in finding.summary) == (status, True), finding.summary


# storage


@pytest.mark.setting("readiness.min_free_gb")
def test_storage(tmp_path: Path) -> None:
    def at(work_dir: Path, checkpoints: Path | None = None, **readiness: Any) -> Outcome:
        paths = {"work_dir": work_dir, "checkpoints": None if checkpoints is None else str(checkpoints)}
        return found("storage", Settings(paths=paths, readiness={"min_free_gb": 0.001, **readiness}))  # type: ignore[arg-type]

    a_file = tmp_path / "file"
    a_file.write_text("", "utf-8")
    good = at(tmp_path / "work", tmp_path / "checkpoints")
    assert good.status is Status.PASSED
    assert set(good.facts) == {"min_free_gb", "work_dir_free_gb", "checkpoints_free_gb"}
    assert not list((tmp_path / "work" / "readiness").iterdir())

    for finding, told in (
        (at(a_file / "work"), "cannot be written to"),
        (at(tmp_path / "work", a_file / "checkpoints"), "The checkpoint location"),
        (at(tmp_path / "work", min_free_gb=1e9), "Too little is free for work_dir"),
    ):
        assert (finding.status, told in finding.summary) == (Status.FAILED, True), finding.summary


# memory_fits, time_fits


@pytest.mark.long
def test_memory_is_projected_with_the_runs_own_index_and_leaves_nothing(tmp_path: Path) -> None:
    run = settings(tmp_path)
    fits = found("memory_fits", run)
    assert fits.status is Status.PASSED, fits.summary
    assert "for the index" in fits.summary
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["scratch"]
    assert not list((tmp_path / "work" / "scratch").iterdir())

    least = int(str(fits.facts["least_threshold_mb"]))
    for threshold_mb, status in ((least, Status.PASSED), (least - 1, Status.FAILED)):
        small = run.model_copy(update={"memory_threshold_mb": threshold_mb})
        assert found("memory_fits", small).status is status


def recorded(run: Settings, name: str, **change: Any) -> RunRecord:
    """A record of a run of these settings on this machine that took an hour."""
    record = replace(
        a_run(name, session=None),
        machine=this_machine(),
        settings=settings_that_matter(run),
        dataset=replace(a_run().dataset, recipients=55),
    )
    seconds = sum(stage.seconds for stage in record.stages.values())
    stages = {step: replace(stage, seconds=stage.seconds / seconds * 3600) for step, stage in record.stages.items()}
    return replace(record, stages=stages, **change)


@pytest.mark.long
@pytest.mark.setting("readiness.max_hours")
def test_time_is_projected_from_comparable_runs_else_by_the_plan(tmp_path: Path) -> None:
    paths = {"work_dir": tmp_path / "work", "benchmarks": tmp_path / "archive"}
    run = settings(tmp_path, paths=paths, readiness={"max_hours": 1.1})
    strangers = {
        "other0000001": {"settings": {**settings_that_matter(run), "chunk_size": 1}},
        "other0000002": {"machine": replace(this_machine(), cores=999)},
        "other0000003": {"dataset": replace(a_run().dataset, recipients=500)},
        "other0000004": {"chunks_resumed": 1},
    }
    for name, change in strangers.items():
        write_record(tmp_path / "archive", recorded(run, name, **change))
    predicted = found("time_fits", run)
    assert (predicted.status, predicted.facts["comparable_runs"]) == (Status.PASSED, 0)
    assert 0 < float(str(predicted.facts["projected_hours"])) < 1
    assert "by the plan's prediction, as no comparable run was recorded" in predicted.summary
    hurried = run.model_copy(update={"readiness": run.readiness.model_copy(update={"max_hours": 0.0001})})
    assert found("time_fits", hurried).status is Status.FAILED

    write_record(tmp_path / "archive", recorded(run, "alike0000001"))
    fits = found("time_fits", run)
    assert (fits.status, fits.facts["projected_hours"], fits.facts["comparable_runs"]) == (Status.PASSED, 1.0, 1)
    late = run.model_copy(update={"readiness": run.readiness.model_copy(update={"max_hours": 0.9})})
    assert found("time_fits", late).status is Status.FAILED
    unlimited = run.model_copy(update={"readiness": run.readiness.model_copy(update={"max_hours": None})})
    assert found("time_fits", unlimited).status is Status.WARNING


# monitoring


@contextmanager
def pushgateway() -> Iterator[str]:
    """A real one."""
    if missing := prometheus_server.missing_programs():
        reason = f"no Pushgateway to test with: {', '.join(missing)} not installed"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus-pushgateway", f"--web.listen-address={address}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:

        def answers() -> bool:
            try:
                return bool(prometheus_server.read(f"http://{address}/-/ready"))
            except OSError:
                return False

        try:
            wait_until(answers, "the Pushgateway")
            yield f"http://{address}"
        finally:
            process.terminate()


def monitored(**ways: Any) -> Outcome:
    return found("monitoring", Settings(monitoring=ways))  # type: ignore[arg-type]


def test_monitoring_that_can_be_reached(tmp_path: Path) -> None:
    assert monitored().status is Status.WARNING
    with pushgateway() as address:
        good = monitored(port=free_port(), textfile=tmp_path / "run.prom", pushgateway=address)

    assert (good.status, good.facts["ways"]) == (Status.PASSED, 3), good.summary
    assert not list(tmp_path.iterdir())


def test_monitoring_that_cannot_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, listening_for_posts() as no_gateway:
        for way, told in (
            ({"port": taken.getsockname()[1]}, "Address already in use"),
            ({"textfile": tmp_path / "gone" / "run.prom"}, "No such file or directory"),
            ({"pushgateway": f"http://127.0.0.1:{free_port()}"}, "Connection refused"),
            ({"pushgateway": f"http://127.0.0.1:{no_gateway.port}"}, "it answers 501"),
        ):
            finding = monitored(**way)
            assert (finding.status, told in finding.summary) == (Status.FAILED, True), finding.summary


# alert_destination


def alerted(urls_file: Path | None, *, send: bool = False) -> Outcome:
    notifications = {"urls_file": urls_file}
    return found("alert_destination", Settings(notifications=notifications), send_test_notification=send)  # type: ignore[arg-type]


def test_alerts_need_an_address_that_takes_them(tmp_path: Path) -> None:
    with listening_for_posts() as listener:
        urls = write_urls(tmp_path / "urls", listener.url("canary"))
        assert alerted(None).status is Status.FAILED
        untried = alerted(urls)
        assert (untried.status, untried.facts["tried"], listener.posts) == (Status.WARNING, False, [])
        taken = alerted(urls, send=True)
        assert (taken.status, [post["title"] for post in listener.posts]) == (Status.PASSED, ["enrich_dist test"])
        listener.status = 500
        refused = alerted(urls, send=True)
        assert (refused.status, refused.facts["refused"]) == (Status.FAILED, 1)

    strange = alerted(write_urls(tmp_path / "strange", "nosuchservice://canary"))
    assert (strange.status, "no address that apprise knows" in strange.summary) == (Status.FAILED, True)
    urls.chmod(0o644)
    open_to_all = alerted(urls)
    assert (open_to_all.status, str(open_to_all.remedy)) == (Status.FAILED, f"chmod 600 {urls}")
    told = [f"{item.summary}{item.remedy}{item.facts}" for item in (untried, taken, refused, strange, open_to_all)]
    assert not [text for text in told if "canary" in text]


# vulnerabilities


def audited(url: str) -> Outcome:
    return found("vulnerabilities", Settings(readiness={"osv_url": url}))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default settings work in ``work`` of the current directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.long
@pytest.mark.setting("readiness.osv_url")
def test_pip_audit_finds_what_the_database_knows() -> None:
    with vulnerability_database() as clean:
        good = audited(clean)
    with vulnerability_database(numpy="PYSEC-2026-1") as url:
        bad = audited(url)

    assert good.status is Status.PASSED, good.summary
    assert good.facts["audited"] == good.facts["packages"] > 50  # type: ignore[operator]
    assert (bad.status, bad.facts["vulnerabilities"]) == (Status.FAILED, 1)
    assert "numpy" in bad.summary
    assert "PYSEC-2026-1, mended in 99.1" in bad.summary


def test_a_database_that_cannot_be_reached_is_said_to_be() -> None:
    with vulnerability_database() as url:
        broken = audited(url.replace("query", "other"))
    nobody = audited(f"http://127.0.0.1:{free_port()}/v1/query")

    for finding in (broken, nobody):
        assert finding.status is Status.UNKNOWN
        assert "The vulnerability database cannot be reached" in finding.summary


def test_without_pip_audit_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("pip-audit") is None

    finding = audited("http://127.0.0.1:1/v1/query")

    assert (finding.status, "pip-audit is not installed" in finding.summary) == (Status.UNKNOWN, True)


_SKIPPED = {"name": "one", "skip_reason": "Dependency not found on PyPI and could not be audited: one (1.0)"}
_CLEAN = {"name": "two", "version": "2.0", "vulns": []}


@pytest.mark.parametrize(
    ("answers", "status", "told"),
    [
        ([_SKIPPED, _SKIPPED], Status.UNKNOWN, "cannot be reached: it answered for none of the packages"),
        ([_SKIPPED, _CLEAN], Status.WARNING, "are not known to the database"),
    ],
)
def test_what_pip_audit_skips_is_not_taken_for_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]], status: Status, told: str
) -> None:
    """What pip-audit said where the database did not answer: that it found nothing, and exit code 0. No database can be
    made to do so here, thus its words stand in for it."""
    program = tmp_path / "bin" / "pip-audit"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps({'dependencies': answers, 'fixes': []})}\nEND\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))

    finding = found("vulnerabilities", Settings())

    assert (finding.status, told in finding.summary) == (status, True), finding.summary
