"""The commands of the tutorial, the how-to guides and the README run as shown."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.conftest import REPOSITORY
from tests.support.documents import Block, Folder, blocks, exchanges, is_shown

TUTORIAL = REPOSITORY / "docs" / "tutorial" / "first-run.md"
GUIDES = sorted((REPOSITORY / "docs" / "how-to").glob("*.md"))
README = REPOSITORY / "README.md"


@pytest.mark.long
def test_tutorial_runs_as_shown(tmp_path: Path) -> None:
    done = Folder(tmp_path / "project").follow(TUTORIAL)

    assert len(done) == len(blocks(TUTORIAL, indented=False)) - 1  # without the setup
    assert (tmp_path / "project" / "work" / "report.html").exists()


@pytest.fixture(scope="module")
def judged_project(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The project after a run of the sample and a rejudge, with two tables to link."""
    folder = Folder(tmp_path_factory.mktemp("guides") / "project", ENRICH_DIST_CONFIG="config/sample.yaml")
    folder.run("set -e; enrich-dist run; enrich-dist rejudge --set matching.accept_probability=0.9")
    assert folder.code == 0
    tables = pa.table({"id": ["1", "2"], "name": ["Kitware, Inc.", "Physical Sciences"], "state": ["NY", "MA"]})
    pq.write_table(tables, folder.root / "left.parquet")
    pyarrow.csv.write_csv(tables, folder.root / "right.csv")
    folder.save()
    return folder


@pytest.fixture
def after_a_run(judged_project: Folder) -> Folder:
    judged_project.restore()
    return judged_project


@pytest.mark.long
@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_commands_of_guide_run(guide: Path, after_a_run: Folder) -> None:
    assert after_a_run.follow(guide) or all(block.reason for block in blocks(guide, indented=False))


@pytest.mark.long
def test_commands_of_readme_run(after_a_run: Folder) -> None:
    expected = [block for block in blocks(README, indented=True) if block.reason is None]

    assert after_a_run.follow(README, indented=True) == expected
    assert len(expected) >= 3


@pytest.mark.parametrize("document", [README, TUTORIAL, *GUIDES], ids=lambda path: path.stem)
def test_skipped_block_has_a_reason(document: Path) -> None:
    found = blocks(document, indented=document == README)

    assert all(block.reason is None or len(block.reason) > 10 for block in found)
    shown = document.read_text("utf-8").count("<!-- not run")
    assert sum(block.reason is not None for block in found) == shown, "a reason without a block"


def test_blocks_are_parsed(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(
        "text\n\n```sh\na\nb\n```\n\n<!-- not run: there is none -->\n\n    ```console\n    $ c\n    d\n    ```\n\n"
        "more\n\n    e\n\n    f\n\n```yaml\ng:\n    h: 1\n```\n",
        "utf-8",
    )

    assert blocks(document, indented=True) == [
        Block(3, False, "a\nb\n", None),
        Block(8, True, "$ c\nd\n", "there is none"),
        Block(17, False, "e\n\nf\n", None),
    ]
    assert len(blocks(document, indented=False)) == 2
    assert exchanges("$ c\nd\n$ e\n") == [("c", "d\n"), ("e", "")]


@pytest.mark.parametrize(
    ("expected", "output", "shown"),
    [
        ("a\nb\n", "a \nb\n", True),
        ("a\n", "a\nb\n", False),
        ("a\n…\n", "a\nb\nc\n", True),
        ("…\nc\n", "c\n", True),
        ("a … c\n", "a b c\n", True),
        ("a … c\n", "a b\n c\n", False),
        ("", "", True),
        ("", "a\n", False),
    ],
)
def test_output_matches_document(expected: str, output: str, shown: bool) -> None:
    assert is_shown(expected, output) is shown
