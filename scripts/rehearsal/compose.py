"""The compose file, read as an engine reads it: variables, volumes, health, order of the start.

Only keys that are understood may stand there: what is passed over is listed in ``NOT_EXERCISED``, each with its reason.
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

NOT_EXERCISED: Mapping[str, str] = {
    "deploy.resources": "no control groups of the rehearsal's own",
    "pids_limit": "no control groups of the rehearsal's own",
    "init": "the rehearsal reaps processes itself",
    "restart": "whoever ends too early ends the rehearsal",
    "logging": "output goes to files of the rehearsal",
    "shm_size": "there is memory enough",
    "ports": "asked at the address of the service, at ports that the file publishes",
}
_KEYS: Final = frozenset({
    "image", "build", "command", "entrypoint", "environment", "volumes", "tmpfs", "user", "read_only", "depends_on",
    "healthcheck", "profiles", "deploy", "cap_drop", "security_opt", "network_mode", "stop_grace_period",
    *(key for key in NOT_EXERCISED if "." not in key),
})  # fmt: skip
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Health:
    """How an engine asks a service whether it is well."""

    test: tuple[str, ...]
    patience_seconds: float
    """Until a service that never answers is given up."""
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
    """Named volumes have the source ``volumes/NAME``."""
    depends_on: Mapping[str, str]
    health: Health | None
    profiles: tuple[str, ...]
    replicas: int
    ports: tuple[int, ...]
    """Of the service, those that are published."""
    isolated: bool
    grace_seconds: float
    """From the signal to end until it is killed."""


def interpolated(text: str, values: Mapping[str, str]) -> str:
    """``${NAME}``, ``${NAME:-default}``, ``${NAME:?why}`` and ``$$`` as an engine replaces them."""

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
    """NAME=value lines."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def read_compose(path: Path, values: Mapping[str, str], volumes: Path) -> dict[str, Service]:
    """The services by name. ``volumes`` is the folder of named volumes."""
    document = yaml.safe_load(interpolated(path.read_text("utf-8"), values))
    unknown = {key for key in document if key not in ("services", "volumes") and not key.startswith("x-")}
    if unknown:
        raise RehearsalError(f"{path.name}: {', '.join(sorted(unknown))} cannot be exercised")
    named = set(document.get("volumes", {}))
    services = {
        name: _service(name, given, path.parent, named, volumes) for name, given in document["services"].items()
    }
    for service in services.values():
        if missing := set(service.depends_on) - set(services):
            raise RehearsalError(f"{service.name} depends on {', '.join(missing)}, which is no service")
    return services


def _service(name: str, given: Mapping[str, Any], folder: Path, named: set[str], volumes: Path) -> Service:
    if unknown := set(given) - _KEYS:
        raise RehearsalError(f"{name}: {', '.join(sorted(unknown))} cannot be exercised")
    # Every process is started without any right of root's, so that a service must not count on one.
    if given.get("cap_drop") != ["ALL"] or given.get("security_opt") != ["no-new-privileges:true"]:
        raise RehearsalError(f"{name}: keeps rights of root's: cap_drop and security_opt are missing")
    mode = given.get("network_mode")
    if mode not in (None, "none"):
        raise RehearsalError(f"{name}: network_mode {mode} cannot be exercised")
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
        raise RehearsalError(f"{name}: volume {text} cannot be exercised")
    if not source.startswith((".", "/")):
        if source not in named:
            raise RehearsalError(f"{name}: {source} is not among the volumes")
        return Mount(volumes / source, target, read_only=bool(options))
    path = (folder / source).resolve()
    if not path.exists():
        raise RehearsalError(f"{name}: there is no {source}")
    return Mount(path, target, read_only=bool(options))


def _health(given: Mapping[str, Any]) -> Health:
    how, *test = map(str, given["test"])
    if how != "CMD":
        raise RehearsalError(f"healthcheck {how} cannot be exercised")
    patience = _seconds(given.get("start_period", "0s")) + int(given["retries"]) * _seconds(given["interval"])
    return Health(tuple(test), patience, _seconds(given["timeout"]))


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(ms|s|m|h)", text)
    if found is None:
        raise RehearsalError(f"'{text}' is no time")
    return int(found[1]) * _SECONDS[found[2]]
