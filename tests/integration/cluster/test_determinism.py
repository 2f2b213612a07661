"""The published bytes are the same whatever the chunk size, the number of workers and the order of chunks.

Invariants 1 and 2 of the architecture, on a real cluster.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from distributed import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from enrich_dist.cluster.client import open_client
from enrich_dist.core.files import read_json
from enrich_dist.events import Step
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.worker import run_chunk
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings
from tests.conftest import run_steps
from tests.support.known_case import (
    AWARD_ROWS,
    AWARDS,
    RECIPIENT_ROWS,
    REJECTED_AWARD_ROWS,
    REJECTED_RECIPIENT_ROWS,
    settings,
    write_inputs,
)
from tests.support.published import published_bytes

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, client: Client, inputs: tuple[Path, Path]) -> dict[str, str]:
    run = settings(tmp_path_factory.mktemp("expected"), inputs=inputs, chunk_size=1000)
    run_steps(run, lambda: client)
    return published_bytes(run.paths.work_dir)


@pytest.mark.long
@given(chunk_size=st.integers(1, 60), batch_rows=st.integers(1, 60), data=st.data())
@hypothesis_settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_bytes_ignore_chunk_size_and_order(
    inputs: tuple[Path, Path], expected: dict[str, str], chunk_size: int, batch_rows: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        run = settings(Path(name), inputs=inputs, chunk_size=chunk_size, matching={"batch_rows": batch_rows})
        pipeline = Pipeline(run, "any order")
        pipeline.ingest_awards()
        pipeline.join_companies()
        pipeline.partition_recipients()
        for task in data.draw(st.permutations(pipeline.tasks())):
            run_chunk(task, pipeline.matcher())
        pipeline.farm_chunks(_no_cluster)
        pipeline.enrich_awards()
        pipeline.publish_awards()

        assert published_bytes(run.paths.work_dir) == expected


def _no_cluster() -> Client:
    raise AssertionError("all checkpoints are there")


@pytest.mark.parametrize("n_workers", [pytest.param(1, marks=pytest.mark.long), 3])
def test_bytes_ignore_number_of_workers(
    tmp_path: Path, inputs: tuple[Path, Path], expected: dict[str, str], n_workers: int
) -> None:
    run = settings(tmp_path, inputs=inputs, chunk_size=7)

    with open_client(Settings(cluster={"n_workers": n_workers}), tmp_path / "dask") as cluster:
        report = run_steps(run, lambda: cluster).directory.all_latest()[Step.CHUNK_MATCHES]

    assert published_bytes(run.paths.work_dir) == expected
    assert 1 <= report.numbers["workers"] <= n_workers


def test_recipient_order_changes_no_match(tmp_path: Path, client: Client, expected: dict[str, str]) -> None:
    run = settings(tmp_path, inputs=write_inputs(tmp_path / "inputs", reverse_recipients=True))

    run_steps(run, lambda: client)

    assert published_bytes(run.paths.work_dir)["enriched_awards.parquet"] == expected["enriched_awards.parquet"]


@pytest.mark.parametrize("chunk_size", [9, *(pytest.param(size, marks=pytest.mark.long) for size in (1, 54, 55, 56))])
def test_every_row_is_accounted_for(tmp_path: Path, client: Client, inputs: tuple[Path, Path], chunk_size: int) -> None:
    run = settings(tmp_path, inputs=inputs, chunk_size=chunk_size)

    pipeline = run_steps(run, lambda: client)

    current = run.paths.work_dir / "published" / "current"
    found = read_json(current / "metrics.json")["reconciliation"]
    chunks: list[ChunkTask] = pipeline.tasks()
    assert found["balanced"]
    assert found["recipients"]["read"] == RECIPIENT_ROWS
    assert found["recipients"]["invalid"] == REJECTED_RECIPIENT_ROWS
    assert sum(chunk.chunk_rows for chunk in chunks) == RECIPIENT_ROWS - REJECTED_RECIPIENT_ROWS
    assert len(chunks) == -(-RECIPIENT_ROWS // chunk_size)
    assert found["awards"]["read"] == AWARD_ROWS
    assert found["awards"]["invalid"] == REJECTED_AWARD_ROWS
    assert sum(found["awards"][part] for part in ("matched", "review", "unmatched")) == len(AWARDS)
    assert len(pq.read_table(current / "enriched_awards.parquet")) == len(AWARDS)
    assert f"duplicate of row {len(AWARDS) + 1}" in (current / "rejects.csv").read_text("utf-8")
