"""The memory budget: settings that cannot fit are refused, batches shrink near the limit, projections match workers."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client
from rich.console import Console

from enrich_dist.cluster.client import open_client
from enrich_dist.core.matcher import Matcher
from enrich_dist.errors import BudgetError
from enrich_dist.events import Notice, Step, listening
from enrich_dist.farm.budget import MB, project
from enrich_dist.farm.diagnosis import examine, find_chunk
from enrich_dist.matching.warm import warm_up
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.reporting.diagnosis import print_chunk
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import CheckpointRecord, CheckpointStore
from scripts.generator.generate import write_awards, write_recipients
from tests.conftest import REPOSITORY, enrich_dist, run_steps
from tests.support.hungry import Hungry
from tests.support.known_case import settings
from tests.support.outside import watching
from tests.support.published import published_bytes

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, client: Client) -> dict[str, str]:
    run = settings(tmp_path_factory.mktemp("undisturbed"), chunk_size=60)
    run_steps(run, lambda: client)
    return published_bytes(run.paths.work_dir)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Awards of 4,000 companies, and 40,000 recipients."""
    folder = tmp_path_factory.mktemp("generated")
    awards, recipients = folder / "awards.csv", folder / "recipients.parquet"
    sample = REPOSITORY / "data" / "sample" / "recipients.parquet"
    write_recipients(recipients, rows=40_000, seed=1, sample=sample)
    write_awards(awards, companies=4_000, recipients=recipients, seed=1)
    return awards, recipients


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A worker that was made ready as that of a run is, and that has compiled nothing itself."""
    run = Settings(cluster={"n_workers": 1})
    with open_client(run, tmp_path_factory.mktemp("dask")) as client:
        client.run(asyncio.to_thread, warm_up)
        client.restart()
        client.run(asyncio.to_thread, warm_up)
        yield client


def planned(run: Settings) -> Pipeline:
    """A pipeline whose index and chunks are made."""
    pipeline = Pipeline(run, "planned")
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    return pipeline


def records(pipeline: Pipeline) -> list[CheckpointRecord]:
    """Those of all chunks."""
    store = CheckpointStore(pipeline.directory.checkpoints)
    return [store.read_record(task.checkpoint_key) for task in pipeline.tasks()]


def no_cluster() -> Client:
    raise AssertionError("a cluster was asked for")


class HungryPipeline(Pipeline):
    """A pipeline whose matcher takes ever more memory."""

    def matcher(self) -> Matcher:
        ledger = self.directory.root / "ledger"
        ledger.mkdir(exist_ok=True)
        return Hungry(super().matcher(), ledger, full_rows=self.settings.matching.batch_rows)


@pytest.mark.long
def test_low_memory_shrinks_batches_same_bytes(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    run = settings(
        tmp_path,
        chunk_size=60,
        memory_threshold_mb=900,
        matching={"batch_rows": 6},
        farm={"min_part_rows": 1},
        cluster={"n_workers": 1},
    )
    planned(run)
    pipeline = HungryPipeline(run, "hungry")
    notices: list[str] = []

    with (
        open_client(run, tmp_path / "dask") as client,
        listening(lambda event: notices.append(event.message) if isinstance(event, Notice) else None),
    ):
        report = pipeline.farm_chunks(lambda: client)
    pipeline.enrich_awards()
    pipeline.publish_awards()

    assert published_bytes(run.paths.work_dir) == undisturbed
    [record] = records(pipeline)
    # Nothing was lost on the way: the worker saw it coming.
    assert report.numbers["failed_attempts"] == 0
    assert (record.attempt, record.parts) == (1, 1)
    assert record.degradations == report.numbers["degradations"] >= 1
    assert report.numbers["chunks_degraded"] == 1
    assert (report.numbers["batch_rows"], report.numbers["batch_rows_least"]) == (6, record.batch_rows_least)
    assert record.batch_rows_least < record.batch_rows == 6
    rows = [int(path.name.split("-")[0]) for path in (pipeline.directory.root / "ledger").iterdir()]
    assert sum(rows) == record.rows_in
    assert min(rows) >= record.batch_rows_least
    assert 0.7 * 900 * MB < record.peak_memory_bytes < 900 * MB
    assert [notice for notice in notices if "Chunk 0: worker 0 came near its memory limit" in notice]
    console = Console(file=io.StringIO(), width=200)
    print_chunk(console, find_chunk(examine(pipeline.directory), 0))
    output = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"(projected {record.projected_peak_memory_bytes / MB:,.0f})" in output
    assert f"batch size from 6 to {record.batch_rows_least} rows" in output


def test_limit_below_index_is_refused(tmp_path: Path, generated: tuple[Path, Path]) -> None:
    pipeline = planned(settings(tmp_path, inputs=generated, chunk_size=20_000))
    task = pipeline.tasks()[0]
    assert task.memory.index_bytes > 4 * MB
    without_index = project(task.memory, chunk_rows=20_000, chunk_bytes=task.chunk_bytes, batch_rows=1_000)
    least = without_index.min_threshold_mb
    too_little = least - round(task.memory.index_bytes / MB)
    tight = pipeline.settings.model_copy(update={"memory_threshold_mb": too_little})

    started = time.monotonic()
    with pytest.raises(BudgetError) as refused:
        Pipeline(tight, "tight").farm_chunks(no_cluster)
    seconds = time.monotonic() - started

    assert seconds < 2
    index_mb = f"{task.memory.index_bytes / MB:,.1f} for the index"
    for part in (index_mb, "for the worker itself", "batch of 1,000 rows", f"memory_threshold_mb is {too_little}"):
        assert part in refused.value.message
    assert f"Raise memory_threshold_mb to {least} or more" in str(refused.value)
    assert not list(pipeline.directory.checkpoints.glob("*"))


def test_small_limit_uses_smaller_batches(tmp_path: Path, generated: tuple[Path, Path], one_worker: Client) -> None:
    whole = planned(settings(tmp_path, inputs=generated, chunk_size=20_000, match_rate_threshold=0.0))
    task = whole.tasks()[0]
    half = project(task.memory, chunk_rows=20_000, chunk_bytes=task.chunk_bytes, batch_rows=10_000)
    tight = whole.settings.model_copy(update={"memory_threshold_mb": half.min_threshold_mb})
    pipeline = Pipeline(tight, "tight")
    notices: list[str] = []

    with listening(lambda event: notices.append(event.message) if isinstance(event, Notice) else None):
        report = pipeline.farm_chunks(lambda: one_worker)

    assert report.numbers["batch_rows"] == 10_000
    assert [notice for notice in notices if "10,000 rows at a time instead of 20,000" in notice]
    # Under the same keys, and the same bytes.
    shrunk = {path.name: path.read_bytes() for path in pipeline.directory.checkpoints.glob("*.parquet")}
    for path in pipeline.directory.checkpoints.glob("*"):
        path.unlink()
    assert whole.farm_chunks(lambda: one_worker).numbers["batch_rows"] == 20_000
    assert {path.name: path.read_bytes() for path in whole.directory.checkpoints.glob("*.parquet")} == shrunk


def test_projection_equals_peak_of_worker(tmp_path: Path, generated: tuple[Path, Path], one_worker: Client) -> None:
    pipeline = planned(settings(tmp_path, inputs=generated, chunk_size=20_000))

    report = pipeline.farm_chunks(lambda: one_worker)

    projected, measured = report.numbers["worker_projected_peak_memory_mb"], report.numbers["worker_peak_memory_mb"]
    assert measured <= 1.03 * projected
    assert projected <= 1.15 * measured
    assert {record.projected_peak_memory_bytes for record in records(pipeline)} == {
        task.projected_peak_bytes for task in pipeline.tasks()
    }
    [row] = [line for line in report.tables["memory per worker"].splitlines() if line.startswith("| 0 ")]
    # Within one: the number and the table are each rounded from the bytes.
    shown_projected, shown_measured = (float(cell) for cell in row.split("|")[6:8])
    assert abs(shown_projected - projected) <= 1
    assert abs(shown_measured - measured) <= 1


def test_ready_worker_holds_no_driver_memory(one_worker: Client) -> None:
    """Dagster would take some 60 MB of each."""
    [modules] = one_worker.run(eval, "sorted(__import__('sys').modules)").values()

    assert "enrich_dist.cluster.preload" in modules  # it was forked from the process that had imported all
    assert "enrich_dist.matching.kernels.overlap" in modules
    assert "dagster" not in modules


@pytest.mark.long
def test_job_exits_with_input_error(tmp_path: Path, generated: tuple[Path, Path]) -> None:
    """With a limit that would do for a small index, so that it is refused when this one is known."""
    awards, recipients = generated
    refused = enrich_dist(
        "run", "--awards", awards, "--recipients", recipients, "--work-dir", tmp_path / "work",
        "--set", "memory_threshold_mb=346",
    )  # fmt: skip

    assert refused.returncode == 2
    assert "for the index" in refused.stderr
    assert "memory_threshold_mb is 346" in refused.stderr


def test_memory_ignores_number_of_recipients(tmp_path: Path, one_worker: Client, generated: tuple[Path, Path]) -> None:
    """Eight times the recipients in chunks of the same size: the worker as an outsider sees it, and as the records say.
    The driver is the process of all tests here, whose memory is that of others too."""
    awards, few = generated
    many = tmp_path / "many.parquet"
    write_recipients(many, rows=320_000, seed=1, sample=REPOSITORY / "data" / "sample" / "recipients.parquet")

    peaks_mb = {}
    for name, recipients in (("first", few), ("few", few), ("many", many)):  # the first loads what all need
        run = settings(tmp_path / name, inputs=(awards, recipients), chunk_size=10_000, match_rate_threshold=0)
        pipeline = planned(run)
        with watching() as outside:
            pipeline.farm_chunks(lambda: one_worker)
        [pid] = {record.pid for record in records(pipeline)}
        peaks_mb[name] = [
            outside.peak_bytes(pid) / 1e6,
            max(record.peak_memory_bytes for record in records(pipeline)) / 1e6,
        ]

    assert pipeline.directory.latest(Step.CHUNK_MATCHES).rows > 7 * 40_000
    for few_mb, many_mb in zip(peaks_mb["few"], peaks_mb["many"], strict=True):
        assert many_mb - few_mb < 25, peaks_mb
