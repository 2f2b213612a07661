"""The job on a scheduler and workers started by SSH, over TLS: a real sshd on this machine."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest
from distributed import Client

from tests.conftest import REPOSITORY, free_port
from tests.support.hosts import wait_until
from tests.support.run_on_cluster import run_on_cluster

_SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.skipif(_SSHD is None, reason="no sshd here (Debian: openssh-server)"),
]


@dataclass(frozen=True)
class Server:
    port: int
    client_key: Path
    known_hosts: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """sshd on loopback with its own keys."""
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "client"):
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(folder / name)
        (folder / name).chmod(0o600)
    host, client = (
        asyncssh.read_private_key(folder / name).export_public_key().decode().strip() for name in ("host", "client")
    )
    (folder / "authorized_keys").write_text(f'environment="PYTHONPATH={REPOSITORY}" {client}\n')
    port = free_port()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host}\n")
    (folder / "config").write_text(
        f"""
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PermitUserEnvironment yes
"""
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # needed for privilege separation
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen([str(_SSHD), "-D", "-e", "-f", str(folder / "config")], stdout=log, stderr=log)
    try:
        wait_until(lambda: "Server listening" in (folder / "log").read_text(), "sshd")
        yield Server(port, folder / "client", folder / "known_hosts")
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)


def test_ssh_publishes_same_bytes(tmp_path: Path, server: Server, client: Client) -> None:
    there = run_on_cluster(
        tmp_path,
        client,
        f"""
        kind: ssh
        options:
          hosts: [127.0.0.1, 127.0.0.1, 127.0.0.1]
          connect_options:
            port: {server.port}
            username: {getpass.getuser()}
            client_keys: [{server.client_key}]
            known_hosts: {server.known_hosts}
          scheduler_options: {{host: 127.0.0.1}}
          worker_options: {{host: 127.0.0.1, local_directory: {tmp_path}}}
        """,
    )

    assert there.ended.returncode == 0, there.ended.stderr
    assert there.published() == there.expected
    records = there.records()
    assert len(records) == 6
    assert {record["memory_limit_bytes"] for record in records} == {700_000_000}
    assert len({record["pid"] for record in records}) == 2
