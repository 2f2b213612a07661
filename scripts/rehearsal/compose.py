"""Read a compose file as an engine does: variables, volumes, health checks and start order.

Rejects unknown keys. ``NOT_COVERED`` lists the accepted keys that have no effect, with reasons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from scripts.rehearsal.errors import RehearsalError
from scripts.rehearsal.roots import Mount, User

NOT_COVERED: Mapping[str, str] = {
    "deploy.resources": "the rehearsal has no control groups",
    "pids_limit": "the rehearsal has no control groups",
    "init": "the rehearsal reaps processes itself",
    "restart": "a service that exits early ends the rehearsal",
    "logging": "the rehearsal writes output to files",
    "shm_size": "the rehearsal does not limit shared memory",
    "ports": "the rehearsal uses the addresses of services, at published ports",
}
_KEYS: Final = frozenset({
    "image", "build", "command", "entrypoint", "environment", "volumes", "tmpfs", "user", "read_only", "depends_on",
    "healthcheck", "profiles", "deploy", "cap_drop", "security_opt", "network_mode", "stop_grace_period",
    *(key for key in NOT_COVERED if "." not in key),
})  # fmt: skip
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Health:
    """The health check of a service."""

    test: tuple[str, ...]
    startup_seconds: float
    """Time until a service without an answer fails."""
    timeout_seconds: float


@dataclass(frozen=True)
class Service:
    """One service of the file."""

    name: str
    image: str
    build: Mapping[str, str] | None
    command: tuple[str, ...] | None
    environment: Mapping[str, str]
    user: User | None
    read_only: bool
    tmpfs: tuple[Mount, ...]
    volumes: tuple[Mount, ...]
    """The source of a named volume is ``volumes/NAME``."""
    depends_on: Mapping[str, str]
    health: Health | None
    profiles: tuple[str, ...]
    replicas: int
    ports: tuple[int, ...]
    """Published ports."""
    isolated: bool
    grace_seconds: float
    """Time between the stop signal and SIGKILL."""


def interpolated(text: str, values: Mapping[str, str]) -> str:
    """Replace ``${NAME}``, ``${NAME:-default}``, ``${NAME:?why}`` and ``$$`` as an engine does."""

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        value = values.get(found["name"], "")
        if value:
            return value
        if found["kind"] == ":?":
            raise RehearsalError(f"{found['name']}: {found['rest']}")
        return found["rest"] or ""

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(?:(?P<kind>:[-?])(?P<rest>[^}]*))?\}", replaced, text)


def read_environment_file(path: Path) -> dict[str, str]:
    """Read NAME=value lines."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def read_compose(path: Path, values: Mapping[str, str], volumes: Path) -> dict[str, Service]:
    """Return the services by name. ``volumes``: directory of named volumes."""
    document = yaml.safe_load(interpolated(path.read_text("utf-8"), values))
    unknown = {key for key in document if key not in ("services", "volumes") and not key.startswith("x-")}
    if unknown:
        raise RehearsalError(f"{path.name}: {', '.join(sorted(unknown))} is not supported")
    named = set(document.get("volumes", {}))
    services = {
        name: _service(name, given, path.parent, named, volumes) for name, given in document["services"].items()
    }
    for service in services.values():
        if missing := set(service.depends_on) - set(services):
            raise RehearsalError(f"{service.name} depends on {', '.join(missing)}, which is not a service")
    return services


def _service(name: str, given: Mapping[str, Any], folder: Path, named: set[str], volumes: Path) -> Service:
    if unknown := set(given) - _KEYS:
        raise RehearsalError(f"{name}: {', '.join(sorted(unknown))} is not supported")
    # Every process runs without capabilities, so a service must declare that it needs none.
    if given.get("cap_drop") != ["ALL"] or given.get("security_opt") != ["no-new-privileges:true"]:
        raise RehearsalError(f"{name}: cap_drop: [ALL] and no-new-privileges are missing")
    mode = given.get("network_mode")
    if mode not in (None, "none"):
        raise RehearsalError(f"{name}: network_mode {mode} is not supported")
    return Service(
        name=name,
        image=given["image"],
        build=given.get("build"),
        command=None if "command" not in given else tuple(map(str, given["command"])),
        environment={key: str(value) for key, value in given.get("environment", {}).items()},
        user=User.parse(given["user"]) if "user" in given else None,
        read_only=bool(given.get("read_only", False)),
        tmpfs=tuple(_memory(text) for text in given.get("tmpfs", [])),
        volumes=tuple(_volume(name, text, folder, named, volumes) for text in given.get("volumes", [])),
        depends_on={other: how["condition"] for other, how in given.get("depends_on", {}).items()},
        health=_health(given["healthcheck"]) if "healthcheck" in given else None,
        profiles=tuple(given.get("profiles", [])),
        replicas=int(given.get("deploy", {}).get("replicas", 1)),
        ports=tuple(int(text.rsplit(":", 1)[1]) for text in given.get("ports", [])),
        isolated=mode == "none",
        grace_seconds=_seconds(given.get("stop_grace_period", "10s")),
    )


def _memory(text: str) -> Mount:
    target, _, options = text.partition(":")
    return Mount(None, target, options=options)


def _volume(name: str, text: str, folder: Path, named: set[str], volumes: Path) -> Mount:
    source, target, *options = text.split(":")
    if options not in ([], ["ro"]):
        raise RehearsalError(f"{name}: volume {text} is not supported")
    if not source.startswith((".", "/")):
        if source not in named:
            raise RehearsalError(f"{name}: {source} is not among the volumes")
        return Mount(volumes / source, target, read_only=bool(options))
    path = (folder / source).resolve()
    if not path.exists():
        raise RehearsalError(f"{name}: {source} does not exist")
    return Mount(path, target, read_only=bool(options))


def _health(given: Mapping[str, Any]) -> Health:
    how, *test = map(str, given["test"])
    if how != "CMD":
        raise RehearsalError(f"healthcheck {how} is not supported")
    startup = _seconds(given.get("start_period", "0s")) + int(given["retries"]) * _seconds(given["interval"])
    return Health(tuple(test), startup, _seconds(given["timeout"]))


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(ms|s|m|h)", text)
    if found is None:
        raise RehearsalError(f"'{text}' is not a duration")
    return int(found[1]) * _SECONDS[found[2]]
