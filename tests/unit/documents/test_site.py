"""The builder of the site refuses what leads nowhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of all that the site is built from."""
    for name in ("docs", "config", "deploy", "reports", "data/sample", "scripts"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    for path in (*REPOSITORY.glob("*.md"), REPOSITORY / "mkdocs.yml", REPOSITORY / "LICENSE"):
        shutil.copy(path, tmp_path)
    return tmp_path


def build(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.site"], cwd=project, env={"PATH": "/usr/bin:/bin", "NO_COLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_it_builds_and_files_outside_of_the_documents_are_in_it(project: Path) -> None:
    built = build(project)

    assert built.returncode == 0, built.stdout + built.stderr
    assert (project / "build/site/files/deploy/monitoring/prometheus.yml").exists()
    assert 'href="files/deploy/monitoring/prometheus.yml"' in (project / "build/site/monitoring.html").read_text(
        "utf-8"
    )
    assert (project / "build/site/project/CONTRIBUTING.html").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("[a](nowhere.md)", "no file nowhere.md"),
        ("![a](images/nothing.png)", "no file images/nothing.png"),
        ("[a](../deploy/nothing.yml)", "no file ../deploy/nothing.yml"),
        ("[a](matching.md#nothing)", "anchor does not exist"),
        ("[a](#nothing)", "anchor does not exist"),
    ],
)
def test_a_link_that_leads_nowhere_fails(project: Path, change: str, told: str) -> None:
    with (project / "docs/explanation/memory.md").open("a", encoding="utf-8") as document:
        document.write(f"\n{change}\n")

    built = build(project)

    assert built.returncode != 0
    assert told in built.stdout + built.stderr


def test_the_navigation_leads_to_every_page_and_to_no_other(project: Path) -> None:
    (project / "docs/explanation/memory.md").rename(project / "docs/forgotten.md")
    for path in project.glob("docs/**/*.md"):
        path.write_text(path.read_text("utf-8").replace("memory.md", "forgotten.md"), "utf-8")

    built = build(project)

    assert built.returncode != 0
    assert "forgotten.md is not in nav" in built.stderr
    assert "no page memory.md" in built.stderr
