"""The report of a preflight: its three forms say the same, a check that breaks ends nothing; and the checklist."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from enrich_dist.errors import StateError
from enrich_dist.preflight.catalog import CHECKS
from enrich_dist.preflight.checklist import checklist
from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Outcome, Status, failed, passed, unknown, warning
from enrich_dist.preflight.report import Report, markdown, print_report, to_document
from enrich_dist.preflight.runner import run_checks
from enrich_dist.settings import Settings
from tests.conftest import REPOSITORY, enrich_dist
from tests.support.preflight_case import a_report, loaded_of

CHECKLIST = REPOSITORY / "docs" / "DEPLOYMENT_CHECKLIST.md"


def terminal(report: Report) -> str:
    console = Console(file=io.StringIO(), width=400)
    print_report(console, report)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.fixture
def report() -> Report:
    return a_report(
        Settings(environment="production"),
        storage=failed("1 GB | is <b>free</b>\nthere.", {"free_gb": 1.0, "none": None}, remedy="Make space."),
        baseline=unknown("Nothing to say."),
        monitoring=failed("Nobody is there."),
        no_insecure_override=warning("A threshold is low."),
    )


def test_all_forms_say_the_same_of_every_item(report: Report) -> None:
    document = json.loads(json.dumps(to_document(report)))
    lines = markdown(report).splitlines()
    shown = terminal(report)

    assert [item["id"] for item in document["items"]] == [item.id for item in CHECKS]
    table = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("| ")][1 : len(CHECKS) + 1]
    for item, result, cells in zip(document["items"], report.results, table, strict=True):
        title, critical, status, summary, remedy = (cell.strip() for cell in cells)
        assert (title, critical == "yes", status) == (item["title"], item["critical"], item["status"])
        assert summary == item["summary"].replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
        assert remedy == (item["remedy"] or "")
        assert re.search(rf"^{status} +{re.escape(title)}", shown, flags=re.MULTILINE)
        assert result.finding.summary.splitlines()[0] in shown
        assert item["remedy"] is None or f"→ {item['remedy']}" in shown
    for text in (document["verdict"], *lines):
        assert "Ready for production" not in text
    assert document["verdict"] in shown
    assert f"**{document['verdict']}**" in lines


def test_ready_is_when_critical_items_hold_and_nothing_else(report: Report) -> None:
    assert not report.ready
    assert [item.id for item in report.open_items] == ["baseline", "storage"]
    assert report.verdict().startswith("Not ready for production: baseline, storage (9 passed, 1 warning, 2 failed")
    assert a_report(Settings(), monitoring=failed("x"), vulnerabilities=unknown("x"), storage=warning("x")).ready
    for item in (item for item in CHECKS if item.critical):
        for finding in (failed("x"), unknown("x")):
            assert not a_report(Settings(), **{item.id: finding}).ready
    assert not replace(report, results=()).ready


def test_what_helps_is_the_findings_own_or_the_items_and_none_where_all_is_well(report: Report) -> None:
    told = {result.id: result.remedy for result in report.results}

    assert told["storage"] == "Make space."
    assert told["baseline"] == next(item.remedy for item in CHECKS if item.id == "baseline")
    assert told["smoke_test"] is None


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (StateError("Nothing there.", remedy="Run it."), Status.FAILED, "Nothing there."),
        (PermissionError(13, "Permission denied", "/somewhere"), Status.FAILED, "Permission denied (/somewhere)."),
        (ZeroDivisionError("division by zero"), Status.UNKNOWN, "The check itself failed (ZeroDivisionError"),
    ],
)
def test_a_check_that_breaks_is_told_and_the_others_go_on(
    tmp_path: Path, error: Exception, status: Status, told: str
) -> None:
    def breaks(_: PreflightContext) -> Outcome:
        raise error

    items = [replace(CHECKS[0], check=breaks), replace(CHECKS[1], check=lambda _: passed("Good."))]
    with PreflightContext(loaded_of(Settings(paths={"work_dir": tmp_path}))) as context:  # type: ignore[arg-type]
        first, second = run_checks(context, items=items).results

    assert (first.finding.status, first.finding.summary.startswith(told)) == (status, True)
    assert second.finding.status is Status.PASSED


def test_the_checklist_is_written_from_the_items() -> None:
    text = CHECKLIST.read_text("utf-8")

    assert text == checklist(), "write it anew: enrich-dist preflight --checklist > docs/DEPLOYMENT_CHECKLIST.md"
    for item in CHECKS:
        assert f"**{item.title}** (`{item.id}`)" in text
    critical, others = text.split("## To be looked at")
    assert all((f"`{item.id}`" in critical) == item.critical for item in CHECKS)
    assert all((f"`{item.id}`" in others) != item.critical for item in CHECKS)


def test_the_command_prints_it() -> None:
    assert enrich_dist("preflight", "--checklist").stdout == checklist()


def test_the_issue_is_covered() -> None:
    """The items that the specification names."""
    assert {item.id for item in CHECKS} >= {
        "smoke_test", "last_verdict", "baseline", "settings_valid", "no_insecure_override", "cluster_reachable",
        "workers", "storage", "time_fits", "memory_fits", "monitoring", "alert_destination", "vulnerabilities",
    }  # fmt: skip
    assert len({item.id for item in CHECKS}) == len(CHECKS)
