"""Fixtures that start something real once: a Dask cluster of two worker processes, and runs of the whole job."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from distributed import Client

from enrich_dist.cluster.client import open_client
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.run_lifecycle import finish_run
from enrich_dist.settings import Settings, flatten
from tests.support import object_store, postgres_server
from tests.support.known_case import injected_faults
from tests.support.neutral_settings import neutralise
from tests.support.object_store import ObjectStore
from tests.support.outside import Outside, watching
from tests.support.postgres_server import PostgresServer

REPOSITORY = Path(__file__).resolve().parents[1]

# No deadline: the first call of a kernel compiles it. The examples of `make test` and, with more of them, `make
# test-long` are the same each time, so a failure is of the change at hand; `make explore` draws new ones.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=15, derandomize=True, database=None)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=200, derandomize=True, database=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


# Started in the background of a script, tests inherit that an interrupt is ignored, and so would all they start: what
# is to stop on Ctrl-C never would.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without-settings", action="store_true",
        help="Take the effect from the setting that a test is marked with: the test must fail.",
    )  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """With ``--without-settings``: run a marked test once for each of its settings."""
    if metafunc.config.getoption("without_settings"):
        keys = [key for marker in metafunc.definition.iter_markers("setting") for key in marker.args]
        metafunc.parametrize("_without_setting", keys, indirect=True, ids=[f"without:{key}" for key in keys])


@pytest.fixture(autouse=True)
def _without_setting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if key := getattr(request, "param", None):
        neutralise(key, monkeypatch)


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    """Remove settings variables of the developer's environment."""
    for name in [name for name in os.environ if name.startswith("ENRICH_DIST_")]:
        del os.environ[name]
    os.environ.pop("DAGSTER_HOME", None)
    for name in [name for name in os.environ if name.startswith(("AWS_", "PG"))]:
        del os.environ[name]
    # Before any cluster starts: its workers inherit them.
    os.environ.update(object_store.ENVIRONMENT)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Yield a real object store. Without its programs the test is skipped, except in CI."""
    if missing := object_store.missing_programs():
        reason = f"no object store to test with: {', '.join(missing)} not installed"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with object_store.running(tmp_path_factory.mktemp("swift")) as started:
        yield started


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Yield a real PostgreSQL server. Without its programs the test is skipped, except in CI."""
    if missing := postgres_server.missing_programs():
        reason = f"no PostgreSQL to test with: {', '.join(missing)} not installed"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with postgres_server.running(tmp_path_factory.mktemp("postgres")) as started:
        yield started


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Yield a client of a local cluster with two worker processes, started like that of a run."""
    with open_client(Settings(), tmp_path_factory.mktemp("dask")) as opened:
        yield opened


def run_steps(settings: Settings, client: Callable[[], Client]) -> Pipeline:
    """Run all steps in order, without Dagster."""
    pipeline = Pipeline(settings, run_id="test")
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    pipeline.farm_chunks(client)
    try:
        pipeline.enrich_awards()
        pipeline.publish_awards()
    finally:
        finish_run(pipeline)
    return pipeline


def enrich_dist(*arguments: str | Path, cwd: Path = REPOSITORY, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the console script as a user would."""
    script = Path(sys.executable).with_name("enrich-dist")
    return subprocess.run(
        [str(script), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@dataclass(frozen=True)
class SampleRuns:
    """A work directory in which the sample was run with ``sample.yaml`` (passed) and then with ``base.yaml``."""

    work_dir: Path
    passed: subprocess.CompletedProcess[str]
    blocked: subprocess.CompletedProcess[str]
    published_before_blocked: list[str]
    outside: Outside
    """Memory of the processes of the first run."""


@pytest.fixture(scope="session")
def sample_runs(tmp_path_factory: pytest.TempPathFactory) -> SampleRuns:
    work_dir = tmp_path_factory.mktemp("sample") / "work"
    faults = [part for key, value in flatten(injected_faults()).items() for part in ("--set", f"{key}={value}")]
    with watching() as outside:
        passed = enrich_dist("run", "--config", "config/sample.yaml", "--work-dir", work_dir, *faults)
    published = sorted(path.name for path in (work_dir / "published").iterdir())
    blocked = enrich_dist(
        "run", "--config", "config/base.yaml", "--work-dir", work_dir, "--chunk-size", "10000",
        "--awards", "data/sample/sbir_awards.csv.gz", "--recipients", "data/sample/recipients.parquet",
    )  # fmt: skip
    return SampleRuns(work_dir, passed, blocked, published, outside)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
