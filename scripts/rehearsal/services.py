"""Start the services of a compose file as processes, wait until they are healthy, and stop them.

Images of other projects are not available without a registry. Debian's packages replace them, started as the entrypoint
of the image does (``FOREIGN``).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from scripts.rehearsal.compose import Service
from scripts.rehearsal.containerfile import Image
from scripts.rehearsal.errors import RehearsalError
from scripts.rehearsal.network import Network
from scripts.rehearsal.roots import Mount, Root, User, as_user_command, base_environment, base_root

# As the entrypoint of the PostgreSQL image initialises an empty directory.
_POSTGRES: Final = """
export PATH="$(echo /usr/lib/postgresql/*/bin):$PATH" PGDATA=/var/lib/postgresql/data
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 >/dev/null
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  pg_ctl --wait --options="-c listen_addresses=''" start >/dev/null
  createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl --wait stop >/dev/null
fi
exec postgres -c listen_addresses='*' "$@"
"""


@dataclass(frozen=True)
class Foreign:
    """The substitute for an image: how to start its program, and the directories of its user."""

    entrypoint: tuple[str, ...]
    directories: tuple[str, ...]
    user: User


FOREIGN: Mapping[str, Foreign] = {
    "docker.io/library/postgres": Foreign(
        ("/bin/sh", "-euc", _POSTGRES, "sh"), ("/var/lib/postgresql/data",), User(999, 999)
    ),
    "docker.io/prom/prometheus": Foreign(("/usr/bin/prometheus",), ("/prometheus",), User(65534, 65534)),
    "docker.io/prom/alertmanager": Foreign(
        ("/usr/bin/prometheus-alertmanager",), ("/alertmanager",), User(65534, 65534)
    ),
    "docker.io/prom/pushgateway": Foreign(("/usr/bin/prometheus-pushgateway",), ("/pushgateway",), User(65534, 65534)),
}  # fmt: skip
_POLL_SECONDS: Final = 0.5
_ENDED_BY_SIGNAL: Final = (-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM)


@dataclass
class Running:
    """A process of a service."""

    service: Service
    name: str
    user: User
    process: subprocess.Popen[bytes]
    log: Path
    environment: Mapping[str, str]
    stop_signal: str

    def output(self, characters: int = 3000) -> str:
        """Return the end of its output."""
        return self.log.read_text("utf-8", errors="replace")[-characters:]

    def inside(self, *arguments: str, timeout_seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in the namespaces of the process, as ``exec`` of an engine does."""
        enter = ["nsenter", f"--target={self.process.pid}", "--mount", "--net", "--root", "--wd", "--"]
        return subprocess.run(
            [*enter, *as_user_command(self.user), *arguments], env=dict(self.environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout_seconds,
            check=False,
        )  # fmt: skip


@dataclass
class Deployment:
    """The running services of a compose file. ``folder``: directory of roots, volumes and logs."""

    services: Mapping[str, Service]
    image: Image
    folder: Path
    network: Network
    running: dict[str, Running] = field(default_factory=dict)
    _completed: set[str] = field(default_factory=set)

    def order(self) -> list[str]:
        """Return the services without a profile in start order."""
        found: list[str] = []

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                raise RehearsalError(f"{name} depends on itself")
            for other in self.services[name].depends_on:
                visit(other, (*path, name))
            if name not in found:
                found.append(name)

        for name, service in self.services.items():
            if not service.profiles:
                visit(name, ())
        return found

    def is_without_program(self, name: str) -> bool:
        """Return whether the service has a substitute that is not installed; only a service that no other needs."""
        foreign = FOREIGN.get(self.services[name].image.rpartition(":")[0])
        needed = any(name in service.depends_on for service in self.services.values())
        return foreign is not None and not needed and not Path(foreign.entrypoint[0]).exists()

    def start(self, name: str) -> str:
        """Start all replicas of a service after its dependencies, and wait until they are healthy."""
        service = self.services[name]
        for other, condition in service.depends_on.items():
            self._wait_for(other, condition)
        started = [self._start(service, number) for number in range(1, service.replicas + 1)]
        if self._must_complete(name):
            return self._complete(started[0])
        for running in started:
            self.running[running.name] = running
            self._wait_until_healthy(running)
        return "healthy" if service.health else "started"

    def run(self, name: str, *command: str) -> Running:
        """Start a service with another command, as ``compose run`` does."""
        service = self.services[name]
        for other, condition in service.depends_on.items():
            self._wait_for(other, condition)
        number = 1 + sum(process.rpartition("-")[0] == name for process in self.network.addresses)
        return self._start(replace(service, command=command or service.command), number)

    def stop(self) -> list[str]:
        """Stop all in reverse order by the image's signal; return those that were killed or failed."""
        wrong = []
        for running in reversed(list(self.running.values())):
            began = time.monotonic()
            _send(running.process, running.stop_signal)
            try:
                code = running.process.wait(running.service.grace_seconds)
            except subprocess.TimeoutExpired:
                _send(running.process, "SIGKILL")
                running.process.wait(30)
                wrong.append(
                    f"{running.name} did not stop within {running.service.grace_seconds:g} s of {running.stop_signal}"
                )
                continue
            if code not in (0, *_ENDED_BY_SIGNAL):
                wrong.append(
                    f"{running.name} exited with {code} after {time.monotonic() - began:.1f} s:\n{running.output()}"
                )
        self.running.clear()
        return wrong

    def check_running(self) -> None:
        """Raise ``RehearsalError`` if a process has exited."""
        for running in self.running.values():
            if (code := running.process.poll()) is not None:
                raise RehearsalError(f"{running.name} exited with {code}:\n{running.output()}")

    def _must_complete(self, name: str) -> bool:
        return any(other.depends_on.get(name) == "service_completed_successfully" for other in self.services.values())

    def _complete(self, running: Running) -> str:
        code = running.process.wait(300)
        if code != 0:
            raise RehearsalError(f"{running.name} exited with {code}:\n{running.output()}")
        self._completed.add(running.service.name)
        return "completed"

    def _wait_for(self, name: str, condition: str) -> None:
        if condition == "service_completed_successfully":
            if name not in self._completed:
                raise RehearsalError(f"{name} has not completed")
            return
        found = [running for running in self.running.values() if running.service.name == name]
        if not found:
            raise RehearsalError(f"{name} is not running")
        if condition == "service_healthy" and self.services[name].health is None:
            raise RehearsalError(f"{name} has no healthcheck and others wait until it is healthy")

    def _wait_until_healthy(self, running: Running) -> None:
        health = running.service.health
        if health is None:
            time.sleep(_POLL_SECONDS)
            self.check_running()
            return
        deadline = time.monotonic() + health.startup_seconds
        answer = "no answer yet"
        while time.monotonic() < deadline:
            self.check_running()
            try:
                checked = running.inside(*health.test, timeout_seconds=health.timeout_seconds)
                answer = checked.stdout
                if checked.returncode == 0:
                    return
            except subprocess.TimeoutExpired:
                answer = f"no answer within {health.timeout_seconds:g} s"
            time.sleep(_POLL_SECONDS)
        raise RehearsalError(
            f"{running.name} is not healthy after {health.startup_seconds:g} s: {answer[-1500:]}\n{running.output()}"
        )

    def _start(self, service: Service, number: int) -> Running:
        name = f"{service.name}-{number}"
        host = self.network.join(name, None if service.isolated else service.name)
        image = self.image if service.build else self._foreign(service)
        user = service.user or image.user
        mounts = [
            *service.tmpfs,
            *(self._prepared(mount, image) for mount in service.volumes),
            Mount(self.network.hosts_file(name), "/etc/hosts"),
            Mount(self.network.folder / "resolv.conf", "/etc/resolv.conf"),
        ]
        at = self.folder / "mounted" / name
        at.mkdir(parents=True)
        entered = image.root.command(
            [*image.entrypoint, *(image.command if service.command is None else service.command)],
            user=user, directory=image.directory, mounts=mounts, read_only=service.read_only, at=at,
        )  # fmt: skip
        environment = {**base_environment(), **image.environment, **service.environment, "HOSTNAME": name}
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", host, *entered], env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return Running(service, name, user, process, log, environment, image.stop_signal)

    def _prepared(self, mount: Mount, image: Image) -> Mount:
        """Create a named volume with the owner of the directory in the image, as an engine does."""
        if mount.source is not None and mount.source.is_relative_to(self.folder) and not mount.source.exists():
            mount.source.mkdir(parents=True)
            place = image.root.inside(mount.target)
            if place.exists():
                shutil.copystat(place, mount.source)
                os.chown(mount.source, place.stat().st_uid, place.stat().st_gid)
        return mount

    def _foreign(self, service: Service) -> Image:
        name, _, tag = service.image.rpartition(":")
        foreign = FOREIGN.get(name)
        if foreign is None or (not tag[:1].isdigit() and tag[:1] != "v"):
            raise RehearsalError(f"{service.name}: no substitute for {service.image}, or no version")
        folder = self.folder / "foreign" / service.name
        if not folder.exists():
            root = base_root(folder, whole=True)
            with root.inside("/etc/passwd").open("a", encoding="utf-8") as passwd:
                passwd.write(f"service:x:{foreign.user.uid}:{foreign.user.gid}::/tmp:/bin/sh\n")
            for directory in foreign.directories:
                root.inside(directory).mkdir(parents=True)
                os.chown(root.inside(directory), foreign.user.uid, foreign.user.gid)
        else:
            root = Root(folder, whole=True)
        return Image(root, user=foreign.user, entrypoint=foreign.entrypoint)


def _send(process: subprocess.Popen[bytes], name: str) -> None:
    """Send a signal only to the process, as an engine does."""
    process.send_signal(signal.Signals[name])
