"""Launch a run through the webserver's GraphQL API, follow it, and check its outcome.

Covers the published result, asset checks, the history in PostgreSQL and the metrics in Prometheus, each read from the
service that an operator would use.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow.parquet as pq

from scripts.rehearsal.errors import RehearsalError
from scripts.rehearsal.services import Deployment, Running

# A third of the sample's awards have a partner (config/sample.yaml).
OVERRIDES: Final = ("match_rate_threshold=0.30", "min_estimated_precision=0.94", "chunk_size=500")
_RUN_SECONDS: Final = 300.0
_FIGURES_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.5
_LOCATION: Final = {
    "repositoryLocationName": "enrich_dist", "repositoryName": "__repository__", "pipelineName": "enrich",
}  # fmt: skip
_LAUNCH: Final = """
mutation($job: JobOrPipelineSelector!, $config: RunConfigData!) {
  launchRun(executionParams: {selector: $job, mode: "default", runConfigData: $config}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_RUN: Final = """
query($run: ID!, $after: String) {
  runOrError(runId: $run) { ... on Run { status } }
  logsForRun(runId: $run, afterCursor: $after, limit: 1000) { ... on EventConnection { cursor hasMore events {
    __typename
    ... on MaterializationEvent { assetKey { path } }
    ... on AssetCheckEvaluationEvent { evaluation { checkName success } }
    ... on ExecutionStepFailureEvent { error { message } }
    ... on RunFailureEvent { message error { message } }
  } } }
}
"""
_DAEMONS: Final = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
_ASSETS: Final = 6
_Found = TypeVar("_Found")


@dataclass
class Outcome:
    """The outcome of a run."""

    run_id: str
    status: str = ""
    assets: list[str] = field(default_factory=list)
    checks: dict[str, bool] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Webserver:
    """Dagster's webserver, queried over HTTP."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}:3000/graphql"

    def query(self, text: str, **variables: Any) -> Any:
        """Return the data of an answer. Raises ``RehearsalError`` if it has errors."""
        answer = json.loads(_read(self._url, json.dumps({"query": text, "variables": variables}).encode()))
        if answer.get("errors"):
            raise RehearsalError(f"GraphQL: {answer['errors'][0]['message']}")
        return answer["data"]

    def launch(self) -> str:
        """Launch the job and return the run id."""
        config = {"resources": {"settings": {"config": {"overrides": list(OVERRIDES)}}}}
        answer = self.query(_LAUNCH, job=_LOCATION, config=config)["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise RehearsalError(f"the run was not launched: {answer}")
        run_id: str = answer["run"]["runId"]
        return run_id

    def watched(self, outcome: Outcome, check_running: Callable[[], None]) -> Iterator[str]:
        """Update ``outcome`` and yield the state at each change until the run ends."""
        cursor: str | None = None
        deadline = time.monotonic() + _RUN_SECONDS
        seen = None
        while True:
            check_running()
            answer = self.query(_RUN, run=outcome.run_id, after=cursor)
            logs = answer["logsForRun"]
            cursor = logs["cursor"]
            for event in logs["events"]:
                _take(outcome, event)
            outcome.status = answer["runOrError"]["status"]
            if (state := (outcome.status, len(outcome.assets), len(outcome.checks))) != seen:
                seen = state
                yield f"{outcome.status.lower()}, {len(outcome.assets)} assets, {len(outcome.checks)} checks"
            if outcome.status in ("SUCCESS", "FAILURE", "CANCELED") and not logs["hasMore"]:
                return
            if time.monotonic() > deadline:
                raise RehearsalError(f"the run is not finished after {_RUN_SECONDS:g} s: {outcome}")
            time.sleep(_POLL_SECONDS)

    def daemons(self) -> list[str]:
        """Return the healthy daemons. Raises ``RehearsalError`` if a required one stays unhealthy."""

        def healthy() -> list[str] | None:
            found = self.query(_DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
            if any(daemon["required"] and not daemon["healthy"] for daemon in found):
                return None
            return [daemon["daemonType"] for daemon in found if daemon["healthy"]]

        return _wait_for(healthy, "healthy daemons")


def _take(outcome: Outcome, event: dict[str, Any]) -> None:
    match event["__typename"]:
        case "MaterializationEvent":
            outcome.assets.append("/".join(event["assetKey"]["path"]))
        case "AssetCheckEvaluationEvent":
            outcome.checks[event["evaluation"]["checkName"]] = event["evaluation"]["success"]
        case "ExecutionStepFailureEvent" | "RunFailureEvent":
            outcome.problems.append(str((event.get("error") or {}).get("message") or event.get("message")))


def check_outcome(outcome: Outcome) -> str:
    """Raise unless the run succeeded with all assets and checks."""
    failed = [name for name, passed in outcome.checks.items() if not passed]
    if outcome.status != "SUCCESS" or len(set(outcome.assets)) != _ASSETS or failed or not outcome.checks:
        raise RehearsalError(f"the run ended with status {outcome.status}; failed checks: {failed}; {outcome.problems}")
    return f"{len(set(outcome.assets))} assets, {len(outcome.checks)} checks passed"


def check_published(work_dir: Path, run_id: str, workers: int) -> str:
    """Raise unless the run published a result of this number of workers."""
    current = work_dir / "published" / "current"
    metrics = json.loads((current / "metrics.json").read_text("utf-8"))
    verdict = json.loads((current / "verdict.json").read_text("utf-8"))
    rows = pq.read_metadata(current / "enriched_awards.parquet").num_rows
    farm = json.loads((work_dir / "steps" / "chunk_matches.json").read_text("utf-8"))
    if verdict["status"] != "passed" or rows == 0:
        raise RehearsalError(f"published: {verdict['status']}, {rows} awards")
    numbers = farm["numbers"]
    if farm["run_id"] != run_id or numbers["workers"] != workers or numbers["chunks_computed"] != numbers["chunks"]:
        raise RehearsalError(f"this run and {workers} workers did not match all chunks: {numbers}")
    matched = f"{rows:,} awards, {metrics['match_rate']:.1%} matched"
    return f"{matched}, {numbers['chunks']} chunks by {numbers['workers']} workers"


def check_history(postgres: Running, run_id: str, runs: int) -> str:
    """Raise unless PostgreSQL contains the run, its events, and this number of runs."""

    def select(query: str) -> str:
        database = ("--username=dagster", "--dbname=dagster", "--host=127.0.0.1", "--tuples-only", "--no-align")
        password = f"PGPASSWORD={postgres.environment['POSTGRES_PASSWORD']}"
        asked = postgres.inside("/usr/bin/env", password, "psql", *database, f"--command={query}")
        if asked.returncode != 0:
            raise RehearsalError(f"psql: {asked.stdout}")
        return asked.stdout.strip()

    status = select(f"select status from runs where run_id = '{run_id}'")
    events = int(select(f"select count(*) from event_logs where run_id = '{run_id}'"))
    found = int(select("select count(*) from runs where status = 'SUCCESS'"))
    if status != "SUCCESS" or events == 0 or found != runs:
        raise RehearsalError(f"PostgreSQL has the run as '{status}' with {events} events, among {found} that succeeded")
    return f"{found} runs, {events} events of this one"


class Prometheus:
    """Prometheus, queried over HTTP."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}:9090/api/v1/query?"

    def value(self, query: str) -> float | None:
        """Return the value of the first series, or None."""
        answer = json.loads(_read(self._url + urllib.parse.urlencode({"query": query})))
        found = answer["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    def expect(self, query: str, value: float) -> str:
        """Wait until the query returns the value. Raises ``RehearsalError`` after a timeout."""

        def as_expected() -> str | None:
            return f"{query} = {value:g}" if self.value(query) == value else None

        return _wait_for(as_expected, f"Prometheus: {query} to be {value:g}", lambda: self.value(query))


def check_metrics(prometheus: Prometheus, deployment: Deployment) -> Iterator[str]:
    """Yield the metrics of the services and the run. Raises ``RehearsalError`` if one is missing."""
    yield prometheus.expect('count(up{job="worker"} == 1)', deployment.services["worker"].replicas)
    yield prometheus.expect('up{job="scheduler"}', 1)
    yield prometheus.expect('up{job="pushgateway"}', 1)
    yield prometheus.expect('max(max_over_time(up{job="enrich_dist"}[1h]))', 1)
    yield prometheus.expect('enrich_dist_run_outcome{outcome="published",job="enrich_dist"}', 1)
    yield prometheus.expect('count(count by (alertname) (ALERTS{alertstate="firing"})) or vector(0)', 0)


def _wait_for(condition: Callable[[], _Found | None], what: str, now: Callable[[], object] | None = None) -> _Found:
    deadline = time.monotonic() + _FIGURES_SECONDS
    while (found := condition()) is None:
        if time.monotonic() > deadline:
            raise RehearsalError(f"waited {_FIGURES_SECONDS:g} s for {what}" + (f"; it is {now()}" if now else ""))
        time.sleep(_POLL_SECONDS)
    return found


def _read(url: str, body: bytes | None = None) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, body, {"content-type": "application/json"}), timeout=30) as answer:
            found: bytes = answer.read()
    except urllib.error.HTTPError as error:
        raise RehearsalError(f"{url}: {error.read().decode('utf-8', errors='replace')[:1000]}") from error
    except OSError as error:
        raise RehearsalError(f"{url} does not answer: {error}") from error
    return found
