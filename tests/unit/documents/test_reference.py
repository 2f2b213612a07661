"""The generated reference is current, and describes every figure and column of a real run."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrich_dist import schema
from enrich_dist.cli.main import app
from enrich_dist.farm.attempts import FailureKind
from enrich_dist.matching.decisions import METHODS
from enrich_dist.store.run_directory import STEPS, RunDirectory
from scripts.reference import CODES, FIGURES, REFERENCE, TABLES, command_line, documents
from tests.conftest import SampleRuns


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


def test_published_columns_are_documented(sample_runs: SampleRuns) -> None:
    published = sample_runs.work_dir / "published" / "current"
    awards = list(pq.read_schema(published / "enriched_awards.parquet"))
    further = awards[len(schema.AWARD) : -len(schema.AWARD_MATCH)]

    assert [field.name for field in awards[: len(schema.AWARD)]] == schema.AWARD.names
    assert [field.name for field in further] == ["ri_name"]
    assert pa.schema(awards[-len(schema.AWARD_MATCH) :]) == schema.AWARD_MATCH
    assert pq.read_schema(published / "company_matches.parquet") == schema.COMPANY_MATCH


@pytest.mark.parametrize("step", STEPS)
def test_every_figure_is_documented(step: str, sample_runs: SampleRuns) -> None:
    figures = RunDirectory(sample_runs.work_dir).latest(step).numbers
    kinds = {kind.name.lower() for kind in FailureKind}
    found = {
        re.sub(rf"_by_({'|'.join(METHODS)}|review)$", "_by_<method>", re.sub(f"_({'|'.join(kinds)})$", "_<kind>", name))
        for name in figures
    }

    assert found == set(FIGURES[step])


def test_tables_of_reference_are_complete() -> None:
    for path in Path(REFERENCE).glob("*.md"):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("|"):
                assert line.rstrip().endswith("|"), f"{path.name}: {line}"
