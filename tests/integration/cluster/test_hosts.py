"""Driver, scheduler and workers on separate hosts (network namespaces), over TLS; and network failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from tests.conftest import run_steps
from tests.integration.cluster.test_scaling import CALLED, CHUNKS, PacedRun
from tests.support.hosts import Certificates, DaskProcesses, Host, network, no_namespaces, wait_until
from tests.support.known_case import settings
from tests.support.paced import calls
from tests.support.published import published_bytes

_NONE = no_namespaces()
pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.skipif(_NONE is not None, reason=_NONE or "")]

# Timeouts for a silent peer; Dask's defaults are 30 s and 300 s.
_SILENT = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "20s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "20s",
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, client: Client) -> dict[str, str]:
    run = settings(tmp_path_factory.mktemp("expected"))
    run_steps(run, lambda: client)
    return published_bytes(run.paths.work_dir)


class FourHosts:
    """Four hosts, a scheduler and two workers, and a run from the fourth."""

    def __init__(self, folder: Path, hosts: list[Host], processes: DaskProcesses) -> None:
        assert processes.certificates is not None
        self.driver, _, self.first, self.second = hosts
        self.processes = processes
        tls = [f"cluster.tls.{name}={path}" for name, path in processes.certificates.settings().items()]
        self.run = PacedRun(folder, "cluster.kind=address", f"cluster.address={processes.address}", *tls)
        self.prefix = self.driver.command()


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[FourHosts]:
    with network("d", "s", "w1", "w2") as hosts:
        _, scheduler, first, second = hosts
        certificates = Certificates(tmp_path / "certificates")
        with DaskProcesses(tmp_path / "dask", scheduler, certificates, **_SILENT) as processes:
            processes.start_worker("first", first)
            processes.start_worker("second", second)
            yield FourHosts(tmp_path, hosts, processes)


def test_four_hosts_publish_same_bytes(bed: FourHosts, expected: dict[str, str]) -> None:
    assert bed.processes.address.startswith("tls://10.213.47.2:")
    with bed.run.running(*bed.prefix):
        farm = bed.run.end()

    assert published_bytes(bed.run.work_dir) == expected
    assert farm["chunks_computed"] == CHUNKS
    assert farm["failed_attempts"] == 0
    assert farm["workers"] == 2
    assert len(calls(bed.run.ledger)) == CALLED


@pytest.mark.faults
def test_short_disconnect_costs_nothing(bed: FourHosts, expected: dict[str, str]) -> None:
    run = bed.run
    with run.running(*bed.prefix):
        run.wait(lambda: len(calls(run.ledger)) >= 6, "some chunks")
        bed.second.cut()
        seen = len(calls(run.ledger))
        run.wait(lambda: len(calls(run.ledger)) >= seen + 4, "chunks on the other worker")
        bed.second.heal()
        farm = run.end()

    assert published_bytes(run.work_dir) == expected
    assert farm["chunks_computed"] == CHUNKS
    assert farm["failed_attempts"] == 0
    assert len(calls(run.ledger)) == CALLED


@pytest.mark.faults
def test_long_disconnect_loses_one_worker(bed: FourHosts, expected: dict[str, str]) -> None:
    run = bed.run
    with run.running(*bed.prefix):
        run.wait(lambda: len(calls(run.ledger)) >= 6, "some chunks")
        run.hold()
        run.wait(lambda: run.in_flight() == 2, "a chunk in flight on each")
        bed.second.cut()
        wait_until(lambda: "Remove worker" in bed.processes.log("scheduler"), "the scheduler to remove it")
        run.release()
        farm = run.end()
        bed.second.heal()  # so that it can be ended

    assert published_bytes(run.work_dir) == expected
    assert farm["chunks_computed"] == CHUNKS
    # The chunk that waited behind the one under way was not started.
    assert farm["failed_attempts"] == 1 + farm["failed_attempts_not_started"]
    assert farm["failed_attempts_crash"] == 1
    # The disconnected worker may have written its checkpoint, which another reuses; otherwise the chunk is repeated.
    assert len(calls(run.ledger)) - CALLED in (0, 1)
