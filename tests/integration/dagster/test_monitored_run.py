"""Real runs that a real Prometheus scrapes: metrics arrive, alerts fire, and every dashboard query returns data."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import enrich_dist
from tests.support import prometheus_server
from tests.support.hosts import wait_until
from tests.support.prometheus_server import MONITORING, Servers, promtool, read

pytestmark = [pytest.mark.cluster, pytest.mark.long]
# Time to scrape the last metrics of a run and to evaluate the rules.
_AFTERWARDS_SECONDS = 30.0
# From the Pushgateway, like the other metrics here: the text file has the same values, some seconds apart.
_PUSHED_VERDICT = 'enrich_dist_verdict_passed{job="enrich_dist", instance=""}'


@dataclass(frozen=True)
class Monitored:
    """Three runs in one work directory: with injected faults and without, both published, and one that is blocked."""

    servers: Servers
    work_dir: Path
    published: subprocess.CompletedProcess[str]
    blocked: subprocess.CompletedProcess[str]

    def step(self, name: str) -> dict[str, Any]:
        """Return the record of a step."""
        document: dict[str, Any] = json.loads((self.work_dir / "steps" / f"{name}.json").read_text("utf-8"))
        return document

    def latest(self, metric: str) -> float:
        """Return the latest value of a metric that a run pushed."""
        [found] = self.servers.api("query", query=f'{metric}{{job="enrich_dist", instance=""}}')["result"]
        return float(found["value"][1])


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    if missing := prometheus_server.missing_programs():
        reason = f"no Prometheus to test with: {', '.join(missing)} not installed"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("monitored")
    with prometheus_server.running(folder / "servers") as servers:
        ways = [
            f"monitoring.port={servers.endpoint_port}",
            f"monitoring.pushgateway={servers.pushgateway}",
            f"monitoring.textfile={servers.textfile}",
            f"paths.work_dir={folder / 'work'}",
            # Prometheus takes up to 5 s to apply new targets, so matching must last longer.
            "chunk_size=500",
            "farm.min_part_rows=100",
        ]
        faults = ["testing.fault_probability=0.2", "farm.max_attempts=10"]
        published = enrich_dist("run", "--config", "config/sample.yaml", *_set(*ways, *faults))
        # The end of the first run must be scraped before the second one starts.
        wait_until(lambda: servers.series(f"{_PUSHED_VERDICT} == 1"), "the first verdict", _AFTERWARDS_SECONDS)
        # A run without faults: its workers live long enough to be scraped.
        undisturbed = enrich_dist("run", "--config", "config/sample.yaml", *_set(*ways, "chunk_size=250"))
        assert undisturbed.returncode == 0, undisturbed.stderr
        second = ["chunk_size=250", "match_rate_threshold=0.9"]
        blocked = enrich_dist("run", "--config", "config/sample.yaml", *_set(*ways, *second))
        yield Monitored(servers, folder / "work", published, blocked)


def _set(*texts: str) -> list[str]:
    return [part for text in texts for part in ("--set", text)]


def test_exit_codes_are_unchanged(monitored: Monitored) -> None:
    assert monitored.published.returncode == 0, monitored.published.stderr
    assert monitored.blocked.returncode == 3, monitored.blocked.stderr
    for run in (monitored.published, monitored.blocked):
        assert "Metrics c" not in run.stderr


def test_progress_and_workers_are_scraped(monitored: Monitored) -> None:
    done = [float(value) for _, value in monitored.servers.series("enrich_dist_progress_chunks_done")[0]["values"]]
    workers = {item["metric"]["worker"] for item in monitored.servers.series("enrich_dist_worker_memory_bytes > 0")}
    steps = {item["metric"]["step"] for item in monitored.servers.series("enrich_dist_step_active == 1")}

    # Progress only falls when another run begins.
    assert sum(later < earlier for earlier, later in pairwise(done)) <= 2
    assert len(set(done)) > 2
    assert workers >= {"0", "1"}
    assert "chunk_matches" in steps


def test_dask_metrics_are_scraped(monitored: Monitored) -> None:
    assert monitored.servers.series('dask_scheduler_workers{job="dask"}')
    # Not its tasks: a worker without tasks exposes no metric for them.
    assert monitored.servers.series('dask_worker_threads{job="dask"}')


def test_pushed_metrics_equal_the_records(monitored: Monitored) -> None:
    judged, farm = monitored.step("enriched_awards"), monitored.step("chunk_matches")

    def arrived() -> bool:
        passed, threshold = map(monitored.latest, ("enrich_dist_verdict_passed", "enrich_dist_match_rate_threshold"))
        return not passed and threshold == 0.9

    wait_until(arrived, "the second verdict and its threshold", _AFTERWARDS_SECONDS)
    assert monitored.latest("enrich_dist_match_rate") == judged["numbers"]["match_rate"]
    assert monitored.latest("enrich_dist_estimated_precision") == judged["numbers"]["estimated_precision"]
    assert monitored.latest("enrich_dist_worker_peak_memory_bytes") == pytest.approx(
        farm["numbers"]["worker_peak_memory_mb"] * 1e6
    )
    published = (monitored.work_dir / "steps" / "published_awards.json").stat().st_mtime
    assert monitored.latest("enrich_dist_last_success_timestamp_seconds") == pytest.approx(published)


def test_textfile_equals_the_pushgateway(monitored: Monitored) -> None:
    for verdict in (_PUSHED_VERDICT, 'enrich_dist_verdict_passed{job="node"}'):
        wait_until(partial(monitored.servers.series, f"{verdict} == 0"), verdict, _AFTERWARDS_SECONDS)

    [found] = monitored.servers.api("query", query='enrich_dist_match_rate{job="node"}')["result"]
    [error] = monitored.servers.api("query", query='node_textfile_scrape_error{job="node"}')["result"]

    assert float(found["value"][1]) == monitored.latest("enrich_dist_match_rate")
    assert error["value"][1] == "0"


@pytest.mark.parametrize("alert", ["EnrichDistQualityGateBlocked", "EnrichDistAttemptsFailing"])
def test_alert_fires(monitored: Monitored, alert: str) -> None:
    wait_until(lambda: monitored.servers.fired(alert), alert, _AFTERWARDS_SECONDS)


def test_no_other_alert_fires(monitored: Monitored) -> None:
    time.sleep(2)
    fired = {item["metric"]["alertname"] for item in monitored.servers.series('ALERTS{alertstate="firing"}')}

    # The run is blocked for its match rate.
    assert fired <= {"EnrichDistQualityGateBlocked", "EnrichDistMatchRateLow", "EnrichDistAttemptsFailing"}


def dashboard_queries() -> list[tuple[str, str]]:
    """Return (title, query) of every panel, with the default values of Grafana's variables."""
    document = json.loads((MONITORING / "grafana" / "enrich-dist.json").read_text("utf-8"))
    return [
        (panel["title"], target["expr"].replace("$job", ".*"))
        for panel in document["panels"]
        for target in panel.get("targets", [])
    ]


@pytest.mark.parametrize(("panel", "query"), dashboard_queries())
def test_dashboard_queries_return_data(monitored: Monitored, panel: str, query: str) -> None:
    wait_until(lambda: monitored.servers.series(query), f"{panel}: {query}", _AFTERWARDS_SECONDS)


def test_rules_have_no_errors(monitored: Monitored) -> None:
    rules = [rule for group in monitored.servers.api("rules")["groups"] for rule in group["rules"]]

    assert len(rules) > 20
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


def test_promtool_accepts_pushed_metrics(monitored: Monitored) -> None:
    # Without the Pushgateway's own metrics.
    exposed = [line for line in read(f"{monitored.servers.pushgateway}/metrics").splitlines() if "enrich_dist_" in line]

    checked = promtool("check", "metrics", text="\n".join(exposed) + "\n")

    assert len(exposed) > 100
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
