"""The container file and compose's layout, executed and started for real (``scripts/deploy_rehearsal.py``)."""

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
from scripts.rehearsal.compose import NOT_EXERCISED
from scripts.rehearsal.containerfile import Build, read_containerfile
from scripts.rehearsal.errors import RehearsalError
from scripts.rehearsal.roots import keep_programs_in
from tests.conftest import REPOSITORY
from tests.support.deploy_tools import DEPLOY

_NONE = deploy_rehearsal.missing()
needs_all = pytest.mark.skipif(_NONE is not None, reason=_NONE or "")
IMAGE = "docker.io/library/python:3.11.14-slim-bookworm"


def rehearsed(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Rehearse in the folder, whose image is used again."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.deploy_rehearsal", "--folder", str(folder), *map(str, arguments)],
        cwd=REPOSITORY, env={**os.environ, "COLUMNS": "200"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=1200, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The folder of a rehearsal in which the container file was executed."""
    with TemporaryDirectory(prefix="rehearsal-", dir="/var/tmp") as name:
        built = rehearsed(Path(name), "--build-only")
        assert built.returncode == 0, built.stdout
        yield Path(name)


@pytest.mark.long
@needs_all
def test_the_deployed_files_work_to_the_published_result(image: Path) -> None:
    done = rehearsed(image)

    assert done.returncode == 0, done.stdout
    expected = ("the run ended well", "the result is published", "PostgreSQL has it", "compose run run: everything",
                "in production a run is refused", "compose run run preflight", "in production the run is let in",
                "who is to be told was told", "all end on")  # fmt: skip
    for step in expected:
        assert any(line.startswith("✓ " + step) for line in done.stdout.splitlines()), done.stdout
    assert 'count(up{job="worker"} == 1) = 2' in done.stdout
    told = done.stdout[done.stdout.index("Not exercised:") :]
    assert all(f"{what}: {why}" in told for what, why in NOT_EXERCISED.items())


@pytest.mark.long
@needs_all
@pytest.mark.parametrize(
    ("slip", "into", "told"),
    [
        ("command: [scheduler]", "command: [schedular]", "no such role: schedular"),
        ("- tls:/tls:ro", "- tls:/elsewhere:ro", "ca.pem"),
        ("http://127.0.0.1:8787/health", "http://127.0.0.1:8787/wealth", "scheduler-1 is not healthy"),
    ],
)
def test_a_broken_command_in_compose_is_found(image: Path, slip: str, into: str, told: str) -> None:
    """A copy beside the original, with one slip."""
    text = (DEPLOY / "compose" / "compose.yaml").read_text("utf-8")
    assert slip in text
    folder = image / "deploy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DEPLOY, folder)
    quicker = text.replace("start_period: 60s", "start_period: 10s").replace("retries: 6", "retries: 1")
    (folder / "compose" / "compose.yaml").write_text(quicker.replace(slip, into), "utf-8")

    done = rehearsed(image, "--compose", folder / "compose" / "compose.yaml")

    assert done.returncode == 1, done.stdout
    assert "✗ scheduler × 1" in done.stdout
    assert told in done.stdout


@pytest.mark.parametrize(
    ("instructions", "told"),
    [
        (f"FROM {IMAGE}\nEXPOSE 80\n", "line 2: EXPOSE cannot be exercised"),
        ("FROM docker.io/library/python:latest\n", "is not pinned to a version"),
        (f"FROM {IMAGE}\nCOPY nothing /there\n", "there is no nothing"),
        (f"FROM {IMAGE}\nCOPY tests /there\n", ".dockerignore keeps tests out of the build"),
        (f"FROM {IMAGE}\nCOPY --chown=1:1 enrich_dist /there\n", "--chown=1:1 cannot be exercised"),
        (f"FROM {IMAGE}\nUSER enrich-dist\n", "is not written as uid:gid"),
        (f"FROM {IMAGE}\nUSER 4711:4711\n", "no such user"),
    ],
)
@needs_all
def test_what_is_wrong_in_a_container_file_is_told_with_its_line(tmp_path: Path, instructions: str, told: str) -> None:
    (tmp_path / "Containerfile").write_text(instructions, "utf-8")
    keep_programs_in(tmp_path / "usr")
    build = Build(REPOSITORY, tmp_path / "stages", tmp_path / "cache")

    with pytest.raises(RehearsalError, match=told):
        list(build.execute(read_containerfile(tmp_path / "Containerfile")))


@needs_all
def test_a_command_of_a_container_file_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    text = f"FROM {IMAGE}\nRUN echo fine && \\\n    id -u && \\\n    no-such-program\n"
    (tmp_path / "Containerfile").write_text(text, "utf-8")
    keep_programs_in(tmp_path / "usr")
    build = Build(REPOSITORY, tmp_path / "stages", tmp_path / "cache")

    with pytest.raises(RehearsalError, match=r"(?s)line 2: .*fine\n0\n.*no-such-program: not found"):
        list(build.execute(read_containerfile(tmp_path / "Containerfile")))
