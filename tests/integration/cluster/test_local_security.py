"""Other users of this machine cannot run code through a local cluster: each of its open ports refuses them."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest
from distributed import Client, LocalCluster

from enrich_dist.cluster.client import open_client
from enrich_dist.settings import Settings
from tests.conftest import REPOSITORY, free_port

pytestmark = pytest.mark.cluster
NOBODY = 65534


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def listening(process: psutil.Process) -> list[str]:
    """``host:port`` of every TCP port that a process and its descendants listen on."""
    connections = [entry for member in family(process) for entry in member.net_connections("tcp")]
    return sorted({f"{entry.laddr.ip}:{entry.laddr.port}" for entry in connections if entry.status == "LISTEN"})


def attack_as_other_user(target: Path, addresses: list[str]) -> list[dict[str, Any]]:
    """Let another uid try to write to the file through each address; return what happened."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.peer", str(NOBODY), str(target), *addresses],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def dask_addresses(client: Client) -> list[str]:
    """Addresses of scheduler, workers and nannies."""
    info = client.scheduler_info(n_workers=-1)
    workers = info["workers"]
    return [info["address"], *workers, *(worker["nanny"] for worker in workers.values())]


def test_every_dask_address_refuses_strangers(client: Client) -> None:
    client.wait_for_workers(2, timeout=60)
    found = dask_addresses(client)
    assert len(found) == 5

    for address in found:
        scheme, _, host = address.partition("://")
        assert scheme == "tls"
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        name, port = host.split(":")
        for wrap in (False, True):
            with socket.create_connection((name, int(port)), timeout=10) as connection:
                stream = context.wrap_socket(connection) if wrap else connection
                try:
                    stream.sendall(b"\0" * 64)
                    answer = stream.recv(100)
                except (ssl.SSLError, ConnectionError):
                    answer = b""
                assert answer == b"", (address, wrap)


def test_keys_are_in_no_argument_variable_or_file(client: Client) -> None:
    worker_pids = client.run(os.getpid).values()
    environments = [f"{psutil.Process(pid).environ()}{psutil.Process(pid).cmdline()}" for pid in worker_pids]
    directories = client.run(lambda dask_worker: dask_worker.local_directory).values()

    assert not any("PRIVATE KEY" in text or "CERTIFICATE" in text for text in environments)
    assert not [path for directory in directories for path in Path(directory).rglob("*.pem")]


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_other_user_runs_nothing_through_a_run(tmp_path: Path) -> None:
    target = tmp_path / "written"
    (tmp_path / "ledger").mkdir()
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.support.process", str(tmp_path / "ledger"), "5", "--", "run", "--config",
         "config/sample.yaml", "--work-dir", str(tmp_path / "work"), "--chunk-size", "1000"],
        cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        process = psutil.Process(driver.pid)
        deadline = time.monotonic() + 120
        while len(addresses := listening(process)) < 5 or not list((tmp_path / "work").glob("checkpoints/*.json")):
            assert driver.poll() is None
            assert time.monotonic() < deadline, addresses
            time.sleep(0.2)
        sockets = [
            Path(str(entry.laddr)).parent
            for member in family(process)
            for entry in member.net_connections("unix")
            if entry.laddr
        ]
        modes = {folder: stat.S_IMODE(folder.stat().st_mode) for folder in sockets}

        outcomes = attack_as_other_user(target, addresses)

        assert driver.poll() is None, "the run ended before it could be attacked"
    finally:
        driver.send_signal(signal.SIGINT)
        _, printed = driver.communicate(timeout=60)
    assert {entry["address"] for entry in outcomes} == set(addresses)
    assert len(outcomes) == 3 * len(addresses)
    assert all("ran" not in entry["outcomes"] for entry in outcomes), outcomes
    assert not target.exists()
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert "Traceback" not in printed  # refused peers are no news for the user
    # Helper processes use sockets in a directory that only its owner can enter.
    assert sockets
    assert {folder: modes[folder] for folder in sockets if modes[folder] != 0o700} == {}


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_attack_works_without_certificates(tmp_path: Path) -> None:
    target = tmp_path / "written"
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, protocol="tcp"
        ) as cluster,
        Client(cluster) as client,
    ):
        addresses = [address.removeprefix("tcp://") for address in dask_addresses(client)]

        outcomes = attack_as_other_user(target, addresses)

    assert {entry["address"] for entry in outcomes if "ran" in entry["outcomes"]} == set(addresses)
    assert len(target.read_text().splitlines()) >= len(addresses)


@pytest.mark.long
def test_pages_of_monitored_cluster_contain_metrics_only(tmp_path: Path) -> None:
    with open_client(Settings(monitoring={"port": free_port()}), tmp_path) as client:
        info = client.scheduler_info(n_workers=-1)
        ports = [entry["services"]["dashboard"] for entry in (info, *info["workers"].values())]
        assert len(ports) == 3
        for port in ports:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
                assert b"dask_" in page.read()
            with urlopen(f"http://127.0.0.1:{port}/sitemap.json", timeout=30) as page:
                assert set(json.load(page)["paths"]) <= {"/metrics", "/sitemap.json"}
            with pytest.raises(HTTPError):
                urlopen(f"http://127.0.0.1:{port}/status", timeout=30)
