"""A scheduler and workers started by Dask's commands, over TLS, used by address; and the ports of a local cluster."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client

from enrich_dist.core.files import read_json
from enrich_dist.settings import Settings
from tests.conftest import enrich_dist, run_steps
from tests.support.hosts import Certificates, DaskProcesses, Host
from tests.support.known_case import settings, write_inputs
from tests.support.published import published_bytes

_LOCAL = """
import sys
from pathlib import Path
from enrich_dist.cluster.client import open_client
from enrich_dist.settings import Settings
if __name__ == "__main__":
    with open_client(Settings(), Path(sys.argv[1])) as client:
        client.wait_for_workers(2)
        print("up", flush=True)
        sys.stdin.readline()
"""
pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    folder = tmp_path_factory.mktemp("scheduler")
    with DaskProcesses(folder / "dask", Host(), Certificates(folder / "certificates")) as processes:
        processes.start_worker("first")
        processes.start_worker("second")
        yield processes


def arguments(work_dir: Path, inputs: tuple[Path, Path], address: str) -> list[str | Path]:
    """Arguments of a run of the known case on a scheduler."""
    awards, recipients = inputs
    return [
        "run", "--work-dir", work_dir, "--chunk-size", "10", "--awards", awards, "--recipients", recipients,
        "--set", "match_rate_threshold=0.5", "--set", "cluster.kind=address", "--set", f"cluster.address={address}",
    ]  # fmt: skip


@pytest.mark.long
def test_existing_scheduler_publishes_same_bytes(tmp_path: Path, cluster: DaskProcesses, client: Client) -> None:
    assert cluster.address.startswith("tls://")
    assert cluster.certificates is not None
    inputs = write_inputs(tmp_path / "inputs")
    here = settings(tmp_path / "here", inputs=inputs)
    run_steps(here, lambda: client)
    home = tmp_path / "dagster_home"
    home.mkdir()

    there = enrich_dist(
        *arguments(tmp_path / "there", inputs, cluster.address), *cluster.certificates.overrides(),
        DAGSTER_HOME=str(home),
    )  # fmt: skip

    assert there.returncode == 0, there.stderr
    assert "allow_insecure" not in there.stderr
    assert published_bytes(tmp_path / "there") == published_bytes(here.paths.work_dir)
    assert (home / "history").is_dir()  # the user's DAGSTER_HOME is used
    assert not (tmp_path / "there" / "dagster").exists()
    farm = read_json(tmp_path / "there" / "steps" / "chunk_matches.json")
    assert farm["numbers"]["chunks_computed"] == 6
    assert "first" in farm["tables"]["memory per worker"]  # workers are listed by name


@pytest.mark.long
def test_insecure_scheduler_needs_allow_insecure(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "inputs")
    with DaskProcesses(tmp_path / "dask", Host(), DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="3") as processes:
        processes.start_worker("only")
        run = arguments(tmp_path / "w", inputs, processes.address)
        refused = enrich_dist(*run)
        allowed = enrich_dist(*run, "--set", "cluster.allow_insecure=true", "--verbose")

    assert refused.returncode == 2
    assert "without TLS" in refused.stderr
    assert allowed.returncode == 0, allowed.stderr
    assert f"{processes.address} uses no TLS" in allowed.stderr
    assert "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0" in allowed.stderr


@pytest.mark.long
def test_client_without_certificate_is_refused(cluster: DaskProcesses) -> None:
    plain = cluster.address.replace("tls://", "tcp://")
    for address, error in (
        (cluster.address, r"TypeError: .*ssl_context"),
        (plain, r"(OSError|CommClosedError): .*(reset|Timed out|closed)"),
    ):
        # In a new process: a refused client can block the next client of its process.
        refused = subprocess.run(
            [sys.executable, "-c", f"from distributed import Client; Client({address!r}, timeout=3)"],
            env={**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert refused.returncode == 1
        assert re.search(error, refused.stderr), refused.stderr

    # The scheduler itself, not only Dask's client, refuses a connection without a certificate.
    host, port = cluster.address.removeprefix("tls://").split(":")
    context = ssl.create_default_context(cafile=str(cluster.certificates.directory / "ca.pem"))
    context.check_hostname = False
    with (
        socket.create_connection((host, int(port)), timeout=10) as raw,
        pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
        context.wrap_socket(raw) as wrapped,
    ):
        wrapped.recv(1)


@pytest.mark.long
def test_client_of_other_ca_is_refused(tmp_path: Path, cluster: DaskProcesses) -> None:
    others = Certificates(tmp_path / "others")

    failed = enrich_dist(
        *arguments(tmp_path / "w", write_inputs(tmp_path / "inputs"), cluster.address), *others.overrides(),
        "--set", "cluster.start_timeout_seconds=5",
    )  # fmt: skip

    assert failed.returncode == 1
    [line] = [line for line in failed.stderr.splitlines() if line.startswith("Error:")]
    assert str(others.directory / "ca.pem") in line
    assert "Traceback" not in failed.stderr


@pytest.mark.long
def test_missing_scheduler_is_one_line(tmp_path: Path) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")

    failed = enrich_dist(
        "run", "--work-dir", tmp_path / "w", "--awards", awards, "--recipients", recipients,
        "--set", "cluster.kind=address", "--set", "cluster.address=tcp://127.0.0.1:9",
        "--set", "cluster.allow_insecure=true", "--set", "cluster.start_timeout_seconds=2",
    )  # fmt: skip

    assert failed.returncode == 1
    [line] = [line for line in failed.stderr.splitlines() if line.startswith("Error:")]
    assert "tcp://127.0.0.1:9" in line
    assert "Traceback" not in failed.stderr


@pytest.mark.long
def test_local_cluster_listens_on_loopback(tmp_path: Path) -> None:
    """Scheduler, nannies, workers and their HTTP servers, in a separate process tree."""
    with subprocess.Popen(
        [sys.executable, "-c", _LOCAL, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline().strip() == "up"
        processes = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
        listening = [
            connection.laddr.ip
            for process in processes
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        driver.communicate("leave")

    assert driver.returncode == 0
    assert len(listening) == 1 + 2 * 2  # the scheduler; per worker: worker and nanny; no HTTP server
    assert {ip for ip in listening if not ipaddress.ip_address(ip).is_loopback} == set()


def test_memory_threshold_limits_workers(client: Client) -> None:
    limits = {item["memory_limit"] for item in client.scheduler_info(n_workers=-1)["workers"].values()}

    assert limits == {Settings().memory_threshold_mb * 1_000_000}


def test_one_thread_per_worker(client: Client) -> None:
    assert set(client.nthreads().values()) == {1}
