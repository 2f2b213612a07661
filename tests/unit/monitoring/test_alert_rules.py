"""What is shipped for Prometheus and Grafana: rules that do what they say, no metric that is not there."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from enrich_dist.monitoring.prometheus.metrics import METRICS
from tests.conftest import REPOSITORY
from tests.support.prometheus_server import MONITORING, promtool

RULES = MONITORING / "rules"
DOCUMENT = (REPOSITORY / "docs" / "how-to" / "monitor.md").read_text("utf-8")
METRICS_DOCUMENT = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text("utf-8")
DASHBOARD = json.loads((MONITORING / "grafana" / "enrich-dist.json").read_text("utf-8"))


def rules() -> list[dict[str, Any]]:
    files = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(RULES.glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


@pytest.fixture(autouse=True)
def _promtool(request: pytest.FixtureRequest) -> None:
    if "promtool" in request.node.name and shutil.which("promtool") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("promtool is not installed (Debian: prometheus)")


def test_promtool_accepts_configuration_and_rules() -> None:
    checked = promtool("check", "config", MONITORING / "prometheus.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "2 rule files found" in checked.stdout


@pytest.mark.parametrize("file", sorted((RULES / "tests").glob("*.yml")), ids=lambda path: str(path.name))
def test_promtool_rule_tests_pass(file: Path) -> None:
    tested = promtool("test", "rules", file)

    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_promtool_detects_a_changed_rule(tmp_path: Path) -> None:
    shutil.copytree(RULES, tmp_path / "rules")
    file = tmp_path / "rules" / "alerts.yml"
    text = file.read_text("utf-8")
    assert "> 0.5 * enrich_dist_quarantined_share_threshold" in text
    file.write_text(text.replace("> 0.5 * enrich_dist_quarantined", "> 0.9 * enrich_dist_quarantined"), "utf-8")

    tested = promtool("test", "rules", tmp_path / "rules" / "tests" / "quality.yml")

    assert tested.returncode == 1
    assert "EnrichDistQuarantineShareHigh" in tested.stderr


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_alerts_have_tests_and_runbooks(rule: dict[str, Any]) -> None:
    cases = [
        case
        for path in (RULES / "tests").glob("*.yml")
        for test in yaml.safe_load(path.read_text("utf-8"))["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == rule["alert"]
    ]

    assert {bool(case["exp_alerts"]) for case in cases} == {True, False}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["runbook"] == f"docs/how-to/monitor.md#{rule['alert'].lower()}"
    assert re.search(rf"^### {rule['alert']}\n\S", DOCUMENT, flags=re.MULTILINE)


def test_rule_tests_list_all_groups() -> None:
    files = [yaml.safe_load((RULES / name).read_text("utf-8")) for name in ("recording.yml", "alerts.yml")]
    names = [group["name"] for file in files for group in file["groups"]]

    for path in (RULES / "tests").glob("*.yml"):
        assert yaml.safe_load(path.read_text("utf-8"))["group_eval_order"] == names


def test_named_metrics_exist() -> None:
    texts = {
        "rules": " ".join(rule["expr"] for rule in rules()),
        "dashboard": " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])),
        "tests": " ".join(path.read_text("utf-8") for path in (RULES / "tests").glob("*.yml")),
        "document": METRICS_DOCUMENT,
    }
    known = {metric.full_name for metric in METRICS} | RECORDED | {"enrich_dist_"}

    for where, text in texts.items():
        named = set(re.findall(r"\benrich_dist[_:][a-z0-9_:]+", text)) - {"enrich_dist.prom"}
        assert named - known == set(), where
        assert len(named) >= 10, where


def test_all_metrics_are_documented() -> None:
    rows = re.findall(r"^\| `(enrich_dist_\w+)` \| (.*?) \| (.*) \|$", METRICS_DOCUMENT, flags=re.MULTILINE)
    live = METRICS_DOCUMENT.split("## Metrics after a run")[0]

    assert rows == [
        (metric.full_name, ", ".join(metric.labels), metric.text)
        for metric in sorted(METRICS, key=lambda metric: not metric.live)
    ]
    assert all((f"`{metric.full_name}`" in live) == metric.live for metric in METRICS)


def test_metric_names_follow_conventions() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"enrich_dist(_[a-z]+)+", metric.full_name)
        assert metric.name.endswith("_total") == metric.counter
        assert not re.search(r"_(mb|ms|minutes|percent|count)(_|$)", metric.name)


def test_recording_rules_are_used() -> None:
    used = " ".join(rule["expr"] for rule in rules())
    used += " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", []))

    assert {name for name in RECORDED if name not in used} == set()


def test_dashboard_is_complete() -> None:
    panels = DASHBOARD["panels"]
    variables = {item["name"] for item in DASHBOARD["templating"]["list"]}
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells), "panels overlap"
    assert {x for x, _ in cells} == set(range(24))
    assert all(panel["title"] for panel in panels)
    assert all(panel["type"] == "row" or (panel["description"] and panel["targets"]) for panel in panels)
    assert set(re.findall(r"\$\{?(\w+)", " ".join(queries) + json.dumps(panels))) <= variables | {"__all"}
