"""Files under ``deploy``: settings, secrets, programs, and the readiness gate before every run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

from enrich_dist.settings import load_settings
from scripts.rehearsal.containerfile import read_containerfile
from tests.conftest import REPOSITORY
from tests.support.deploy_tools import DEPLOY

FILES = sorted(
    path for path in DEPLOY.rglob("*") if path.is_file() and "monitoring" not in path.parts and path.name != ".env"
)
SCRIPTS = sorted([*(DEPLOY / "bin").iterdir(), *DEPLOY.rglob("*.sbatch")])
SERVICE = DEPLOY / "bin" / "enrich-dist-service"
_BIN = Path(sys.executable).parent


@pytest.mark.parametrize("settings", sorted(DEPLOY.rglob("enrich-dist.yaml")), ids=lambda path: path.parent.name)
def test_settings_are_valid_and_keep_tls(settings: Path) -> None:
    environment = {
        "ENRICH_DIST_CLUSTER__ADDRESS": "tls://enrich-dist-scheduler:8786",
        "ENRICH_DIST_CLUSTER__TLS__CA_FILE": "/tls/ca.pem",
        "ENRICH_DIST_CLUSTER__TLS__CERT_FILE": "/tls/client.pem",
        "ENRICH_DIST_CLUSTER__TLS__KEY_FILE": "/tls/client-key.pem",
    }
    loaded = load_settings(settings, (), environment if "kubernetes" in settings.parts else {}).settings

    assert loaded.cluster.tls.given
    assert not loaded.cluster.allow_insecure
    assert loaded.inputs.awards is not None
    assert loaded.inputs.recipients is not None


def test_every_deployment_has_settings() -> None:
    found = {path.relative_to(DEPLOY).parts[0] for path in DEPLOY.rglob("enrich-dist.yaml")}

    assert found == {"compose", "kubernetes", "slurm", "systemd"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_files_contain_no_secret(path: Path) -> None:
    text = _code(path)

    assert "PRIVATE KEY" not in text
    # A value is empty, from the environment, or the name of a secret.
    named = r"(?i)\b[\w.-]*(?:password|passwd|secret|token|credential|access_?key)\w*[ ]*[=:][ ]*(?P<value>[^\s,}#]*)"
    allowed = r"""["']?(\$|\{|$|false$|secretName:|enrich-dist-(tls|postgres|alerts)$)"""
    values = [found["value"] for found in re.finditer(named, text)]
    assert [value for value in values if not re.match(allowed, value)] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_pass_shellcheck(path: Path) -> None:
    checked = subprocess.run([_BIN / "shellcheck", path], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


def test_container_file_passes_hadolint() -> None:
    path = DEPLOY / "container" / "Containerfile"
    checked = subprocess.run([_BIN / "hadolint", "--no-color", path], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


def test_image_is_pinned_without_root() -> None:
    instructions = read_containerfile(DEPLOY / "container" / "Containerfile")
    last = max(number for number, instruction in enumerate(instructions) if instruction.name == "FROM")
    stages = [instruction.text for instruction in instructions if instruction.name == "FROM"]
    final = instructions[last:]

    assert len(stages) == 2
    assert all(re.search(r":\d+\.\d+\.\d+-slim-", text) for text in stages)
    assert [instruction.text for instruction in final if instruction.name == "USER"] == ["10001:10001"]
    # The final stage installs nothing and copies no sources.
    assert [text for i in final if i.name == "COPY" and not (text := i.text).startswith("--from=build ")] == []
    assert not any(re.search(r"\b(apt-get|pip|install-requirements)\b", i.text) for i in final if i.name == "RUN")
    pins = (REPOSITORY / "requirements" / "deploy.txt").read_text("utf-8")
    assert "psycopg2-binary==" in pins
    assert "--require-hashes" in (DEPLOY / "bin" / "install-requirements").read_text("utf-8")


def test_deployment_pins_equal_run_pins() -> None:
    def pins(name: str) -> set[str]:
        text = (REPOSITORY / "requirements" / name).read_text("utf-8")
        return set(re.findall(r"^[a-z0-9][^ ]*==[^ ]+", text, re.MULTILINE))

    assert pins("run.txt") <= pins("deploy.txt")
    assert {pin.split("==")[0] for pin in pins("deploy.txt") - pins("run.txt")} == {
        "dagster-postgres", "dask-jobqueue", "psycopg2-binary",
    }  # fmt: skip


def test_package_contains_no_scripts() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    packages = find_packages(str(REPOSITORY), include=project["tool"]["setuptools"]["packages"]["find"]["include"])
    modules = [path for name in ("enrich_dist", "dagster_defs") for path in (REPOSITORY / name).rglob("*.py")]

    assert {name.split(".")[0] for name in packages} == {"enrich_dist", "dagster_defs"}
    assert [path for path in modules if re.search(r"^\s*(from|import) scripts\b", path.read_text("utf-8"), re.M)] == []


def test_every_run_passes_the_gate() -> None:
    """``enrich-dist-service run`` verifies readiness first; no other file starts a run."""
    starts = {
        str(path.relative_to(DEPLOY)): re.findall(r"(?<![\w`-])enrich-dist run\b(?!`)", _code(path)) for path in FILES
    }

    assert [name for name, found in starts.items() if found] == ["bin/enrich-dist-service"]
    for name in ("slurm/enrich-dist.sbatch", "systemd/enrich-dist-run.service"):
        assert "enrich-dist-service run" in _code(DEPLOY / name)


def _code(path: Path) -> str:
    return "\n".join(line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("#"))


def fake_command(folder: Path, *, ready: bool) -> dict[str, str]:
    """A program that replaces ``enrich-dist`` and logs its arguments; its gate passes if ``ready``."""
    program = folder / "enrich-dist"
    log = folder / "arguments"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {shlex.quote(str(log))}\n'
        f'[ "$1 $2" != "preflight --verify" ] || exit {0 if ready else 5}\n',
        "utf-8",
    )
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "not ready"])
def test_gate_precedes_run(tmp_path: Path, ready: bool) -> None:
    environment = fake_command(tmp_path, ready=ready)
    done = subprocess.run(["sh", SERVICE, "run", "--set", "chunk_size=500"], env=environment, check=False)

    called = [line for line in (tmp_path / "arguments").read_text("utf-8").splitlines() if "--help" not in line]
    assert done.returncode == (0 if ready else 5)
    # With the settings of the run.
    assert called == ["preflight --verify --set chunk_size=500", *(["run --set chunk_size=500"] if ready else [])]


def test_unknown_role_is_refused() -> None:
    done = subprocess.run(["sh", SERVICE, "unknown"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "unknown role: unknown" in done.stderr
