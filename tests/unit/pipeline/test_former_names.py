"""A run with names over time: a company whose recipient has another name now is matched, explained and reviewed."""

from __future__ import annotations

import io
import runpy
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from enrich_dist.errors import SourceError
from enrich_dist.pipeline.result_inputs import read_result_inputs
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.reporting.explanation import print_explanation
from enrich_dist.results.explain import explain_company
from enrich_dist.results.lookup import find_company
from enrich_dist.results.reopen import reopen_result
from enrich_dist.results.review import export_sheet
from enrich_dist.results.unresolved import read_unresolved
from enrich_dist.schema import NameKind
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import Output
from tests.conftest import REPOSITORY
from tests.support.in_process import run_in_process

CASE = REPOSITORY / "tests" / "corpus" / "former-names-two-headers"
CALLED = "called TAMBRELL LASERS, INC. until 2024 (award downloads, 2024-05-06 to 2024-05-06)"


def settings_of(folder: Path, *, with_names: bool = True, accept: float = 0.68) -> Settings:
    inputs = {
        "awards": str(folder / "awards.csv"),
        "recipients": str(folder / "recipients.csv"),
        "name_history": [str(folder / "downloads")] if with_names else None,
    }
    return Settings(
        inputs=inputs, paths={"work_dir": folder / "work"}, matching={"accept_probability": accept}, chunk_size=2
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(CASE, tmp_path / "case")
    monkeypatch.chdir(tmp_path / "case")
    runpy.run_path("make.py")
    return tmp_path / "case"


@pytest.mark.setting("inputs.name_history")
def test_renamed_recipient_is_matched_and_explained(folder: Path) -> None:
    pipeline = run_in_process(settings_of(folder))
    result = pipeline.directory.output(Output.RESULT)
    matches = {row["company_name"]: row for row in pq.read_table(result / "company_matches.parquet").to_pylist()}
    with reopen_result(pipeline.directory) as opened:
        decision = pipeline.settings.matching.decision()
        explained = explain_company(opened, decision, find_company(opened, "Tambrell Lasers"), candidates=3)
    console = Console(file=io.StringIO(), width=120)
    print_explanation(console, explained, [])
    assert isinstance(console.file, io.StringIO)

    best = matches["Tambrell Lasers"]
    assert (best["match_status"], best["recipient_id"], best["name_kind"]) == ("matched", "r2", NameKind.FORMER)
    assert best["recipient_former_names"] == "TAMBRELL LASERS, INC. (2024-05-06 to 2024-05-06)"
    assert explained.candidates[0].called == CALLED
    assert explained.candidates[0].comparisons[0].outcome == "equal (former name)"
    assert f"the recipient was {CALLED}" in console.file.getvalue()

    # Other names, other chunks.
    before = pipeline.directory.output(Output.CHUNKS)
    without = Pipeline(settings_of(folder, with_names=False), "without")
    assert without.partition_recipients().numbers.get("name_history_recipients") is None
    assert without.directory.output(Output.CHUNKS) != before


def test_renamed_recipient_is_proposed_for_review(folder: Path) -> None:
    pipeline = run_in_process(settings_of(folder, accept=0.999))
    inputs = read_result_inputs(pipeline.directory, pipeline.tasks(), pipeline.checkpoint_location)

    export_sheet(pipeline.directory, inputs, folder / "sheet.csv")

    sheet = (folder / "sheet.csv").read_text("utf-8")
    result = pipeline.directory.output(Output.RESULT)
    [reported] = [
        company.evidence or ""
        for company in read_unresolved(result, folder / "scratch", limit=5).with_candidate
        if company.company == "Tambrell Lasers"
    ]
    for evidence in (sheet, reported):
        assert "former name equal" in evidence
        assert "called TAMBRELL LASERS, INC. (2024-05-06 to 2024-05-06) in award downloads" in evidence


def test_unusable_names_end_the_run_early(folder: Path) -> None:
    (folder / "downloads" / "more.csv").write_text("a,b\n1,2\n", "utf-8")

    with pytest.raises(SourceError, match=r"more\.csv.*no column for uei or duns, for name"):
        Pipeline(settings_of(folder), "test").ingest_awards()
