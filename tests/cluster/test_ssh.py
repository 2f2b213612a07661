"""The job on scheduler and workers that are started by SSH, over TLS: a real sshd on this machine."""

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

from enrich_dist.store.files import read_json
from tests.cluster.hosts import Certificates, wait_until
from tests.conftest import REPOSITORY, enrich_dist, free_port, run_steps
from tests.known import settings, write_inputs
from tests.published import published_bytes

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
    """sshd on loopback with keys of its own."""
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
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, where it separates privileges
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen([str(_SSHD), "-D", "-e", "-f", str(folder / "config")], stdout=log, stderr=log)
    try:
        wait_until(lambda: "Server listening" in (folder / "log").read_text(), "sshd")
        yield Server(port, folder / "client", folder / "known_hosts")
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)


def test_a_run_by_ssh_publishes_the_same_bytes(tmp_path: Path, server: Server, client: Client) -> None:
    here = settings(tmp_path / "here")
    run_steps(here, lambda: client)
    awards, recipients = write_inputs(tmp_path / "inputs")
    config = tmp_path / "ssh.yaml"
    config.write_text(
        f"""
inputs: {{awards: {awards}, recipients: {recipients}}}
paths: {{work_dir: {tmp_path / "there"}}}
chunk_size: 10
match_rate_threshold: 0.5
memory_threshold_mb: 700
cluster:
  kind: ssh
  start_timeout_seconds: 240
  tls: {{{", ".join(f"{name}: {path}" for name, path in Certificates(tmp_path / "certs").settings().items())}}}
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
        "utf-8",
    )

    there = enrich_dist("run", "--config", config)

    assert there.returncode == 0, there.stderr
    assert published_bytes(tmp_path / "there") == published_bytes(here.paths.work_dir)
    records = [read_json(path) for path in (tmp_path / "there" / "checkpoints").glob("[0-9a-f]*.json")]
    assert len(records) == 6
    assert {record["memory_limit_bytes"] for record in records} == {700_000_000}
    assert len({record["pid"] for record in records}) == 2
