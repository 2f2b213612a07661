"""Links of the documents resolve, named tests exist, and shown commands and settings are valid."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from enrich_dist.cli.main import app
from enrich_dist.settings import load_settings
from scripts.reliability_document import FAULTS
from tests.conftest import REPOSITORY
from tests.support.documents import blocks, exchanges

DOCUMENTS = sorted(
    [
        *(
            REPOSITORY / name
            for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/sample/README.md", "deploy/README.md")
        ),
        *REPOSITORY.glob("docs/**/*.md"),
    ]
)
ids = [str(path.relative_to(REPOSITORY)) for path in DOCUMENTS]


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_links_resolve_to_files(document: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)", document.read_text("utf-8")) if "://" not in target]

    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_tests_of_requirements_exist() -> None:
    named = re.findall(r"`(tests/[^`]+?\.py)::([^`]+)`", (REPOSITORY / "docs/requirements.md").read_text("utf-8"))

    assert len(named) > 30
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (REPOSITORY / file).exists() or f"def {name}(" not in (REPOSITORY / file).read_text("utf-8")
    ]
    assert missing == []


def test_every_fault_has_a_test() -> None:
    written = "".join(path.read_text("utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))

    assert [name for name in FAULTS if f"def {name}(" not in written] == []


def commands() -> Iterator[list[str]]:
    """Arguments of every ``enrich-dist`` line in a code block, except in the generated reference."""
    for document in DOCUMENTS:
        if document.name == "cli.md":
            continue
        for block in blocks(document, indented=True):
            lines = [command for command, _ in exchanges(block.text)] if block.console else _lines(block.text)
            for line in lines:
                words = shlex.split(line, comments=True)
                # Also after variables or another command, but not a namespace or user of this name.
                if "enrich-dist" in words[:-1]:
                    arguments = words[words.index("enrich-dist") + 1 :]
                    yield list(itertools.takewhile(lambda word: word not in {"&", "&&", "|", ">"}, arguments))


def _lines(text: str) -> list[str]:
    without_files = re.sub(r"<<'END'\n.*?^END$", "", text, flags=re.MULTILINE | re.DOTALL)
    return without_files.replace("\\\n", " ").splitlines()


def test_documents_show_commands() -> None:
    assert len(list(commands())) >= 60


@pytest.mark.parametrize("arguments", list(commands()), ids=" ".join)
def test_shown_command_is_valid(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    while (commands := getattr(command, "commands", None)) and arguments[0] in commands:
        command, arguments = commands[arguments[0]], arguments[1:]

    context = command.make_context("enrich-dist", list(arguments))

    if context.params.get("config") == Path("own.yaml"):  # the tutorial writes it and is run as a whole
        return
    load_settings(context.params.get("config"), context.params.get("overrides") or [], {})


def test_documented_make_targets_exist() -> None:
    documents = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
    named = {name for path in documents for name in re.findall(r"\bmake ([a-z-]+)", path.read_text("utf-8"))}
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), flags=re.MULTILINE))

    assert {"demo", "test"} <= named <= targets


def test_requirements_are_pinned() -> None:
    for name in ("run.txt", "dev.txt", "deploy.txt", "deploy-tools.txt", "mutants.txt"):
        text = (REPOSITORY / "requirements" / name).read_text("utf-8")
        assert "://" not in text
        assert "--index" not in text
        for block in re.split(r"\n(?=[a-z0-9])", text)[1:]:
            assert re.match(r"[\w.-]+(\[[\w, -]+\])?==", block), block[:80]
            assert "--hash=sha256:" in block
