"""Every deployed configuration is monitored, and compose routes its alerts to an Alertmanager."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from enrich_dist.settings.tree import MonitoringSettings
from tests.conftest import REPOSITORY
from tests.support.prometheus_server import MONITORING, promtool

DEPLOY = REPOSITORY / "deploy"
COMPOSE = DEPLOY / "compose"
ALERTS = {
    rule["alert"]
    for group in yaml.safe_load((MONITORING / "rules" / "alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
}


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("enrich-dist.yaml")), ids=lambda path: path.parent.name)
def test_deployed_configuration_exports_metrics(path: Path) -> None:
    assert MonitoringSettings(**document(path)["monitoring"]).given


def test_compose_prometheus_sends_alerts_to_its_alertmanager() -> None:
    services = document(COMPOSE / "compose.yaml")["services"]
    alerting = document(COMPOSE / "prometheus.yml")["alerting"]["alertmanagers"]
    [target] = [target for item in alerting for config in item["static_configs"] for target in config["targets"]]
    host, port = target.split(":")

    assert services[host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert "../monitoring/rules:/etc/prometheus/rules:ro" in services["prometheus"]["volumes"]
    mounted = {volume.split(":")[0]: volume.split(":")[1] for volume in services[host]["volumes"]}
    assert f"--config.file={mounted['./alertmanager.yml']}" in services[host]["command"]
    assert "profiles" not in services[host]


def test_every_alert_has_a_receiver() -> None:
    routes = document(COMPOSE / "alertmanager.yml")
    receivers = {receiver["name"] for receiver in routes["receivers"]}
    named = [routes["route"], *routes["route"]["routes"]]

    assert {route["receiver"] for route in named} <= receivers
    assert "matchers" not in routes["route"]  # the first route takes all alerts
    for rule in routes["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            found = re.fullmatch(r'alertname="(\w+)"', matcher)
            assert found
            assert found[1] in ALERTS
    webhooks = [config for receiver in routes["receivers"] for config in receiver["webhook_configs"]]
    assert all(set(config) == {"url_file", "send_resolved"} for config in webhooks)  # a URL may be a secret


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_accepts_configuration_of_compose(tmp_path: Path) -> None:
    shutil.copy(COMPOSE / "prometheus.yml", tmp_path)
    shutil.copytree(MONITORING / "rules", tmp_path / "rules")

    checked = promtool("check", "config", tmp_path / "prometheus.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "2 rule files found" in checked.stdout
