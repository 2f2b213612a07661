"""The code location of a deployment: only the user of the services can reach it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.integration.deploy.test_files import SERVICE
from tests.support.hosts import wait_until

NOBODY = 65534
_CONNECT = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
socket.socket(socket.AF_UNIX).connect(sys.argv[1])
"""


def environment(storage: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DAGSTER_STORAGE": str(storage), "DAGSTER_HOME": str(storage)}


@contextmanager
def code_location(storage: Path, how: signal.Signals) -> Iterator[psutil.Process]:
    service = subprocess.Popen(
        ["sh", str(SERVICE), "code-location"], env=environment(storage), cwd=REPOSITORY, stdout=subprocess.DEVNULL
    )
    try:
        yield psutil.Process(service.pid)
    finally:
        service.send_signal(how)
        service.wait(30)


def is_healthy(storage: Path) -> bool:
    check = ["dagster", "api", "grpc-health-check", "--socket", str(storage / "code-location.sock")]
    return subprocess.run(check, env=environment(storage), capture_output=True, check=False).returncode == 0


def connect_as(uid: int, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _CONNECT, str(path), str(uid)], capture_output=True, text=True, check=False
    )


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_other_user_cannot_connect(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)  # the socket itself must refuse
    path = tmp_path / "code-location.sock"
    with code_location(tmp_path, signal.SIGKILL):
        wait_until(lambda: is_healthy(tmp_path), "the code location", 60)

    with code_location(tmp_path, signal.SIGINT) as service:  # the socket of a killed service is replaced
        wait_until(lambda: is_healthy(tmp_path), "the code location", 60)
        family = [service, *service.children(recursive=True)]
        listening = [entry for process in family for entry in process.net_connections("tcp")]
        refused, allowed = connect_as(NOBODY, path), connect_as(0, path)

    assert listening == []
    assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0 if path.exists() else True
    assert "PermissionError" in refused.stderr
    assert allowed.returncode == 0, allowed.stderr
