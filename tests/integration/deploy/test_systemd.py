"""The systemd units, read by systemd itself."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, enrich_dist
from tests.integration.deploy.test_files import SERVICE
from tests.support import known_case as known
from tests.support.deploy_tools import DEPLOY
from tests.support.hosts import wait_until

UNITS = sorted(path for path in (DEPLOY / "systemd").iterdir() if path.suffix in (".service", ".timer", ".target"))
INSTANCES = {
    "enrich-dist@.service": "enrich-dist@scheduler.service",
    "enrich-dist-worker@.service": "enrich-dist-worker@1.service",
}
_MAX_EXPOSURE = 20  # of 100, by systemd's weights


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system with the installed units."""
    if shutil.which("systemd-analyze") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("systemd is missing (Debian: systemd)")
    units = tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(unit, units)
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr" / "lib" / "systemd" / "system", symlinks=True)
    (tmp_path / "opt/enrich-dist/bin").mkdir(parents=True)
    shutil.copy(SERVICE, tmp_path / "opt/enrich-dist/bin")
    return tmp_path


def analyze(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", f"--root={root}", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_valid(root: Path, unit: Path) -> None:
    verified = analyze(root, "--man=no", "verify", INSTANCES.get(unit.name, unit.name))

    assert (verified.returncode, verified.stdout.strip()) == (0, "")


def test_invalid_unit_is_rejected(root: Path) -> None:
    unit = root / "etc/systemd/system/enrich-dist-run.service"
    unit.write_text(unit.read_text("utf-8").replace("ProtectSystem=strict", "ProtectSystem=very"), "utf-8")

    assert "Failed to parse" in analyze(root, "--man=no", "verify", "enrich-dist-run.service").stdout


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name)
def test_every_service_is_hardened(root: Path, unit: Path) -> None:
    judged = analyze(
        root, "security", "--offline=yes", f"--threshold={_MAX_EXPOSURE}", INSTANCES.get(unit.name, unit.name)
    )

    assert judged.returncode == 0, judged.stdout
    assert re.search(r"^User=enrich-dist$", unit.read_text("utf-8"), re.MULTILINE)


def test_every_service_starts_a_role() -> None:
    cases = re.findall(r"^  ([a-z-]+(?: \| [a-z-]+)*)\)$", SERVICE.read_text("utf-8"), re.MULTILINE)
    roles = [role for case in cases for role in case.split(" | ")]
    units = "".join(unit.read_text("utf-8") for unit in UNITS)
    started = re.findall(r"^ExecStart=/opt/enrich-dist/bin/enrich-dist-service (\S+)", units, re.MULTILINE)

    assert set(started) == {"%i", "worker", "run", "preflight"}
    assert set(roles) == {
        "scheduler",
        "worker",
        "code-location",
        "webserver",
        "daemon",
        "run",
        "preflight",
        "bench",
        "certificates",
    }


def calls_of(group: str) -> set[str]:
    """The system calls of a group of systemd."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    names = [line.strip() for line in listed.stdout.splitlines()[1:]]
    calls = {name for name in names if name and not name.startswith(("#", "@"))}
    return calls.union(*(calls_of(name) for name in names if name.startswith("@")))


def allowed_calls(unit: Path) -> set[str]:
    """The system calls that a unit allows."""
    allowed = calls_of("@default")
    for words in re.findall(r"^SystemCallFilter=(.+)$", unit.read_text("utf-8"), re.MULTILINE):
        for group in words.removeprefix("~").split():
            allowed = allowed - calls_of(group) if words.startswith("~") else allowed | calls_of(group)
    return allowed


class Confined:
    """Services under the system call filter of a unit: other calls fail with EPERM and are logged."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment

    def command(self, role: str, unit: str, log: str, *arguments: str) -> list[str]:
        # As root, SQLite calls fchown on its files; the user of the units does not.
        names = allowed_calls(DEPLOY / "systemd" / unit) | {"fchown"}
        others = "!" + ",".join(f"?{name}" for name in sorted(names))
        return ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-o", str(self.folder / log),
                "-e", f"trace={others}", "-e", f"inject={others}:error=EPERM",
                "sh", str(SERVICE), role, *arguments]  # fmt: skip

    @contextmanager
    def serving(self, role: str, unit: str, log: str, *arguments: str) -> Iterator[None]:
        with (self.folder / f"{log}.out").open("wb") as output:
            process = subprocess.Popen(
                self.command(role, unit, log, *arguments),
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.long
def test_run_under_call_filters_publishes(tmp_path: Path) -> None:
    """strace applies the filters of the units, because CI has no systemd as its first process."""
    if missing := [name for name in ("strace", "systemd-analyze") if shutil.which(name) is None]:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{missing[0]} is missing (Debian: strace, systemd)")
    assert not {"mbind", "setrlimit", "mount"} & allowed_calls(DEPLOY / "systemd" / "enrich-dist-run.service")
    tls = tmp_path / "tls"
    assert enrich_dist("cluster", "certs", tls).returncode == 0
    settings = known.settings(tmp_path)
    port = free_port()
    config = tmp_path / "enrich-dist.yaml"
    config.write_text(
        f"""
inputs: {{awards: {settings.inputs.awards}, recipients: {settings.inputs.recipients}}}
paths: {{work_dir: {tmp_path / "work"}}}
chunk_size: 10
match_rate_threshold: 0.2
cluster:
  kind: address
  tls: {{ca_file: {tls}/ca.pem, cert_file: {tls}/client.pem, key_file: {tls}/client-key.pem}}
""",
        "utf-8",
    )
    confined = Confined(
        tmp_path,
        {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TLS_DIRECTORY": str(tls),
            "LISTEN_ADDRESS": "127.0.0.1",
            "WORKER_DASHBOARD_PORT": str(free_port()),
            "ENRICH_DIST_CONFIG": str(config),
            "ENRICH_DIST_CLUSTER__ADDRESS": f"tls://127.0.0.1:{port}",
            "ENRICH_DIST_MEMORY_THRESHOLD_MB": "1500",
        },
    )

    # The last --port wins.
    scheduler = ("scheduler", "enrich-dist@.service", "scheduler", "--port", str(port),
                 "--dashboard-address", f"127.0.0.1:{free_port()}")  # fmt: skip
    with confined.serving(*scheduler):
        wait_until(lambda: answers(port), "the scheduler", 60)
        with confined.serving("worker", "enrich-dist-worker@.service", "worker"):
            done = subprocess.run(
                confined.command("run", "enrich-dist-run.service", "run"),
                cwd=REPOSITORY, env=confined.environment, capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "work" / "published" / "current" / "enriched_awards.parquet").exists()
    rejected = {
        call
        for log in ("scheduler", "worker", "run")
        for call in re.findall(r"^\d+ +(\w+)\(", (tmp_path / log).read_text("utf-8"), re.MULTILINE)
    }
    # Arrow's allocator calls mbind for NUMA placement, and works without it.
    assert rejected <= {"mbind"}, rejected
