"""Measure peak memory of a worker per chunk and compare it with the projection (``enrich_dist/farm/budget.py``).

    python scripts/measure_memory.py            the grid of docs/explanation/memory.md (some 10 minutes)
    python scripts/measure_memory.py --quick    a few small cases

Every case is a farm with one new worker process, warmed up as in a run, on generated data. Writes a record and prints
the table of the document. The constants of ``enrich_dist/matching/memory.py`` are fitted to these records.

A worker process imports the script that started it. So that the worker is not larger than that of a run, this file
imports its dependencies inside functions.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SEED = 1
# Companies, chunks, rows of a chunk, rows of a batch.
GRID = [
    *[(companies, 4, 50_000, 65_536) for companies in (4_000, 10_000, 20_000, 40_000)],
    *[(companies, 4, 10_000, 65_536) for companies in (4_000, 40_000)],
    *[(companies, 4, 200_000, batch) for companies in (4_000, 20_000, 40_000) for batch in (16_384, 65_536, 200_000)],
    *[(40_000, 4, 50_000, batch) for batch in (1_000, 4_000, 16_384)],
    (40_000, 40, 50_000, 65_536),  # growth over many chunks
]
QUICK_GRID = [(1_000, 4, 10_000, 10_000), (4_000, 4, 10_000, 2_000), (4_000, 2, 20_000, 20_000)]


def main() -> None:
    """Measure every case, write the record and print the table."""
    from enrich_dist.core.tables import markdown_table
    from scripts.measuring import benchmark_parser, machine_facts, show_progress, write_record

    options = benchmark_parser(__doc__).parse_args()
    grid = QUICK_GRID if options.quick else GRID
    facts = machine_facts()
    scratch = Path(tempfile.mkdtemp(prefix="enrich-memory-", dir=options.scratch))
    cases = []
    try:
        _generate(scratch, grid)
        for companies, chunks, chunk_size, batch_rows in grid:
            show_progress(f"{companies:,} companies, {chunks} chunks of {chunk_size:,}, batches of {batch_rows:,}")
            cases.append(_measure(scratch, companies, chunks, chunk_size, batch_rows))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    write_record(options.output, "memory", {**facts, "seed": SEED, "cases": cases}, quick=options.quick)
    sizes = ("companies", "chunks", "chunk_rows", "batch_rows")
    figures = {"index_file_mb": 1, "measured_mb": 0, "projected_mb": 0, "projected_over_measured": 2}
    head = ("companies", "chunks", "chunk rows", "batch rows", "index files MB", "measured MB", "projected MB", "ratio")
    rows = [
        [*(case[size] for size in sizes), *(f"{case[name]:.{digits}f}" for name, digits in figures.items())]
        for case in cases
    ]
    print(markdown_table(head, rows))


def _generate(scratch: Path, grid: list[tuple[int, int, int, int]]) -> None:
    """Write recipients of each size, and awards of each number of companies."""
    from scripts.generator.generate import write_awards, write_recipients
    from scripts.measuring import SAMPLE

    sizes = sorted({chunks * chunk_size for _, chunks, chunk_size, _ in grid})
    for rows in sizes:
        write_recipients(scratch / f"recipients-{rows}.parquet", rows=rows, seed=SEED, sample=SAMPLE)
    largest = scratch / f"recipients-{sizes[-1]}.parquet"
    for companies in sorted({companies for companies, *_ in grid}):
        write_awards(scratch / f"awards-{companies}.csv", companies=companies, recipients=largest, seed=SEED)


def _measure(scratch: Path, companies: int, chunks: int, chunk_size: int, batch_rows: int) -> dict[str, Any]:
    """One farm on one new worker."""
    from enrich_dist.cluster.client import open_client
    from enrich_dist.matching.warm import warm_up
    from enrich_dist.pipeline.steps import Pipeline
    from enrich_dist.settings import load_settings
    from enrich_dist.store.checkpoints import CheckpointStore
    from enrich_dist.store.run_directory import Number
    from scripts.measuring import MB, ROOT

    settings = load_settings(
        ROOT / "config" / "base.yaml",
        [
            f"inputs.awards={scratch / f'awards-{companies}.csv'}",
            f"inputs.recipients={scratch / f'recipients-{chunks * chunk_size}.parquet'}",
            f"paths.work_dir={scratch / 'work'}",
            f"chunk_size={chunk_size}",
            f"matching.batch_rows={batch_rows}",
            "memory_threshold_mb=8000",
            "cluster.n_workers=1",
        ],
        {},
    ).settings
    pipeline = Pipeline(settings, "memory")
    pipeline.ingest_awards()
    index = pipeline.join_companies()
    pipeline.partition_recipients()
    shutil.rmtree(pipeline.directory.checkpoints, ignore_errors=True)
    with open_client(settings, scratch / "dask") as client:
        client.run(asyncio.to_thread, warm_up)
        warm_bytes = max(client.run(_resident_bytes).values())
        pipeline.farm_chunks(lambda: client)
    tasks = pipeline.tasks()
    store = CheckpointStore(pipeline.directory.checkpoints)
    records = [store.read_record(task.checkpoint_key) for task in tasks]
    measured = max(record.peak_memory_bytes for record in records)
    projected = max(record.projected_peak_memory_bytes for record in records)
    return {
        "companies": companies,
        "chunks": chunks,
        "chunk_rows": chunk_size,
        "batch_rows": min(batch_rows, chunk_size),
        "index_file_mb": round(float(index.numbers[Number.INDEX_BYTES]) / MB, 2),
        "chunk_file_mb": round(max(task.chunk_bytes for task in tasks) / MB, 2),
        "candidates": max(record.candidates for record in records),
        "warm_worker_mb": round(warm_bytes / MB, 1),
        "peaks_mb": [round(record.peak_memory_bytes / MB, 1) for record in records],
        "seconds": [round(record.seconds, 3) for record in records],
        "measured_mb": round(measured / MB, 1),
        "projected_mb": round(projected / MB, 1),
        "projected_over_measured": round(projected / measured, 3),
    }


def _resident_bytes() -> int:
    from enrich_dist.core.resource_usage import resident_bytes

    return resident_bytes()


if __name__ == "__main__":
    main()
