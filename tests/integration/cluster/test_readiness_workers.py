"""The preflight asks real workers: are they there, over TLS, of the same code, and do they see the same files?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from enrich_dist.preflight.catalog import CHECKS
from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Outcome, Status
from enrich_dist.settings import Settings
from tests.conftest import REPOSITORY
from tests.support.hosts import Certificates, DaskProcesses, Host, no_mounts
from tests.support.known_case import settings
from tests.support.preflight_case import loaded_of

pytestmark = [pytest.mark.cluster, pytest.mark.long]
RUN = {item.id: item.check for item in CHECKS}


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


def asked(run: Settings, *, now: datetime | None = None) -> tuple[Outcome, Outcome]:
    """What both items say, of one connection."""
    with PreflightContext(loaded_of(run), now=now) as context:
        return RUN["cluster_reachable"](context), RUN["workers"](context)


def test_workers_over_tls_that_see_all(tmp_path: Path, cluster: DaskProcesses) -> None:
    run = on(tmp_path, cluster)

    reachable, workers = asked(run, now=datetime.now(UTC) - timedelta(days=30))

    assert (reachable.status, reachable.facts["tls"], reachable.facts["workers"]) == (Status.PASSED, True, 2)
    assert (workers.status, workers.facts["workers"]) == (Status.PASSED, 2), workers.summary
    assert not list((run.paths.work_dir / "readiness").iterdir())
    assert [path.name for path in (run.paths.work_dir / "scratch").iterdir()] == ["dask"]


def test_a_certificate_that_ends_soon_is_told(tmp_path: Path, cluster: DaskProcesses) -> None:
    reachable, _ = asked(on(tmp_path, cluster))

    assert reachable.status is Status.WARNING
    assert "the certificate here ends in 2 days" in reachable.summary


def test_a_local_cluster_passes_as_it_is(tmp_path: Path) -> None:
    reachable, workers = asked(settings(tmp_path))

    assert (reachable.status, reachable.facts["kind"], reachable.facts["workers"]) == (Status.PASSED, "local", 1)
    assert workers.status is Status.PASSED, workers.summary


def test_nobody_at_the_address_is_told(tmp_path: Path, cluster: DaskProcesses) -> None:
    run = on(tmp_path, cluster)
    nobody = run.cluster.model_copy(update={"address": "tls://127.0.0.1:1", "start_timeout_seconds": 2.0})

    reachable, workers = asked(run.model_copy(update={"cluster": nobody}))

    assert (reachable.status, workers.status) == (Status.FAILED, Status.UNKNOWN)
    assert "Check that a scheduler runs at tls://127.0.0.1:1" in str(reachable.remedy)


def test_a_cluster_without_tls_fails(tmp_path: Path) -> None:
    with DaskProcesses(tmp_path / "dask", Host()) as processes:
        processes.start_worker("only")
        run = on(tmp_path, processes)
        reachable, workers = asked(run)
        with PreflightContext(loaded_of(run)) as context:
            insecure = RUN["no_insecure_override"](context)

    assert (reachable.status, "without TLS" in reachable.summary) == (Status.FAILED, True)
    assert workers.status is Status.PASSED
    assert insecure.status is Status.FAILED


def test_a_worker_of_another_version_is_named(tmp_path: Path, certificates: Certificates) -> None:
    other = tmp_path / "other code"
    for name in ("enrich_dist", "dagster_defs"):
        shutil.copytree(REPOSITORY / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    init = other / "enrich_dist" / "__init__.py"
    init.write_text(init.read_text("utf-8").replace("__version__ = ", '__version__ = "9.9.9" or '), "utf-8")
    with DaskProcesses(tmp_path / "dask", Host(), certificates, PYTHONPATH=str(other)) as processes:
        processes.start_worker("only")
        _, workers = asked(on(tmp_path, processes))

    assert workers.status is Status.FAILED
    assert "has other versions: enrich_dist 9.9.9 (driver: " in workers.summary
    assert "enrich_dist files " in workers.summary


def test_a_worker_without_this_code_is_named(tmp_path: Path, certificates: Certificates) -> None:
    """One of before the preflight, say."""
    other = tmp_path / "old code"
    shutil.copytree(REPOSITORY / "enrich_dist", other / "enrich_dist", ignore=shutil.ignore_patterns("__pycache__"))
    # Not removed: where this code is installed to be edited, Python would find the room there.
    (other / "enrich_dist" / "preflight" / "__init__.py").write_text(
        "raise ModuleNotFoundError('No module named ' + repr(__name__))\n", "utf-8"
    )
    with DaskProcesses(tmp_path / "dask", Host(), certificates, PYTHONPATH=str(other)) as processes:
        processes.start_worker("only")
        _, workers = asked(on(tmp_path, processes))

    assert workers.status is Status.FAILED
    assert "cannot run this version's code" in workers.summary


def test_a_worker_that_does_not_see_the_work_directory_is_named(tmp_path: Path, certificates: Certificates) -> None:
    if missing := no_mounts():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    with DaskProcesses(tmp_path / "dask", Host(), certificates) as processes:
        processes.start_worker("seeing")
        processes.start_worker("blind", Host(hidden=work_dir))
        _, workers = asked(on(tmp_path, processes))

    assert (workers.status, workers.facts["workers"]) == (Status.FAILED, 2)
    assert f"does not see {work_dir} as the driver does" in workers.summary
    assert "cannot read the index" in workers.summary
    assert workers.facts["problems"] == 2  # all of them the blind one's
