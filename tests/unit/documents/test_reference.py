"""The generated reference is current and complete; ``test_sample_job.py`` compares it with a real run."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from enrich_dist import schema
from enrich_dist.cli.main import app
from scripts.reference import CODES, REFERENCE, TABLES, command_line, documents


@pytest.mark.parametrize(("name", "text"), documents().items(), ids=lambda value: value[:20])
def test_document_is_current(name: str, text: str) -> None:
    assert (REFERENCE / name).read_text("utf-8") == text, "run: python -m scripts.reference"


def test_every_command_is_documented() -> None:
    text = command_line()

    for command in app.registered_commands:
        assert f"## `enrich-dist {command.name}`" in text
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            callback = command.callback.__name__.rstrip("_").replace("_", "-") if command.callback else ""
            assert f"### `enrich-dist {group.name} {command.name or callback}`" in text


def test_every_table_is_documented() -> None:
    tables = {name for name, value in vars(schema).items() if isinstance(value, pa.Schema)}

    assert tables - {"MATCHED_RECIPIENT"} == set(TABLES)
    assert set(schema.Level.__subclasses__()) == set(CODES.values())


def test_tables_of_reference_are_complete() -> None:
    for path in Path(REFERENCE).glob("*.md"):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("|"):
                assert line.rstrip().endswith("|"), f"{path.name}: {line}"
