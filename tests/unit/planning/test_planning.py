"""The cost model's arithmetic, its constants, what is recommended, and a run beside its prediction."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.events import Step
from enrich_dist.planning import refine
from enrich_dist.planning.compare import Compared, compare_run, read_comparison
from enrich_dist.planning.constants import DESCRIPTIONS, constants
from enrich_dist.planning.machine import contention as measured_contention
from enrich_dist.planning.model import Cluster, Speed, Workload, contention, disk, farm, stage_times, total
from enrich_dist.planning.predicted import MADE_BY_PLAN, expected_peak, keep, prediction_file, read
from enrich_dist.planning.recommend import CHUNK_SIZES, MACHINE_SHARE, recommend
from enrich_dist.planning.sample import Sample, sampled
from enrich_dist.planning.stages import STAGES
from enrich_dist.reporting.html.render import render_markdown
from enrich_dist.reporting.html.report_data import read_report_data
from enrich_dist.reporting.plan_comparison import comparison_rows
from enrich_dist.reporting.prediction import comparison_document, plan_document, print_comparison
from enrich_dist.run import finish_run
from enrich_dist.runs.journal import keep_run
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.recipient_files import ParquetSource
from enrich_dist.store.run_directory import RunDirectory
from scripts.scaling_document import DOCUMENT, render
from tests.conftest import enrich_dist
from tests.support.histories import MACHINE, STAGE_SECONDS, a_run
from tests.support.in_process import run_in_process
from tests.support.predictions import SPEED, WORK, choice, larger, prediction
from tests.unit.planning.test_run_plan import RECIPIENTS, inputs, made, make_plan, settings  # noqa: F401

positive = st.floats(1e-7, 1e-2)
works = st.builds(
    Workload,
    source_rows=st.integers(1, 10**9),
    recipients=st.integers(1, 10**9),
    awards=st.integers(1, 10**6),
    companies=st.integers(1, 10**5),
    candidates_per_row=st.floats(0, 10),
    chunk_row_bytes=st.floats(1, 500),
    candidate_row_bytes=st.floats(0, 500),
    counts_bytes=st.floats(0, 10**6),
    counts_rows=st.integers(1, 50_000),
    counts_power=st.floats(0, 1),
    inputs_bytes=st.integers(0, 10**9),
)
speeds = st.builds(
    Speed,
    yardstick_seconds=st.floats(0.01, 2),
    cores=st.integers(1, 128),
    contention=st.floats(1, 4),
    disk_bytes_per_second=st.floats(1e6, 1e10),
    partition_row_seconds=positive,
    match_row_seconds=positive,
    chunk_seconds=st.floats(1e-6, 1),
    measured_seconds=st.just({}),
    scatter=st.floats(0, 1),
)
sizes = st.integers(1, 500_000)


@given(works, speeds, sizes, st.integers(1, 1000), st.booleans())
def test_the_parts_add_up(work: Workload, speed: Speed, chunk_size: int, workers: int, local: bool) -> None:
    stages = stage_times(work, speed, constants(), Cluster(workers, local), chunk_size)
    whole, held = total(stages), disk(work, constants(), chunk_size)

    assert [stage.stage for stage in stages] == list(STAGES)
    assert whole.seconds == pytest.approx(sum(stage.seconds for stage in stages))
    assert all(0 <= stage.low_seconds <= stage.seconds <= stage.high_seconds for stage in (*stages, whole))
    parts = (held.inputs_bytes, held.chunks_bytes, held.checkpoints_bytes, held.results_bytes)
    assert held.total_bytes == pytest.approx(sum(parts))
    assert min(parts) >= 0


@given(works, speeds, sizes, st.integers(1, 1000), st.integers(1, 10**8), st.booleans())
def test_more_rows_are_never_faster(
    work: Workload, speed: Speed, chunk_size: int, workers: int, more: int, local: bool
) -> None:
    cluster = Cluster(workers, local)
    few = farm(work, speed, constants(), cluster, chunk_size).seconds
    many = farm(larger(work, more), speed, constants(), cluster, chunk_size).seconds

    assert few <= many * (1 + 1e-9)


@given(works, speeds, sizes, st.integers(1, 1000), st.integers(1, 1000))
def test_more_machines_are_never_slower(work: Workload, speed: Speed, chunk_size: int, workers: int, more: int) -> None:
    def wall(count: int) -> float:
        return total(stage_times(work, speed, constants(), Cluster(count, local=False), chunk_size)).seconds

    assert wall(workers + more) <= wall(workers) * (1 + 1e-9)


def test_workers_on_one_machine_share_its_cores() -> None:
    assert contention(SPEED, Cluster(1)) == 1
    assert contention(SPEED, Cluster(2)) == pytest.approx(1.2)
    assert contention(SPEED, Cluster(8)) == pytest.approx(4 * 1.2)
    assert contention(SPEED, Cluster(8, local=False)) == pytest.approx(1.2)


def test_one_core_alone_has_no_contention_and_no_machine_has_more_than_its_cores() -> None:
    assert measured_contention(1) == 1
    assert 1 <= measured_contention(2) <= 2


def test_the_farm_is_bounded_by_what_it_lacks() -> None:
    def limit(speed: Speed, workers: int, chunk_size: int) -> str:
        return farm(WORK, speed, constants(), Cluster(workers, local=False), chunk_size).limit

    assert limit(SPEED, 2, 50_000) == "workers"
    assert limit(SPEED, 10_000, 100) == "driver and scheduler"
    assert limit(replace(SPEED, disk_bytes_per_second=1e5), 100, 50_000) == "disk"


def test_what_is_there_already_costs_next_to_nothing() -> None:
    told = prediction()
    fresh, following = total(told.stages()).seconds, total(told.stages(MADE_BY_PLAN)).seconds

    assert following < fresh
    by_name = {stage.stage: stage.seconds for stage in told.stages(MADE_BY_PLAN)}
    assert by_name["award_companies"] < 0.2


def test_every_constant_says_what_it_is_and_how_it_is_measured_again() -> None:
    assert constants().keys() == DESCRIPTIONS.keys()
    for name, constant in constants().items():
        assert constant.value >= 0, name
        assert (constant.unit, constant.what) == DESCRIPTIONS[name]
        assert "runs of scripts/measure_plan.py" in constant.how
        assert "python -m scripts.measure_plan" in constant.again


@given(
    st.sampled_from(CHUNK_SIZES),
    st.sets(st.integers(1, 64), min_size=1, max_size=3),
    st.integers(10**9, 10**12),
    st.dictionaries(st.tuples(st.sampled_from(CHUNK_SIZES), st.integers(1, 64)), st.floats(1, 1e5), max_size=20),
    st.integers(1, 2_000),
)
def test_what_the_budget_refuses_is_never_recommended(
    chunk_size: int,
    workers: set[int],
    machine_bytes: int,
    walls: dict[tuple[int, int], float],
    index_mb: int,
) -> None:
    advice = recommend(
        lambda size, count: choice(size, count, seconds=walls.get((size, count), 50.0), index_mb=index_mb),
        chunk_size=chunk_size,
        workers=workers,
        workers_now=2,
        timeout_seconds=1_800,
        machine_bytes=machine_bytes,
    )

    chosen = choice(advice.chunk_size, advice.workers, index_mb=index_mb)
    assert chosen.projection.fits(advice.memory_threshold_mb)
    if advice.fits:
        assert advice.workers * advice.memory_threshold_mb * 1e6 <= MACHINE_SHARE * machine_bytes
    else:
        assert "use a larger one" in advice.reasons[0]


def test_what_is_set_stays_unless_something_is_clearly_faster() -> None:
    def advised(**seconds: float) -> tuple[int, int]:
        advice = recommend(
            lambda size, count: choice(size, count, seconds=seconds.get(f"s{size}x{count}", 100.0)),
            chunk_size=50_000,
            workers=[1, 2],
            workers_now=2,
            timeout_seconds=1_800,
            machine_bytes=64 * 10**9,
        )
        return advice.chunk_size, advice.workers

    assert advised(s20000x2=97.0) == (50_000, 2)
    assert advised(s20000x2=80.0) == (20_000, 2)
    assert advised(s50000x1=60.0) == (50_000, 1)


def test_chunks_that_would_come_near_the_timeout_are_not_recommended() -> None:
    def slow(size: int, count: int) -> Any:
        return replace(choice(size, count, seconds=1e6 / size), chunk_seconds=size / 100)

    advice = recommend(slow, chunk_size=5_000, workers=[1], workers_now=1, timeout_seconds=1_800, machine_bytes=None)

    assert advice.chunk_size == 10_000  # 100 seconds; 20,000 rows would take 200 of at most 180


def grouped(path: Path, rows: int, groups: int) -> Path:
    pq.write_table(pa.table({"number": list(range(rows))}), path, row_group_size=-(-rows // groups))
    return path


def file_of(sample: Sample) -> str:
    assert isinstance(sample.source, ParquetSource)
    return sample.source.where


def test_the_sample_of_a_parquet_file_comes_from_all_over_it(tmp_path: Path) -> None:
    path = grouped(tmp_path / "r.parquet", 10_000, 20)

    with sampled(open_source(path), 800, tmp_path / "scratch") as sample:
        numbers = pq.read_table(file_of(sample))["number"].to_pylist()
        assert (len(numbers), sample.places, sample.spread) == (800, 8, True)
        assert (min(numbers), max(numbers)) == (500, 9_099)  # groups 1 to 18 of 20

    assert not list((tmp_path / "scratch").iterdir())


def test_small_row_groups_give_all_they_have_and_others_more(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    with pq.ParquetWriter(path, pa.schema([("number", pa.int64())])) as writer:
        for size in (10, 500, 500):
            writer.write_table(pa.table({"number": list(range(size))}))

    with sampled(open_source(path), 410, tmp_path / "scratch") as sample:
        assert pq.read_metadata(file_of(sample)).num_rows == 410


@pytest.mark.parametrize(("groups", "rows"), [(1, 100), (20, 10_000)])
def test_where_nothing_can_be_spread_the_sample_is_the_beginning(tmp_path: Path, groups: int, rows: int) -> None:
    path = grouped(tmp_path / "r.parquet", 10_000, groups)

    with sampled(open_source(path), rows, tmp_path) as sample:
        assert (file_of(sample), sample.spread) == (str(path), False)


def test_a_file_in_the_order_of_its_names_is_told_right(tmp_path: Path, inputs: tuple[Path, Path]) -> None:  # noqa: F811
    table = pq.read_table(inputs[1])
    recipients = tmp_path / "sorted.parquet"
    # All that match stand at the end.
    nobody, somebody = table.slice(len(table) - 100), table.slice(0, 3)
    whole = pa.concat_tables([*[nobody] * 9, *[somebody] * 300])
    pq.write_table(whole, recipients, row_group_size=100)

    plan = make_plan(made(tmp_path, (inputs[0], recipients)), sample_rows=400)

    assert plan.sample_places == 8
    assert plan.scaled(plan.with_candidate) == pytest.approx(900, rel=0.2)


def test_earlier_runs_of_the_same_size_and_machine_have_their_say() -> None:
    stages = [replace(stage, seconds=10.0) for stage in prediction().stages()]
    work = replace(WORK, awards=11_446, recipients=96_666)
    runs = refine.alike([a_run()] * 3, work, MACHINE.digest)

    found = refine.factors(stages, work, runs, a_run().settings)

    # The geometric mean of the model, once, and of three runs.
    seconds = STAGE_SECONDS["enriched_awards"]
    assert found["enriched_awards"] == (pytest.approx((seconds / 10.0) ** (3 / 4)), 3)
    assert "start_up" not in found


def test_runs_of_other_machines_or_sizes_and_disturbed_ones_have_none() -> None:
    work = replace(WORK, awards=11_446, recipients=96_666)

    assert refine.alike([a_run()], work, "another") == []
    assert refine.alike([a_run()], replace(work, recipients=1_000_000), MACHINE.digest) == []
    assert refine.alike([replace(a_run(), worker_restarts=1)], work, MACHINE.digest) == []
    assert len(refine.alike([a_run()] * 9, work, MACHINE.digest)) == refine.MAX_RUNS


def test_a_farm_is_refined_by_equal_settings_only() -> None:
    first = a_run()
    work = replace(WORK, awards=first.dataset.awards, recipients=first.dataset.recipients)
    others = {**first.settings, "chunk_size": 1}

    assert "chunk_matches" in refine.factors(prediction().stages(), work, [first], first.settings)
    assert "chunk_matches" not in refine.factors(prediction().stages(), work, [first], others)


def test_a_prediction_is_read_as_it_was_written_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    directory, told = RunDirectory(tmp_path), prediction()
    with pytest.raises(StateError, match="holds no prediction"):
        read(directory)

    keep(directory, told)

    assert read(directory) == told
    path = prediction_file(directory)
    path.write_text(path.read_text("utf-8").replace("50000", "50001"), "utf-8")
    with pytest.raises(CorruptionError, match="is not a prediction"):
        read(directory)


def test_errors_are_of_what_happened() -> None:
    assert Compared("wall", 125.0, None, None, 100.0).error == pytest.approx(0.25)
    assert Compared("wall", 50.0, None, None, 100.0).error == pytest.approx(-0.5)
    assert Compared("wall", 50.0, None, None, None).error is None
    assert Compared(Step.SBIR_AWARDS, 0.1, None, None, 0.2, reused=True).error is None


def test_a_run_is_held_against_its_plan(tmp_path: Path, inputs: tuple[Path, Path]) -> None:  # noqa: F811
    planned = made(tmp_path, inputs)
    plan = make_plan(planned)

    pipeline = run_in_process(planned)
    finish_run(pipeline)

    comparison = read_comparison(pipeline.directory)
    steps = pipeline.directory.all_latest()
    figures = {item.name: item for item in comparison.stages}
    told = {stage.stage: stage.seconds for stage in plan.prediction.stages({*MADE_BY_PLAN, "chunk_matches"})}
    assert {name: item.predicted for name, item in figures.items()} == pytest.approx(told)
    assert {name: figures[name].actual for name in steps} == {name: step.seconds for name, step in steps.items()}
    assert [name for name, item in figures.items() if item.reused] == [
        *sorted(MADE_BY_PLAN, reverse=True),
        "chunk_matches",
    ]
    assert comparison.wall.actual == pytest.approx(sum(step.seconds for step in steps.values()))
    disks = {item.name: item for item in comparison.disk}
    assert disks["inputs"].error == pytest.approx(0)
    assert disks["chunks"].error == pytest.approx(0, abs=0.3)
    assert disks["checkpoints"].error == pytest.approx(0, abs=0.3)
    assert comparison.note == "Chunks of an earlier run were kept, which the prediction knows nothing of."
    shown = render_markdown(read_report_data(pipeline.directory))
    assert "## Plan and actual" in shown
    assert "Partitioning recipients | " in shown


def test_a_run_with_other_settings_is_compared_with_what_the_plan_says_of_these(
    tmp_path: Path,
    inputs: tuple[Path, Path],  # noqa: F811
) -> None:
    make_plan(made(tmp_path, inputs))

    pipeline = run_in_process(made(tmp_path, inputs).model_copy(update={"chunk_size": 20}))
    finish_run(pipeline)

    assert "planned was chunk_size 1,000 with 2 workers" in read_comparison(pipeline.directory).note.lower()


def test_a_run_without_a_plan_is_not_compared_and_says_how(tmp_path: Path, inputs: tuple[Path, Path]) -> None:  # noqa: F811
    pipeline = run_in_process(made(tmp_path, inputs))
    finish_run(pipeline)

    with pytest.raises(StateError, match="no run that was planned before"):
        read_comparison(pipeline.directory)
    assert "has no plan" in render_markdown(read_report_data(pipeline.directory))


def test_a_prediction_that_cannot_be_read_harms_no_run(tmp_path: Path, inputs: tuple[Path, Path]) -> None:  # noqa: F811
    planned = made(tmp_path, inputs)
    pipeline = run_in_process(planned)
    prediction_file(pipeline.directory).write_text("{", "utf-8")

    finish_run(pipeline)

    keep_run(pipeline.directory)
    assert pipeline.directory.html_report.exists()


def test_the_json_document_keeps_its_fields(settings: Any) -> None:  # noqa: F811
    document = json.loads(json.dumps(plan_document(make_plan(settings))))

    assert list(document) == [
        "format", "awards", "companies", "source_rows", "source_rows_exact", "sampled_rows", "sample_places",
        "chunk_size", "chunks", "workers", "workers_on_this_machine", "recipients", "candidates", "largest_blocks",
        "worker_memory", "seconds", "disk_bytes", "recommended", "refined_by_runs", "work", "speed",
    ]  # fmt: skip
    assert document["format"] == 1
    assert list(document["seconds"]) == ["next_run", "from_nothing", "matching_bounded_by"]
    for told in ("next_run", "from_nothing"):
        assert list(document["seconds"][told]) == [*STAGES, "total"]
        assert document["seconds"][told]["total"]["seconds"] == pytest.approx(
            sum(document["seconds"][told][stage]["seconds"] for stage in STAGES)
        )
    assert list(document["worker_memory"]) == [
        "expected_peak_bytes", "projected_peak_bytes", "fits", "least_memory_threshold_mb", "memory_threshold_mb",
    ]  # fmt: skip
    assert list(document["recommended"]) == ["chunk_size", "workers", "memory_threshold_mb", "fits", "flags", "reasons"]
    assert document["recommended"]["flags"][0] == f"--set chunk_size={document['recommended']['chunk_size']}"
    assert document["source_rows"] == len(RECIPIENTS)


def test_the_comparison_is_shown_with_its_percentages(tmp_path: Path, inputs: tuple[Path, Path]) -> None:  # noqa: F811
    planned = made(tmp_path, inputs)
    make_plan(planned)
    pipeline = run_in_process(planned)
    compare_run(pipeline.directory, planned, pipeline.run_id)
    comparison = replace(
        read_comparison(pipeline.directory),
        wall=Compared("wall", 30.0, 20.0, 40.0, 24.0),
        memory=Compared("worker_peak_memory_bytes", 300e6, None, None, 310e6),
    )

    rows = {row[0]: row[1:] for row in comparison_rows(comparison)}

    assert rows["Wall time"] == ("30.0", "20.0 – 40.0", "24.0", "+25%")
    assert rows["Peak of a worker (MB)"] == ("300", "", "310", "-3%")
    assert rows["Reading awards"][-1] == "reused"
    console = Console(file=io.StringIO(), width=100)
    print_comparison(console, comparison)
    assert isinstance(console.file, io.StringIO)
    assert "+25%" in console.file.getvalue()
    figures = {item["name"]: item for item in comparison_document(comparison)["figures"]}
    assert figures["wall"] == {**asdict(comparison.wall), "error": pytest.approx(0.25)}


def test_the_peak_expected_lies_under_what_the_budget_plans_with() -> None:
    for projected in (290_000_000, 350_000_000, 450_000_000):
        assert 0.7 * projected < expected_peak(projected, 272_000_000) < projected


def test_compare_before_any_run_says_what_to_do(tmp_path: Path) -> None:
    told = enrich_dist("plan", "--compare", "--set", f"paths.work_dir={tmp_path}")

    assert told.returncode != 0
    assert "Run `enrich-dist plan`, then `enrich-dist run`" in told.stderr


def test_the_document_of_scaling_is_what_its_figures_say() -> None:
    assert DOCUMENT.read_text("utf-8") == render()
