"""``dagster dev`` in the project's folder: history of the command line's runs, launches, and notifications."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enrich_dist.settings import load_settings
from enrich_dist.store.run_directory import CURRENT
from tests.conftest import REPOSITORY, enrich_dist, free_port
from tests.support.known_case import write_inputs
from tests.support.listener import Listener, listening_for_posts, write_urls
from tests.support.preflight_case import make_ready

pytestmark = pytest.mark.cluster
_SECONDS = 120


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    with listening_for_posts() as started:
        yield started


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> Path:
    """Return a project folder with settings for the known case and one run of the command line."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "dagster.yaml").symlink_to(REPOSITORY / "dagster.yaml")
    (folder / "config").mkdir()
    awards, recipients = write_inputs(folder / "inputs")
    urls = write_urls(folder / "urls", listener.url())
    (folder / "config" / "base.yaml").write_text(
        f"inputs: {{awards: {awards}, recipients: {recipients}}}\nmatch_rate_threshold: 0.5\nchunk_size: 20\n"
        f"notifications: {{urls_file: {urls}}}\n",
        "utf-8",
    )
    done = enrich_dist("run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("dagster")),
        "dev",
        "--port",
        str(port),
        "-m",
        "dagster_defs.definitions",
    ]
    # In a process group of its own, so that all its servers end with the test.
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}/graphql"
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def ask(address: str, query: str, **variables: Any) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["data"]


def runs(address: str) -> list[dict[str, str]]:
    """Return the runs, the newest first."""
    query = "{ runsOrError { ... on Runs { results { runId status jobName } } } }"
    found: list[dict[str, str]] = ask(address, query)["runsOrError"]["results"]
    return found


def wait_until(condition: Any) -> Any:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except OSError:
            pass  # the server is not up yet
        time.sleep(0.5)
    raise AssertionError(f"not within {_SECONDS} seconds")


_LAUNCH = """
mutation($job: JobOrPipelineSelector!, $config: RunConfigData!) {
  launchRun(executionParams: {selector: $job, mode: "default", runConfigData: $config}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
_SENSOR = """
query($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) { ... on Sensor { sensorState { status ticks(limit: 1) { cursor status } } } }
}
"""
_REPOSITORY = {"repositoryLocationName": "dagster_defs.definitions", "repositoryName": "__repository__"}


def launched(address: str, *overrides: str) -> tuple[str, str]:
    """Launch the job, and return its id and final status."""
    config = {"resources": {"settings": {"config": {"overrides": list(overrides)}}}} if overrides else {}
    answer = ask(address, _LAUNCH, job={**_REPOSITORY, "pipelineName": "enrich"}, config=config)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    run_id = answer["run"]["runId"]
    ended = {"SUCCESS", "FAILURE", "CANCELED"}
    status = wait_until(
        lambda: next(
            (run["status"] for run in runs(address) if run["runId"] == run_id and run["status"] in ended), None
        )
    )
    return run_id, status


@pytest.mark.long
def test_ui_shows_and_launches_runs(project: Path, address: str) -> None:
    [first] = wait_until(lambda: runs(address))
    assert (first["jobName"], first["status"]) == ("enrich", "SUCCESS")
    before = (project / "work" / "published" / CURRENT).resolve()
    (project / "work" / "published" / CURRENT).unlink()

    _, status = launched(address)

    assert status == "SUCCESS"
    assert (project / "work" / "published" / CURRENT).resolve() == before


@pytest.mark.long
def test_daemon_notifies_of_a_block(address: str, listener: Listener) -> None:
    sensor = {**_REPOSITORY, "sensorName": "notify_operators"}

    def has_evaluated() -> bool:
        state = ask(address, _SENSOR, sensor=sensor)["sensorOrError"]["sensorState"]
        assert state["status"] == "RUNNING"
        return bool(state["ticks"] and state["ticks"][0]["cursor"])

    wait_until(has_evaluated)  # runs that ended earlier are ignored
    found = [launched(address, f"match_rate_threshold={gate}") for gate in (0.99, 0.99, 0.5, 0.99)]
    wait_until(lambda: len(listener.posts) >= 2)

    assert [status for _, status in found] == ["FAILURE", "FAILURE", "SUCCESS", "FAILURE"]
    posts = listener.taken()
    assert [post["title"] for post in posts] == ["enrich_dist blocked: match_rate"] * 2
    for (run_id, _), post in zip((found[0], found[3]), posts, strict=True):
        assert f"Run: {run_id}" in post["message"]


_FAILURES = """
query($run: ID!) {
  logsForRun(runId: $run) { ... on EventConnection { events {
    ... on RunFailureEvent { error { message causes { message } } }
  } } }
}
"""


@pytest.mark.long
def test_launch_needs_the_readiness_file(
    project: Path, address: str, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until(lambda: runs(address))
    farm = project / "work" / "steps" / "sbir_awards.json"
    before = farm.read_bytes()

    run_id, status = launched(address, "environment=production")

    assert (status, farm.read_bytes()) == ("FAILURE", before)
    events = ask(address, _FAILURES, run=run_id)["logsForRun"]["events"]
    [error] = [event["error"] for event in events if event.get("error")]
    text = error["message"] + "".join(cause["message"] for cause in error["causes"])
    assert "Not ready: " in text
    assert "enrich-dist preflight --env production" in text
    wait_until(lambda: [post for post in listener.posts if "Not ready: " in post["message"]])

    monkeypatch.chdir(project)
    make_ready(load_settings(None, ["environment=production"], {}).settings)
    assert launched(address, "environment=production")[1] == "SUCCESS"
    assert launched(address, "environment=production", "chunk_size=21")[1] == "FAILURE"
