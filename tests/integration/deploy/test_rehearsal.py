"""The container file and the compose file, executed by ``scripts/deploy_rehearsal.py``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from scripts import deploy_rehearsal
from scripts.rehearsal.compose import NOT_COVERED
from scripts.rehearsal.containerfile import Build, read_containerfile
from scripts.rehearsal.errors import RehearsalError
from scripts.rehearsal.production import STEPS
from scripts.rehearsal.roots import keep_programs_in
from tests.conftest import REPOSITORY
from tests.support.deploy_tools import DEPLOY

_MISSING = deploy_rehearsal.missing()
needs_all = pytest.mark.skipif(_MISSING is not None, reason=_MISSING or "")
IMAGE = "docker.io/library/python:3.11.14-slim-bookworm"


def rehearse(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Rehearse in the folder and reuse its image."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.deploy_rehearsal", "--folder", str(folder), *map(str, arguments)],
        cwd=REPOSITORY, env={**os.environ, "COLUMNS": "200"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=1200, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The folder of a rehearsal after the container file was executed."""
    with TemporaryDirectory(prefix="rehearsal-", dir="/var/tmp") as name:
        built = rehearse(Path(name), "--build-only")
        assert built.returncode == 0, built.stdout
        yield Path(name)


@pytest.mark.long
@needs_all
def test_deployment_publishes_a_result(image: Path) -> None:
    done = rehearse(image)

    assert done.returncode == 0, done.stdout
    steps = [line.removeprefix("✓ ") for line in done.stdout.splitlines() if line.startswith("✓ ")]
    assert all(any(step.startswith(what) for step in steps) for what, *_ in STEPS), done.stdout
    assert "✗" not in done.stdout
    assert 'count(up{job="worker"} == 1) = 2' in done.stdout
    listed = done.stdout[done.stdout.index("Not covered:") :]
    assert all(f"{what}: {why}" in listed for what, why in NOT_COVERED.items())


@pytest.mark.long
@needs_all
@pytest.mark.parametrize(
    ("text", "mistake", "message"),
    [
        ("command: [scheduler]", "command: [schedular]", "unknown role: schedular"),
        ("- tls:/tls:ro", "- tls:/elsewhere:ro", "ca.pem"),
        ("http://127.0.0.1:8787/health", "http://127.0.0.1:8787/wealth", "scheduler-1 is not healthy"),
    ],
)
def test_broken_compose_file_fails(image: Path, text: str, mistake: str, message: str) -> None:
    original = (DEPLOY / "compose" / "compose.yaml").read_text("utf-8")
    assert text in original
    folder = image / "deploy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DEPLOY, folder)
    quicker = original.replace("start_period: 60s", "start_period: 10s").replace("retries: 6", "retries: 1")
    (folder / "compose" / "compose.yaml").write_text(quicker.replace(text, mistake), "utf-8")

    done = rehearse(image, "--compose", folder / "compose" / "compose.yaml")

    assert done.returncode == 1, done.stdout
    assert "✗ start scheduler × 1" in done.stdout
    assert message in done.stdout


@pytest.mark.parametrize(
    ("instructions", "message"),
    [
        (f"FROM {IMAGE}\nEXPOSE 80\n", "line 2: EXPOSE is not supported"),
        ("FROM docker.io/library/python:latest\n", "is not pinned to a version"),
        (f"FROM {IMAGE}\nCOPY nothing /there\n", "nothing does not exist"),
        (f"FROM {IMAGE}\nCOPY tests /there\n", ".dockerignore excludes tests"),
        (f"FROM {IMAGE}\nCOPY --chown=1:1 enrich_dist /there\n", "--chown=1:1 is not supported"),
        (f"FROM {IMAGE}\nUSER enrich-dist\n", "is not uid:gid"),
        (f"FROM {IMAGE}\nUSER 4711:4711\n", "this user does not exist"),
    ],
)
@needs_all
def test_container_file_error_names_line(tmp_path: Path, instructions: str, message: str) -> None:
    (tmp_path / "Containerfile").write_text(instructions, "utf-8")
    keep_programs_in(tmp_path / "usr")
    build = Build(REPOSITORY, tmp_path / "stages", tmp_path / "cache")

    with pytest.raises(RehearsalError, match=message):
        list(build.execute(read_containerfile(tmp_path / "Containerfile")))


@needs_all
def test_failed_command_shows_its_output(tmp_path: Path) -> None:
    text = f"FROM {IMAGE}\nRUN echo fine && \\\n    id -u && \\\n    no-such-program\n"
    (tmp_path / "Containerfile").write_text(text, "utf-8")
    keep_programs_in(tmp_path / "usr")
    build = Build(REPOSITORY, tmp_path / "stages", tmp_path / "cache")

    with pytest.raises(RehearsalError, match=r"(?s)line 2: .*fine\n0\n.*no-such-program: not found"):
        list(build.execute(read_containerfile(tmp_path / "Containerfile")))
