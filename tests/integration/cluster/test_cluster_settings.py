"""Effects of the cluster settings on real workers (``tests/unit/settings/test_every_setting.py``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from distributed import Client, LocalCluster

from enrich_dist.cluster.client import open_client
from enrich_dist.events import FarmProgress, emit
from enrich_dist.settings import Settings
from tests.support.hosts import Certificates, DaskProcesses, Host, wait_until

pytestmark = pytest.mark.cluster


def workers(client: Client) -> int:
    return len(client.scheduler_info(n_workers=-1)["workers"])


@pytest.mark.setting("cluster.n_workers")
def test_number_of_workers(tmp_path: Path) -> None:
    with open_client(Settings(cluster={"n_workers": 1}), tmp_path) as client:
        assert workers(client) == 1
        assert len(client.nthreads()) == 1


@pytest.mark.setting("cluster.address", "cluster.allow_insecure")
def test_address_is_used(tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None) as there:
        address = there.scheduler_address
        chosen = Settings(cluster={"kind": "address", "address": address, "allow_insecure": True})
        with open_client(chosen, tmp_path) as client:
            assert client.scheduler_info(n_workers=0)["address"] == address
            assert client.submit(lambda: 1 + 1).result() == 2


@pytest.mark.long
@pytest.mark.setting("cluster.adaptive.minimum", "cluster.adaptive.maximum")
def test_adaptive_scaling_follows_chunks(tmp_path: Path) -> None:
    with open_client(Settings(cluster={"adaptive": {"minimum": 1, "maximum": 3}}), tmp_path) as client:
        wait_until(lambda: workers(client) == 3, "the maximum before any progress")
        emit(left(100))
        Event().wait(3)
        assert workers(client) == 3
        emit(left(0))
        wait_until(lambda: workers(client) == 1, "the minimum")


def left(chunks: int) -> FarmProgress:
    return FarmProgress(
        chunks_total=100, chunks_done=100 - chunks, chunks_resumed=0, records_total=100, records_done=1, awards_total=7,
        awards_matched=3, records_per_second=20.0, remaining_seconds=5.0, workers=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    folder = tmp_path_factory.mktemp("secured")
    with DaskProcesses(folder / "dask", Host(), Certificates(folder / "certificates")) as processes:
        processes.start_worker("only")
        yield processes


@pytest.mark.long
@pytest.mark.setting("cluster.tls.ca_file", "cluster.tls.cert_file", "cluster.tls.key_file")
def test_certificates_are_used(tmp_path: Path, secured: DaskProcesses) -> None:
    assert secured.certificates is not None
    folder = secured.certificates.directory
    tls = {"ca_file": folder / "ca.pem", "cert_file": folder / "client.pem", "key_file": folder / "client-key.pem"}
    chosen = Settings(cluster={"kind": "address", "address": secured.address, "tls": tls})

    with open_client(chosen, tmp_path) as client:
        assert client.scheduler_info(n_workers=0)["address"].startswith("tls://")
        assert client.submit(lambda: 1 + 1).result() == 2
