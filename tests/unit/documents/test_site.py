"""The site builder rejects broken links and incomplete navigation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of everything that the site is built from."""
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


def test_site_contains_linked_files(project: Path) -> None:
    built = build(project)

    assert built.returncode == 0, built.stdout + built.stderr
    assert (project / "build/site/files/deploy/monitoring/prometheus.yml").exists()
    assert 'href="../files/deploy/monitoring/prometheus.yml"' in (project / "build/site/how-to/monitor.html").read_text(
        "utf-8"
    )
    assert (project / "build/site/project/CONTRIBUTING.html").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("[a](nowhere.md)", "no file nowhere.md"),
        ("![a](images/nothing.png)", "no file images/nothing.png"),
        ("[a](../deploy/nothing.yml)", "no file ../deploy/nothing.yml"),
        ("[a](matching.md#nothing)", "anchor does not exist"),
        ("[a](#nothing)", "anchor does not exist"),
    ],
)
def test_broken_link_fails(project: Path, change: str, message: str) -> None:
    with (project / "docs/explanation/memory.md").open("a", encoding="utf-8") as document:
        document.write(f"\n{change}\n")

    built = build(project)

    assert built.returncode != 0
    assert message in built.stdout + built.stderr


def test_navigation_is_complete(project: Path) -> None:
    (project / "docs/explanation/memory.md").rename(project / "docs/explanation/unlisted.md")
    for path in project.glob("docs/**/*.md"):
        path.write_text(path.read_text("utf-8").replace("memory.md", "unlisted.md"), "utf-8")

    built = build(project)

    assert built.returncode != 0
    assert "explanation/unlisted.md is not in nav" in built.stderr
    assert "no page explanation/memory.md" in built.stderr
