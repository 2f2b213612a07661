"""Dask's own commands as processes on hosts: this machine, or network namespaces with an address each.

``network`` makes a switch (a namespace with a bridge) and hosts connected to it, outside the machine's own namespace,
and removes them afterwards. ``DaskProcesses`` starts and ends ``dask scheduler`` and ``dask worker`` on hosts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from enrich_dist.cluster.certificates import make_certificates
from tests.conftest import REPOSITORY

_DEADLINE_SECONDS = 90


def wait_until(condition: Callable[[], object], what: str, seconds: float = _DEADLINE_SECONDS) -> None:
    """Poll until the condition holds; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for: {what}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Host:
    """Where a process runs."""

    address: str = "127.0.0.1"
    namespace: str | None = None
    switch: str | None = None
    hidden: Path | None = None
    """A directory that is empty as seen from this host."""

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs the arguments on this host."""
        if self.hidden is not None:
            hide = 'mount -t tmpfs none "$0" && exec "$@"'
            return ["unshare", "--mount", "sh", "-c", hide, str(self.hidden), *arguments]
        return ["ip", "netns", "exec", self.namespace, *arguments] if self.namespace else [*arguments]

    def cut(self) -> None:
        """Disconnect the host."""
        self._link("down")

    def heal(self) -> None:
        """Reconnect the host."""
        self._link("up")

    def _link(self, state: str) -> None:
        assert self.switch is not None
        assert self.namespace is not None
        _ip("-n", self.switch, "link", "set", "dev", self.namespace, state)


def no_mounts() -> str | None:
    """Why mount namespaces are not available; None if they are."""
    try:
        probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
        subprocess.run(probe, check=True, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        return f"no mount namespaces: {getattr(error, 'stderr', None) or error}"
    return None


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=30)


def no_namespaces() -> str | None:
    """Why network namespaces are not available; None if they are."""
    probe = f"ed{os.getpid()}p"
    try:
        _ip("netns", "add", probe)
        _ip("-n", probe, "link", "add", "probe0", "type", "veth", "peer", "name", "probe1")
        _ip("-n", probe, "link", "add", "probe2", "type", "bridge")
    except (OSError, subprocess.SubprocessError) as error:
        return f"no network namespaces: {getattr(error, 'stderr', None) or error}"
    finally:
        with suppress(OSError, subprocess.SubprocessError):
            _ip("netns", "del", probe)
    return None


@contextmanager
def network(*names: str) -> Iterator[list[Host]]:
    """Hosts by these names (few letters each), all on one switch."""
    prefix = f"ed{os.getpid() % 10_000}"
    switch = f"{prefix}sw"
    with ExitStack() as stack:

        def namespace(name: str) -> None:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _ip("-n", name, "link", "set", "dev", "lo", "up")

        namespace(switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "dev", "br0", "up")
        hosts = []
        for number, name in enumerate(names, start=1):
            host = Host(f"10.213.47.{number}", f"{prefix}{name}", switch)
            assert host.namespace is not None
            namespace(host.namespace)
            _ip("-n", switch, "link", "add", host.namespace, "type", "veth", "peer", "name", "eth0", "netns",
                host.namespace)  # fmt: skip
            _ip("-n", switch, "link", "set", "dev", host.namespace, "master", "br0", "up")
            _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.namespace, "link", "set", "dev", "eth0", "up")
            hosts.append(host)
        yield hosts


class Certificates:
    """Certificates of a new CA, as options and as settings."""

    def __init__(self, directory: Path) -> None:
        make_certificates(directory, valid_days=2)
        self.directory = directory

    def options(self, role: str) -> list[str]:
        """For Dask's commands."""
        files = {"ca-file": "ca.pem", "cert": f"{role}.pem", "key": f"{role}-key.pem"}
        return [text for name, file in files.items() for text in (f"--tls-{name}", str(self.directory / file))]

    def settings(self) -> dict[str, Path]:
        """The section ``cluster.tls`` of a client."""
        files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client-key.pem"}
        return {name: self.directory / file for name, file in files.items()}

    def overrides(self) -> list[str]:
        """The same for the command line."""
        return [text for name, path in self.settings().items() for text in ("--set", f"cluster.tls.{name}={path}")]


class DaskProcesses:
    """A scheduler and workers started by Dask's commands. Context manager; on exit they are ended.

    ``environment``: more variables, such as ``DASK_DISTRIBUTED__…`` for Dask's settings.
    """

    def __init__(
        self, folder: Path, scheduler: Host, certificates: Certificates | None = None, **environment: str
    ) -> None:
        self.folder = folder
        self.host = scheduler
        self.certificates = certificates
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
            **environment,
        }
        self._stack = ExitStack()
        self.address = ""

    def __enter__(self) -> DaskProcesses:
        self.folder.mkdir(parents=True, exist_ok=True)
        protocol = "tls" if self.certificates else "tcp"
        self._start(self.host, "scheduler", "scheduler", "--protocol", protocol, "--host", self.host.address,
                    "--port", "0", "--dashboard-address", "127.0.0.1:0")  # fmt: skip
        self._stack.callback(self._end)
        wait_until(lambda: "dashboard at:" in self.log("scheduler"), "the scheduler")
        self.address = self.log("scheduler").split("Scheduler at:")[1].split()[0]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_worker(self, name: str, host: Host | None = None, *, memory_mb: int = 1_500) -> None:
        """Start a worker and wait until it is registered."""
        host = host or self.host
        self._start(host, name, "worker", self.address, "--host", host.address, "--name", name, "--nthreads", "1",
                    "--memory-limit", f"{memory_mb}MB", "--dashboard-address", "127.0.0.1:0", "--local-directory",
                    str(self.folder))  # fmt: skip
        wait_until(lambda: "Registered to:" in self.log(name), f"worker {name}: {self.log(name)[-2000:]}")

    def log(self, name: str) -> str:
        """The output of a process."""
        return (self.folder / f"{name}.log").read_text("utf-8", errors="replace")

    def _start(self, host: Host, name: str, kind: str, *arguments: str) -> None:
        tls = self.certificates.options(kind) if self.certificates else []
        command = host.command(sys.executable, "-m", "dask", kind, *arguments, *tls)
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=self.folder, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )

    def _end(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=20)
