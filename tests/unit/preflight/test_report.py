"""Report of a preflight: its three forms agree, a failing check does not end it; and the checklist."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from enrich_dist.errors import StateError
from enrich_dist.plain_text import from_markdown, printable
from enrich_dist.preflight.catalog import CHECKS
from enrich_dist.preflight.context import Outcome, PreflightContext, Report, Status, failed, passed, unknown, warning
from enrich_dist.preflight.readiness_file import CODEC
from enrich_dist.preflight.report import checklist, markdown, print_report
from enrich_dist.preflight.runner import run_checks
from enrich_dist.settings import Settings
from tests.conftest import REPOSITORY, enrich_dist
from tests.support.preflight_case import a_report, check_with, loaded_of

CHECKLIST = REPOSITORY / "docs" / "DEPLOYMENT_CHECKLIST.md"


def terminal(report: Report) -> str:
    console = Console(file=io.StringIO(), width=400)
    print_report(console, report)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.fixture
def report() -> Report:
    return a_report(
        Settings(environment="production"),
        storage=failed("1 GB | is <b>free</b>\nthere.", {"free_gb": 1.0, "none": None}, remedy="Free space."),
        baseline=unknown("No measurement."),
        monitoring=failed("Unreachable."),
        no_insecure_override=warning("A threshold is low."),
    )


def test_all_forms_agree_on_every_check(report: Report) -> None:
    document = json.loads(CODEC.to_bytes(report))
    lines = markdown(report).splitlines()
    shown = terminal(report)

    assert [item["id"] for item in document["items"]] == [check.id for check in CHECKS]
    table = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("| ")][2 : len(CHECKS) + 2]
    for item, result, cells in zip(document["items"], report.items, table, strict=True):
        title, critical, status, summary, remedy = (cell.strip() for cell in cells)
        assert (title, critical == "yes", status) == (item["title"], item["critical"], item["status"])
        assert from_markdown(summary) == printable(item["summary"])
        assert from_markdown(remedy) == (item["remedy"] or "")
        assert re.search(rf"^{status} +{re.escape(title)}", shown, flags=re.MULTILINE)
        assert result.summary.splitlines()[0] in shown
        assert item["remedy"] is None or f"→ {item['remedy']}" in shown
    assert document["verdict"] in shown
    assert f"**{document['verdict']}**" in lines


def test_ready_depends_on_critical_checks(report: Report) -> None:
    assert not report.ready
    assert [result.id for result in report.failed] == ["baseline", "storage"]
    assert "(9 passed, 1 warning, 2 failed" in report.verdict
    assert a_report(Settings(), monitoring=failed("x"), vulnerabilities=unknown("x"), storage=warning("x")).ready
    for check in (check for check in CHECKS if check.critical):
        for outcome in (failed("x"), unknown("x")):
            assert not a_report(Settings(), **{check.id: outcome}).ready
    assert not replace(report, items=()).ready


def test_remedy_of_outcome_precedes_check(report: Report) -> None:
    remedies = {result.id: result.remedy for result in report.items}

    assert remedies["storage"] == "Free space."
    assert remedies["baseline"] == next(check.remedy for check in CHECKS if check.id == "baseline")
    assert remedies["smoke_test"] is None


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (StateError("Nothing there.", remedy="Run it."), Status.FAILED, "Nothing there."),
        (PermissionError(13, "Permission denied", "/somewhere"), Status.FAILED, "Permission denied (/somewhere)."),
        (ZeroDivisionError("division by zero"), Status.UNKNOWN, "ZeroDivisionError"),
    ],
)
def test_raising_check_becomes_an_outcome(tmp_path: Path, error: Exception, status: Status, shown: str) -> None:
    def fail(_: PreflightContext) -> Outcome:
        raise error

    checks = [replace(CHECKS[0], run=fail), check_with(CHECKS[1], passed("Good."))]
    with PreflightContext(loaded_of(Settings(paths={"work_dir": tmp_path}))) as context:  # type: ignore[arg-type]
        first, second = run_checks(context, checks=checks).items

    assert (first.status, shown in first.summary) == (status, True)
    assert second.status is Status.PASSED


def test_checklist_is_current() -> None:
    text = CHECKLIST.read_text("utf-8")

    assert text == checklist(), "run: enrich-dist preflight --checklist > docs/DEPLOYMENT_CHECKLIST.md"
    critical, others = text.split("\n## Not critical\n")
    for check in CHECKS:
        assert f"**{check.title}** (`{check.id}`)" in (critical if check.critical else others)


def test_command_prints_the_checklist() -> None:
    assert enrich_dist("preflight", "--checklist").stdout == checklist()


# Critical or not, and what the check says where nothing holds.
SPECIFIED = {
    "smoke_test": (True, "none.yaml"),
    "last_verdict": (True, "no judged result"),
    "baseline": (True, "no baseline"),
    "settings_valid": (True, "nowhere.csv"),
    "no_insecure_override": (True, "testing.fault_probability"),
    "cluster_reachable": (True, "Connection refused"),
    "workers": (True, "cluster is not reachable"),
    "storage": (True, "Not enough free space"),
    "time_fits": (True, "nowhere.csv"),
    "memory_fits": (True, "nowhere.csv"),
    "monitoring": (False, "127.0.0.1:1"),
    "alert_destination": (True, "notifications.urls_file"),
    "vulnerabilities": (False, "database cannot be reached"),
}


def test_no_specified_check_passes_where_nothing_holds(tmp_path: Path) -> None:
    """Every item of the specification, as the catalog runs it, finds its own problem."""
    nobody = "127.0.0.1:1"
    broken = Settings(
        environment="production",
        inputs={"awards": tmp_path / "nowhere.csv", "recipients": tmp_path / "nowhere.parquet"},  # type: ignore[arg-type]
        paths={"work_dir": tmp_path / "work"},  # type: ignore[arg-type]
        cluster={"kind": "address", "address": f"tcp://{nobody}", "allow_insecure": True, "start_timeout_seconds": 1},  # type: ignore[arg-type]
        readiness={  # type: ignore[arg-type]
            "smoke_config": tmp_path / "none.yaml", "max_hours": 1, "min_free_gb": 1e6, "osv_url": f"http://{nobody}/v1",
        },
        monitoring={"pushgateway": f"http://{nobody}"},  # type: ignore[arg-type]
        testing={"fault_probability": 0.1},  # type: ignore[arg-type]
    )  # fmt: skip
    with PreflightContext(loaded_of(broken)) as context:
        report = run_checks(context)

    found = {item.id: item for item in report.items}
    assert len(found) == len(report.items)
    for check_id, (critical, shown) in SPECIFIED.items():
        item = found[check_id]
        assert (item.critical, item.status is Status.PASSED) == (critical, False), item
        assert shown in item.summary, item
    assert not report.ready
    refused = {item.id for item in report.items if item.critical and item.status is not Status.PASSED}
    assert refused >= {name for name, (critical, _) in SPECIFIED.items() if critical}
