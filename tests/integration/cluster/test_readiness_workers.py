"""Preflight checks of real workers: reachable, over TLS, of the same code, with the same files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from enrich_dist.preflight.context import Outcome, PreflightContext, Status
from enrich_dist.settings import Settings
from tests.conftest import REPOSITORY
from tests.support.hosts import Certificates, DaskProcesses, Host, no_mounts
from tests.support.known_case import settings
from tests.support.preflight_case import loaded_of, outcome_in

pytestmark = [pytest.mark.cluster, pytest.mark.long]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[DaskProcesses]:
    with DaskProcesses(tmp_path_factory.mktemp("scheduler") / "dask", Host(), certificates) as processes:
        processes.start_worker("first")
        processes.start_worker("second")
        yield processes


def on(folder: Path, processes: DaskProcesses) -> Settings:
    """The known case on that cluster."""
    tls = processes.certificates
    return settings(
        folder,
        cluster={
            "kind": "address",
            "address": processes.address,
            "start_timeout_seconds": 60,
            **({"tls": tls.settings()} if tls else {"allow_insecure": True}),
        },
    )


def outcomes(run: Settings, *, now: datetime | None = None) -> tuple[Outcome, Outcome]:
    """The outcomes of both checks, with one connection."""
    with PreflightContext(loaded_of(run), now=now) as context:
        return outcome_in(context, "cluster_reachable"), outcome_in(context, "workers")


def test_matching_workers_over_tls_pass(tmp_path: Path, cluster: DaskProcesses) -> None:
    run = on(tmp_path, cluster)

    reachable, workers = outcomes(run, now=datetime.now(UTC) - timedelta(days=30))

    assert (reachable.status, reachable.facts["tls"], reachable.facts["workers"]) == (Status.PASSED, True, 2)
    assert (workers.status, workers.facts["workers"]) == (Status.PASSED, 2), workers.summary
    assert not list((run.paths.work_dir / "readiness").iterdir())
    assert [path.name for path in (run.paths.work_dir / "scratch").iterdir()] == ["dask"]


def test_expiring_certificate_warns(tmp_path: Path, cluster: DaskProcesses) -> None:
    reachable, _ = outcomes(on(tmp_path, cluster))

    assert reachable.status is Status.WARNING
    assert "2 days" in reachable.summary


def test_local_cluster_passes(tmp_path: Path) -> None:
    reachable, workers = outcomes(settings(tmp_path))

    assert (reachable.status, reachable.facts["kind"], reachable.facts["workers"]) == (Status.PASSED, "local", 1)
    assert workers.status is Status.PASSED, workers.summary


def test_unreachable_scheduler_fails(tmp_path: Path, cluster: DaskProcesses) -> None:
    run = on(tmp_path, cluster)
    closed = run.cluster.model_copy(update={"address": "tls://127.0.0.1:1", "start_timeout_seconds": 2.0})

    reachable, workers = outcomes(run.model_copy(update={"cluster": closed}))

    assert (reachable.status, workers.status) == (Status.FAILED, Status.UNKNOWN)
    assert "tls://127.0.0.1:1" in str(reachable.remedy)


def test_cluster_without_tls_fails(tmp_path: Path) -> None:
    with DaskProcesses(tmp_path / "dask", Host()) as processes:
        processes.start_worker("only")
        run = on(tmp_path, processes)
        reachable, workers = outcomes(run)
        with PreflightContext(loaded_of(run)) as context:
            insecure = outcome_in(context, "no_insecure_override")

    assert (reachable.status, reachable.facts["tls"]) == (Status.FAILED, False)
    assert workers.status is Status.PASSED
    assert insecure.status is Status.FAILED


def test_worker_of_another_version_fails(tmp_path: Path, certificates: Certificates) -> None:
    other = tmp_path / "other code"
    for name in ("enrich_dist", "dagster_defs"):
        shutil.copytree(REPOSITORY / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    init = other / "enrich_dist" / "__init__.py"
    init.write_text(init.read_text("utf-8").replace("__version__ = ", '__version__ = "9.9.9" or '), "utf-8")
    with DaskProcesses(tmp_path / "dask", Host(), certificates, PYTHONPATH=str(other)) as processes:
        processes.start_worker("only")
        _, workers = outcomes(on(tmp_path, processes))

    assert workers.status is Status.FAILED
    assert "enrich_dist 9.9.9 (driver: " in workers.summary
    assert "enrich_dist files " in workers.summary


def test_worker_without_preflight_fails(tmp_path: Path, certificates: Certificates) -> None:
    """For example, a worker of an earlier version."""
    other = tmp_path / "old code"
    shutil.copytree(REPOSITORY / "enrich_dist", other / "enrich_dist", ignore=shutil.ignore_patterns("__pycache__"))
    # Not removed: with an editable installation, Python would find the package there.
    (other / "enrich_dist" / "preflight" / "__init__.py").write_text(
        "raise ModuleNotFoundError('No module named ' + repr(__name__))\n", "utf-8"
    )
    with DaskProcesses(tmp_path / "dask", Host(), certificates, PYTHONPATH=str(other)) as processes:
        processes.start_worker("only")
        _, workers = outcomes(on(tmp_path, processes))

    assert workers.status is Status.FAILED
    assert "ModuleNotFoundError" in workers.summary


def test_worker_without_work_directory_fails(tmp_path: Path, certificates: Certificates) -> None:
    if missing := no_mounts():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    with DaskProcesses(tmp_path / "dask", Host(), certificates) as processes:
        processes.start_worker("seeing")
        processes.start_worker("blind", Host(hidden=work_dir))
        _, workers = outcomes(on(tmp_path, processes))

    assert (workers.status, workers.facts["workers"]) == (Status.FAILED, 2)
    assert str(work_dir) in workers.summary
    assert workers.facts["problems"] == 2  # both of the blind worker
