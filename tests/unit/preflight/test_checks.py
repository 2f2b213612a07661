"""Every check of the preflight, passed and failed, with real files, servers and processes.

Checks of the workers of a cluster: tests/integration/cluster/test_readiness_workers.py.
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

from enrich_dist.preflight.checks.smoke import read_smoke_test
from enrich_dist.preflight.context import Outcome, PreflightContext, Status
from enrich_dist.runs.archive import set_baseline, write_record
from enrich_dist.runs.environment import Code, Machine, source_digest, this_code, this_machine
from enrich_dist.runs.records import RunRecord, workload_settings
from enrich_dist.settings import Settings, load_settings
from tests.conftest import free_port
from tests.support import prometheus_server
from tests.support.histories import RESUMED, a_run, a_session, vary
from tests.support.hosts import wait_until
from tests.support.in_process import run_in_process
from tests.support.known_case import AWARDS, settings, write_inputs
from tests.support.listener import listening_for_posts, write_urls
from tests.support.preflight_case import loaded_of, outcome_in, outcome_of, vulnerability_database

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
def test_smoke_test_result_is_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Settings of the environment do not apply: with these the run could not start.
    monkeypatch.setenv("ENRICH_DIST_ENVIRONMENT", "production")
    monkeypatch.setenv("ENRICH_DIST_INPUTS__AWARDS", str(tmp_path / "nowhere"))
    run = settings(tmp_path, readiness={"smoke_config": smoke_config(tmp_path)})

    first = outcome_of("smoke_test", run)
    again = outcome_of("smoke_test", run)

    assert first.status is Status.PASSED, first.summary
    assert (first.facts["awards"], first.facts["revision"]) == (len(AWARDS), this_code().label)
    assert first == again  # including the timestamp
    assert not list((tmp_path / "work" / "scratch").iterdir())
    done = read_smoke_test(tmp_path / "work" / "readiness")
    assert done is not None
    now, code, digest, path = datetime.now(UTC), this_code(), source_digest(), tmp_path / "smoke.yaml"
    assert done.is_valid(code, digest, path, now=now, max_age_hours=24)
    assert not done.is_valid(replace(code, revision="0" * 40), digest, path, now=now, max_age_hours=24)
    assert not done.is_valid(code, "00", path, now=now, max_age_hours=24)
    assert not done.is_valid(code, digest, tmp_path / "other.yaml", now=now, max_age_hours=24)
    assert not done.is_valid(code, digest, path, now=now + timedelta(hours=25), max_age_hours=24)
    assert not replace(done, passed=False).is_valid(code, digest, path, now=now, max_age_hours=24)

    record = tmp_path / "work" / "readiness" / "smoke.json"
    record.write_text(record.read_text("utf-8").replace(f'"awards": {len(AWARDS)}', '"awards": 99'), "utf-8")
    assert read_smoke_test(tmp_path / "work" / "readiness") is None


def test_failed_smoke_test_shows_output(tmp_path: Path) -> None:
    config = smoke_config(tmp_path, awards=tmp_path / "gone.csv")
    run = settings(tmp_path, readiness={"smoke_config": config})

    failed = outcome_of("smoke_test", run)

    assert failed.status is Status.FAILED
    assert "ended with exit code 2" in failed.summary
    assert "gone.csv" in failed.summary
    missing = outcome_of("smoke_test", settings(tmp_path, readiness={"smoke_config": tmp_path / "none.yaml"}))
    assert (missing.status, "none.yaml" in missing.summary) == (Status.FAILED, True)


# last_verdict


def test_last_verdict_uses_current_thresholds(tmp_path: Path) -> None:
    run = settings(tmp_path)
    inputs = (run.inputs.awards, run.inputs.recipients)
    assert outcome_of("last_verdict", run).status is Status.UNKNOWN

    run_in_process(run, "first")
    good = outcome_of("last_verdict", run)
    assert (good.status, good.facts["run_id"]) == (Status.PASSED, "first")

    stricter = settings(tmp_path, inputs=inputs, match_rate_threshold=0.6)  # type: ignore[arg-type]
    assert outcome_of("last_verdict", stricter).status is Status.FAILED

    blocked_by = settings(tmp_path, inputs=inputs, match_rate_threshold=0.99)  # type: ignore[arg-type]
    run_in_process(blocked_by, "second")
    blocked = outcome_of("last_verdict", run)
    assert (blocked.status, blocked.facts["run_id"]) == (Status.FAILED, "second")


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
    ("sessions", "status", "shown"),
    [
        ([], Status.FAILED, "no baseline"),
        ([(COMMITTED, 1.0)], Status.PASSED, "the baseline (1111111111"),
        ([(OLD, 1.0), (COMMITTED, 1.0)], Status.PASSED, "the baseline (0000000000"),
        ([(OLD, 1.0), (COMMITTED, 1.3)], Status.FAILED, "the baseline (0000000000"),
        ([(OLD, 1.0), (OLD, 1.0)], Status.WARNING, "of 0000000000, not of 1111111111"),
    ],
)
def test_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sessions: list[tuple[Code, float]], status: Status, shown: str
) -> None:
    run = settings(tmp_path, paths={"work_dir": tmp_path / "work", "benchmarks": tmp_path / "archive"})
    for number, (code, slower) in enumerate(sessions):
        measured(tmp_path / "archive", f"session{number}", code, this_machine(), slower=slower, days=number)
    with PreflightContext(loaded_of(run)) as context:
        context.code = COMMITTED
        outcome = outcome_in(context, "baseline")

    assert (outcome.status, shown in outcome.summary) == (status, True), outcome.summary


def test_baseline_of_another_machine_is_ignored(tmp_path: Path) -> None:
    run = settings(tmp_path, paths={"work_dir": tmp_path / "work", "benchmarks": tmp_path / "archive"})
    measured(tmp_path / "archive", "elsewhere", this_code(), replace(this_machine(), cores=999))

    assert outcome_of("baseline", run).status is Status.FAILED


# settings_valid, no_insecure_override


def test_settings_valid_reports_all_problems(tmp_path: Path) -> None:
    run = settings(tmp_path)
    assert outcome_of("settings_valid", run).status is Status.PASSED

    wrong = run.model_copy(
        update={
            "inputs": run.inputs.model_copy(update={"recipients": str(tmp_path / "gone.parquet")}),
            "memory_threshold_mb": 256,
        }
    )
    outcome = outcome_of("settings_valid", wrong)

    assert (outcome.status, outcome.facts["problems"]) == (Status.FAILED, 2)
    assert "gone.parquet" in outcome.summary
    assert "memory_threshold_mb" in outcome.summary


@pytest.mark.parametrize(
    ("overrides", "status", "shown"),
    [
        ([], Status.PASSED, ""),
        (["cluster.allow_insecure=true"], Status.FAILED, "cluster.allow_insecure: command line"),
        (["testing.fault_probability=0.1"], Status.FAILED, "testing.fault_probability: command line"),
        (["match_rate_threshold=0.6"], Status.WARNING, "match_rate_threshold is 0.6, laxer than 0.7 (command line)"),
        (["min_estimated_precision=0.9"], Status.WARNING, "min_estimated_precision is 0.9, laxer than 0.95"),
        (["max_quarantined_share=0.1"], Status.WARNING, "max_quarantined_share is 0.1, laxer than 0.001"),
        (["matching.accept_probability=0.4"], Status.WARNING, "matching.accept_probability is 0.4, laxer than 0.5"),
        (["match_rate_threshold=0.8", "max_quarantined_share=0"], Status.PASSED, ""),  # stricter
        (["monitoring.pushgateway=http://gateway:9091"], Status.WARNING, "monitoring.pushgateway"),
        (["monitoring.pushgateway=http://127.0.0.1:9091"], Status.PASSED, ""),
        (["monitoring.pushgateway=https://gateway:9091"], Status.PASSED, ""),
        (["monitoring.port=9410", "monitoring.address=0.0.0.0"], Status.WARNING, "monitoring.address 0.0.0.0"),
        (["paths.checkpoints=s3://bucket/prefix?scheme=http"], Status.WARNING, "scheme=http"),
    ],
)
def test_insecure_settings_show_their_origin(overrides: list[str], status: Status, shown: str) -> None:
    outcome = outcome_of("no_insecure_override", load_settings(None, overrides, {}))

    assert (outcome.status, shown in outcome.summary) == (status, True), outcome.summary


# storage


@pytest.mark.setting("readiness.min_free_gb")
def test_storage(tmp_path: Path) -> None:
    def at(work_dir: Path, checkpoints: Path | None = None, **readiness: Any) -> Outcome:
        paths = {"work_dir": work_dir, "checkpoints": None if checkpoints is None else str(checkpoints)}
        return outcome_of("storage", Settings(paths=paths, readiness={"min_free_gb": 0.001, **readiness}))  # type: ignore[arg-type]

    a_file = tmp_path / "file"
    a_file.write_text("", "utf-8")
    good = at(tmp_path / "work", tmp_path / "checkpoints")
    assert good.status is Status.PASSED
    assert set(good.facts) == {"min_free_gb", "work_dir_free_gb", "checkpoints_free_gb"}
    assert not list((tmp_path / "work" / "readiness").iterdir())

    for outcome, shown in (
        (at(a_file / "work"), "paths.work_dir"),
        (at(tmp_path / "work", a_file / "checkpoints"), "file/checkpoints"),
        (at(tmp_path / "work", min_free_gb=1e6), "Not enough free space for work_dir"),
    ):
        assert (outcome.status, shown in outcome.summary) == (Status.FAILED, True), outcome.summary


# memory_fits, time_fits


@pytest.mark.long
def test_memory_projection_leaves_no_files(tmp_path: Path) -> None:
    run = settings(tmp_path)
    fits = outcome_of("memory_fits", run)
    assert fits.status is Status.PASSED, fits.summary
    assert "for the index" in fits.summary
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["scratch"]
    assert not list((tmp_path / "work" / "scratch").iterdir())

    least = int(str(fits.facts["least_threshold_mb"]))
    for threshold_mb, status in ((least, Status.PASSED), (least - 1, Status.FAILED)):
        small = run.model_copy(update={"memory_threshold_mb": threshold_mb})
        assert outcome_of("memory_fits", small).status is status


def recorded(run: Settings, name: str, **change: Any) -> RunRecord:
    """A record of a one-hour run with these settings on this machine."""
    record = vary(a_run(name, session=None), machine=this_machine(), settings=workload_settings(run), recipients=55)
    seconds = sum(step.seconds for step in record.steps.values())
    steps = {name: replace(step, seconds=step.seconds / seconds * 3600) for name, step in record.steps.items()}
    return vary(record, steps=steps, **change)


@pytest.mark.long
@pytest.mark.setting("readiness.max_hours")
def test_time_projection_prefers_comparable_runs(tmp_path: Path) -> None:
    paths = {"work_dir": tmp_path / "work", "benchmarks": tmp_path / "archive"}
    run = settings(tmp_path, paths=paths, readiness={"max_hours": 1.1})
    not_comparable = {
        "other0000001": {"settings": {**workload_settings(run), "chunk_size": "1"}},
        "other0000002": {"machine": replace(this_machine(), cores=999)},
        "other0000003": {"recipients": 500},
        "other0000004": {"numbers": RESUMED},
    }
    for name, change in not_comparable.items():
        write_record(tmp_path / "archive", recorded(run, name, **change))
    predicted = outcome_of("time_fits", run)
    assert (predicted.status, predicted.facts["comparable_runs"]) == (Status.PASSED, 0)
    assert 0 < float(str(predicted.facts["projected_hours"])) < 1
    short = run.model_copy(update={"readiness": run.readiness.model_copy(update={"max_hours": 0.0001})})
    assert outcome_of("time_fits", short).status is Status.FAILED

    write_record(tmp_path / "archive", recorded(run, "alike0000001"))
    fits = outcome_of("time_fits", run)
    assert (fits.status, fits.facts["projected_hours"], fits.facts["comparable_runs"]) == (Status.PASSED, 1.0, 1)
    late = run.model_copy(update={"readiness": run.readiness.model_copy(update={"max_hours": 0.9})})
    assert outcome_of("time_fits", late).status is Status.FAILED
    unlimited = run.model_copy(update={"readiness": run.readiness.model_copy(update={"max_hours": None})})
    assert outcome_of("time_fits", unlimited).status is Status.WARNING


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


def monitored(**exports: Any) -> Outcome:
    return outcome_of("monitoring", Settings(monitoring=exports))  # type: ignore[arg-type]


def test_reachable_monitoring_passes(tmp_path: Path) -> None:
    assert monitored().status is Status.WARNING
    with pushgateway() as address:
        good = monitored(port=free_port(), textfile=tmp_path / "run.prom", pushgateway=address)

    assert (good.status, good.facts["ways"]) == (Status.PASSED, 3), good.summary
    assert not list(tmp_path.iterdir())


def test_unreachable_monitoring_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, listening_for_posts() as no_gateway:
        for export, shown in (
            ({"port": taken.getsockname()[1]}, "Address already in use"),
            ({"textfile": tmp_path / "gone" / "run.prom"}, "No such file or directory"),
            ({"pushgateway": f"http://127.0.0.1:{free_port()}"}, "Connection refused"),
            ({"pushgateway": f"http://127.0.0.1:{no_gateway.port}"}, "it answers 501"),
        ):
            outcome = monitored(**export)
            assert (outcome.status, shown in outcome.summary) == (Status.FAILED, True), outcome.summary


# alert_destination


def alerted(urls_file: Path | None, *, send: bool = False) -> Outcome:
    notifications = {"urls_file": urls_file}
    return outcome_of("alert_destination", Settings(notifications=notifications), send_test_notification=send)  # type: ignore[arg-type]


def test_alerts_need_a_working_address(tmp_path: Path) -> None:
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

    unsupported = alerted(write_urls(tmp_path / "unsupported", "nosuchservice://canary"))
    assert (unsupported.status, unsupported.facts["addresses"]) == (Status.FAILED, 1)
    urls.chmod(0o644)
    readable = alerted(urls)
    assert (readable.status, str(readable.remedy)) == (Status.FAILED, f"chmod 600 {urls}")
    shown = [f"{item.summary}{item.remedy}{item.facts}" for item in (untried, taken, refused, unsupported, readable)]
    assert not [text for text in shown if "canary" in text]


# vulnerabilities


def audited(url: str) -> Outcome:
    return outcome_of("vulnerabilities", Settings(readiness={"osv_url": url}))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default settings use ``work`` in the current directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.long
@pytest.mark.setting("readiness.osv_url")
def test_known_vulnerability_fails() -> None:
    with vulnerability_database() as clean:
        good = audited(clean)
    with vulnerability_database(numpy="PYSEC-2026-1") as url:
        bad = audited(url)

    assert good.status is Status.PASSED, good.summary
    assert good.facts["audited"] == good.facts["packages"] > 50  # type: ignore[operator]
    assert (bad.status, bad.facts["vulnerabilities"]) == (Status.FAILED, 1)
    assert "numpy" in bad.summary
    assert "PYSEC-2026-1, fixed in 99.1" in bad.summary


def test_unreachable_database_is_unknown() -> None:
    with vulnerability_database() as url:
        broken = audited(url.replace("query", "other"))
    closed = audited(f"http://127.0.0.1:{free_port()}/v1/query")

    for outcome in (broken, closed):
        assert outcome.status is Status.UNKNOWN
        assert outcome.facts["audited"] == 0


def test_missing_pip_audit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("pip-audit") is None

    outcome = audited("http://127.0.0.1:1/v1/query")

    assert (outcome.status, "pip install" in str(outcome.remedy)) == (Status.UNKNOWN, True)


_SKIPPED = {"name": "one", "skip_reason": "Dependency not found on PyPI and could not be audited: one (1.0)"}
_CLEAN = {"name": "two", "version": "2.0", "vulns": []}


@pytest.mark.parametrize(
    ("answers", "status", "audited_count"),
    [
        ([_SKIPPED, _SKIPPED], Status.UNKNOWN, 0),
        ([_SKIPPED, _CLEAN], Status.WARNING, 1),
    ],
)
def test_skipped_packages_do_not_pass(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[dict[str, Any]],
    status: Status,
    audited_count: int,
) -> None:
    """Recorded output of pip-audit without a database: nothing found, exit code 0."""
    program = tmp_path / "bin" / "pip-audit"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps({'dependencies': answers, 'fixes': []})}\nEND\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))

    outcome = outcome_of("vulnerabilities", Settings())

    assert (outcome.status, outcome.facts["audited"]) == (status, audited_count), outcome.summary
