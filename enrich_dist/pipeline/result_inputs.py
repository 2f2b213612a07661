"""Collect the inputs of a result from the files of a run: step outputs, valid checkpoints and review decisions."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from enrich_dist import schema
from enrich_dist.core.files import document_digest, text_digest
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.matching.index import open_index
from enrich_dist.results.build import ResultInputs
from enrich_dist.results.overrides import read_decisions
from enrich_dist.sources import chunks
from enrich_dist.sources.rejects import with_file_rows
from enrich_dist.store.artifacts import Artifact, open_unverified, open_verified
from enrich_dist.store.checkpoints import Checkpoint, CheckpointRecord, CheckpointStore
from enrich_dist.store.run_directory import Output, RunDirectory


def read_result_inputs(directory: RunDirectory, tasks: Sequence[ChunkTask], checkpoint_location: str) -> ResultInputs:
    """Return the inputs, without chunks that have no valid checkpoint. ``tasks``: all chunks, in source order."""
    finished, _ = CheckpointStore(checkpoint_location).find_tables(
        (task.checkpoint_key for task in tasks), directory.checkpoint_copies
    )
    present = [(task, finished[task.checkpoint_key]) for task in tasks if task.checkpoint_key in finished]
    records = [checkpoint.record for _, checkpoint in present]
    plan = open_unverified(directory.output(Output.CHUNKS))
    index = open_verified(directory.output(Output.INDEX))
    return ResultInputs(
        awards=open_verified(directory.output(Output.AWARDS)),
        company=open_verified(directory.output(Output.COMPANIES)),
        plan=plan,
        checkpoints=[checkpoint.candidates for _, checkpoint in present],
        counts=[checkpoint.counts for _, checkpoint in present],
        checkpoint_digests=[_content_digest(finished.get(task.checkpoint_key)) for task in tasks],
        vocabulary=open_index(index.path).vocabulary,
        overrides=read_decisions(directory.overrides),
        quarantined=_quarantined_rows(plan, records),
        chunk_rows=[
            (task.chunk_rows, record.rows_with_candidates, record.rows_without_candidates, record.rows_quarantined)
            for task, record in zip((task for task, _ in present), records, strict=True)
        ],
        candidates_written=sum(record.candidates for record in records),
    )


def _content_digest(checkpoint: Checkpoint | None) -> str:
    if checkpoint is None:
        return "missing"
    record = checkpoint.record
    return text_digest(record.blake3, document_digest(record.quarantined)) if record.quarantined else record.blake3


def _quarantined_rows(plan: Artifact, records: Sequence[CheckpointRecord]) -> pa.Table:
    """Return the quarantined recipients as ``schema.REJECT``."""
    rows = [
        {"source_file": "", "outcome": "quarantined", "column": None, "value": None, **row}
        for record in records
        for row in record.quarantined
    ]
    table = pa.Table.from_pylist(rows, schema=schema.REJECT).sort_by("source_row")
    return with_file_rows(table, chunks.row_ranges_of(plan))
