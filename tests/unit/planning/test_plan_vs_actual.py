"""Plan vs actual: what is compared, stored and shown, and what is not comparable."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.planning.estimate import STAGES
from enrich_dist.planning.plan_vs_actual import Compared, read_comparison
from enrich_dist.planning.prediction import (
    MADE_BY_PLAN,
    expected_peak,
    prediction_path,
    read_prediction,
    write_prediction,
)
from enrich_dist.planning.run_plan import make_plan
from enrich_dist.reporting.html.render import render_markdown
from enrich_dist.reporting.html.report_data import read_report_data
from enrich_dist.reporting.plan import plan_document
from enrich_dist.reporting.plan_vs_actual import comparison_document, comparison_rows, print_comparison
from enrich_dist.run_lifecycle import finish_run
from enrich_dist.store.run_directory import RunDirectory
from tests.conftest import enrich_dist
from tests.support.in_process import run_in_process
from tests.support.predictions import prediction
from tests.unit.planning.test_run_plan import RECIPIENTS, inputs, made, settings  # noqa: F401


def test_prediction_is_read_as_written(tmp_path: Path) -> None:
    directory, written = RunDirectory(tmp_path), prediction()
    with pytest.raises(StateError):
        read_prediction(directory)

    write_prediction(directory, written)

    assert read_prediction(directory) == written
    path = prediction_path(directory)
    path.write_text(path.read_text("utf-8").replace("50000", "50001"), "utf-8")
    with pytest.raises(CorruptionError):
        read_prediction(directory)


def test_errors_are_relative_to_actual() -> None:
    assert Compared("wall", 125.0, None, None, 100.0).error == pytest.approx(0.25)
    assert Compared("wall", 50.0, None, None, 100.0).error == pytest.approx(-0.5)
    assert Compared("wall", 50.0, None, None, None).error is None
    assert Compared("sbir_awards", 0.1, None, None, 0.2, reused=True).error is None


def test_run_is_compared_with_plan(tmp_path: Path, inputs: tuple[Path, Path]) -> None:  # noqa: F811
    planned = made(tmp_path, inputs)
    plan = make_plan(planned)

    pipeline = run_in_process(planned)
    finish_run(pipeline, began_seconds=0.0)

    comparison = read_comparison(pipeline.directory)
    steps = pipeline.directory.all_latest()
    figures = {item.name: item for item in comparison.stages}
    expected = {stage.stage: stage.seconds for stage in plan.prediction.stages({*MADE_BY_PLAN, "chunk_matches"})}
    assert {name: item.predicted for name, item in figures.items()} == pytest.approx(expected)
    assert {name: figures[name].actual for name in steps} == {name: step.seconds for name, step in steps.items()}
    assert {name for name, item in figures.items() if item.reused} == {*MADE_BY_PLAN, "chunk_matches"}
    assert figures["start_up"].actual is not None
    known = [item.actual for item in figures.values() if item.actual is not None]
    assert comparison.wall.actual == pytest.approx(sum(known))
    disks = {item.name: item for item in comparison.disk}
    assert disks["inputs"].error == pytest.approx(0)
    assert all(item.actual for item in disks.values())
    assert comparison.note  # chunks were resumed
    shown = render_markdown(read_report_data(pipeline.directory))
    assert all(row[0] in shown for row in comparison_rows(comparison))


def test_run_with_other_settings_is_noted(
    tmp_path: Path,
    inputs: tuple[Path, Path],  # noqa: F811
) -> None:
    make_plan(made(tmp_path, inputs))

    pipeline = run_in_process(made(tmp_path, inputs).model_copy(update={"chunk_size": 20}))
    finish_run(pipeline)

    assert "chunk_size 1,000 and 2 workers" in read_comparison(pipeline.directory).note


def test_run_without_plan_is_not_compared(tmp_path: Path, inputs: tuple[Path, Path]) -> None:  # noqa: F811
    pipeline = run_in_process(made(tmp_path, inputs))
    finish_run(pipeline)

    assert read_report_data(pipeline.directory).plan_comparison is None
    with pytest.raises(StateError):
        read_comparison(pipeline.directory)


def test_damaged_prediction_harms_no_run(tmp_path: Path, inputs: tuple[Path, Path]) -> None:  # noqa: F811
    pipeline = run_in_process(made(tmp_path, inputs))
    prediction_path(pipeline.directory).write_text("{", "utf-8")

    finish_run(pipeline)

    assert pipeline.directory.html_report.exists()


def test_json_document_keeps_its_fields(settings: Any) -> None:  # noqa: F811
    document = json.loads(json.dumps(plan_document(make_plan(settings))))

    assert set(document) == {
        "format",
        "awards",
        "companies",
        "source_rows",
        "source_rows_exact",
        "sampled_rows",
        "sample_places",
        "chunk_size",
        "chunks",
        "columns",
        "workers",
        "workers_on_this_machine",
        "recipients",
        "candidates",
        "largest_blocks",
        "worker_memory",
        "seconds",
        "disk_bytes",
        "recommended",
        "corrections",
        "work",
        "rates",
    }
    for run in ("next_run", "from_scratch"):
        seconds = document["seconds"][run]
        assert list(seconds) == [*STAGES, "total"]
        assert seconds["total"]["seconds"] == pytest.approx(sum(seconds[stage]["seconds"] for stage in STAGES))
    assert document["worker_memory"]["fits"]
    assert document["recommended"]["flags"][0] == f"--set chunk_size={document['recommended']['chunk_size']}"
    assert document["source_rows"] == len(RECIPIENTS)


def test_comparison_is_shown_in_percent(tmp_path: Path, inputs: tuple[Path, Path]) -> None:  # noqa: F811
    planned = made(tmp_path, inputs)
    make_plan(planned)
    pipeline = run_in_process(planned)
    finish_run(pipeline)
    comparison = replace(
        read_comparison(pipeline.directory),
        wall=Compared("wall", 30.0, 20.0, 40.0, 24.0),
        memory=Compared("worker_peak_memory_bytes", 300e6, None, None, 310e6),
    )

    rows = {row[0]: row[1:] for row in comparison_rows(comparison)}

    assert rows["Wall time"] == ("30.0", "20.0 – 40.0", "24.0", "+25%")
    assert rows["Peak memory of a worker (MB)"] == ("300", "", "310", "-3%")
    console = Console(file=io.StringIO(), width=100)
    print_comparison(console, comparison)
    assert isinstance(console.file, io.StringIO)
    assert "+25%" in console.file.getvalue()
    figures = {item["name"]: item for item in comparison_document(comparison)["figures"]}
    assert figures["wall"] == {**asdict(comparison.wall), "error": pytest.approx(0.25)}


def test_expected_peak_is_below_projection() -> None:
    for projected in (290_000_000, 350_000_000, 450_000_000):
        assert 0.7 * projected < expected_peak(projected, 272_000_000) < projected


def test_compare_needs_a_run(tmp_path: Path) -> None:
    done = enrich_dist("plan", "--compare", "--set", f"paths.work_dir={tmp_path}")

    assert done.returncode == StateError.exit_code
    assert "enrich-dist plan" in done.stderr
