"""What a worker does with a chunk, in this process: batches of any size give the same checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from enrich_dist.farm.worker import run_chunk
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.store.checkpoints import CheckpointStore
from tests.support.checkpoint_files import counts_path, data_path
from tests.support.known_case import RECIPIENT_ROWS, REJECTED_RECIPIENT_ROWS, settings


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """All recipients in a chunk, but for the one that is rejected: it has one for itself."""
    run = settings(tmp_path_factory.mktemp("worker"), chunk_size=RECIPIENT_ROWS - REJECTED_RECIPIENT_ROWS)
    pipeline = Pipeline(run, "worker")
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    return pipeline


def checkpoint(directory: Path, key: str) -> tuple[bytes, bytes]:
    store = CheckpointStore(str(directory))
    return data_path(store, key).read_bytes(), counts_path(store, key).read_bytes()


@pytest.mark.parametrize(("batch_rows", "parts"), [(1, 1), (7, 1), (54, 2), (10, 4)])
def test_batches_and_parts_change_no_byte(planned: Pipeline, tmp_path: Path, batch_rows: int, parts: int) -> None:
    task = planned.tasks()[0]
    whole = run_chunk(replace(task, checkpoint_location=str(tmp_path / "whole")), planned.matcher())
    small = replace(task, checkpoint_location=str(tmp_path / "small"), batch_rows=batch_rows, parts=parts)

    record = run_chunk(small, planned.matcher())

    assert checkpoint(tmp_path / "small", task.checkpoint_key) == checkpoint(tmp_path / "whole", task.checkpoint_key)
    assert (whole.batch_rows, record.batch_rows) == (task.chunk_rows, -(-batch_rows // parts))
    assert record.rows_in == whole.rows_in == task.chunk_rows


def test_chunk_of_rejected_rows_succeeds(planned: Pipeline) -> None:
    task = planned.tasks()[1]
    assert task.chunk_rows == 0

    record = run_chunk(task, planned.matcher())

    assert (record.rows_in, record.candidates) == (0, 0)
    assert CheckpointStore(str(planned.directory.checkpoints)).read_record(task.checkpoint_key) == record
