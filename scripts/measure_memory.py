"""Measure what a worker takes to match chunks, beside what is projected (``enrich_dist/farm/budget.py``).

    python scripts/measure_memory.py            the grid of docs/explanation/memory.md (some 10 minutes)
    python scripts/measure_memory.py --quick    its corners, on fewer rows

Every case is a farm of its own with one new worker process, warmed up as a run does, on generated data of known size.
Keeps the figures in ``reports/benchmarks/`` and prints them as the table of the document; the figures of
``enrich_dist/matching/memory.py`` are fitted to them. Files hold no path and no host name.

Only the standard library is imported when this file is: a worker process imports the script that started it, and must
not be larger for that than the worker of a run.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from enrich_dist.store.run_directory import Number

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "data" / "sample" / "recipients.parquet"
LIBRARIES = ("dask", "distributed", "numba", "numpy", "pyarrow", "rapidfuzz")
SEED = 1
# Companies, chunks, rows of a chunk, rows of a batch.
GRID = [
    *[(companies, 4, 50_000, 65_536) for companies in (4_000, 10_000, 20_000, 40_000)],
    *[(companies, 4, 10_000, 65_536) for companies in (4_000, 40_000)],
    *[(companies, 4, 200_000, batch) for companies in (4_000, 20_000, 40_000) for batch in (16_384, 65_536, 200_000)],
    *[(40_000, 4, 50_000, batch) for batch in (1_000, 4_000, 16_384)],
    (40_000, 40, 50_000, 65_536),  # whether it grows in the long run
]
QUICK_GRID = [(1_000, 4, 10_000, 10_000), (4_000, 4, 10_000, 2_000), (4_000, 2, 20_000, 20_000)]
Case = tuple[int, int, int, int]
MB = 1_000_000


def main() -> None:
    """Measure every case, write the figures and print the table."""
    options = _options()
    grid = QUICK_GRID if options.quick else GRID
    started = datetime.now(UTC)
    scratch = Path(tempfile.mkdtemp(prefix="enrich-memory-", dir=options.scratch))
    try:
        _generate(scratch, grid)
        cases = [_measure(scratch, *case) for case in grid]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report = {
        "scenario": "memory",
        "quick": options.quick,
        "timestamp": started.isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "seed": SEED,
        "cases": cases,
    }
    final = options.output / f"{started:%Y%m%dT%H%M%SZ}-memory.json"
    final.parent.mkdir(parents=True, exist_ok=True)
    final.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", "utf-8")
    print(_table(cases))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few small cases: a trial")
    parser.add_argument("--output", type=Path, default=ROOT / "reports" / "benchmarks", help="directory of the file")
    parser.add_argument("--scratch", type=Path, help="existing directory for inputs and runs; all is removed after")
    return parser.parse_args()


def _generate(scratch: Path, grid: list[Case]) -> None:
    """Recipients of each number that is asked for, and awards of each number of companies."""
    from scripts.generator.generate import write_awards, write_recipients

    sizes = sorted({chunks * chunk_size for _, chunks, chunk_size, _ in grid})
    for rows in sizes:
        _say(f"generating {rows:,} recipients")
        write_recipients(scratch / f"recipients-{rows}.parquet", rows=rows, seed=SEED, sample=SAMPLE)
    largest = scratch / f"recipients-{sizes[-1]}.parquet"
    for companies in sorted({companies for companies, *_ in grid}):
        write_awards(scratch / f"awards-{companies}.csv", companies=companies, recipients=largest, seed=SEED)


def _measure(scratch: Path, companies: int, chunks: int, chunk_size: int, batch_rows: int) -> dict[str, Any]:
    """One farm on one new worker."""
    from enrich_dist.cluster.client import open_client
    from enrich_dist.farm.worker import run_aside
    from enrich_dist.matching.warm import warm_up
    from enrich_dist.pipeline.steps import Pipeline
    from enrich_dist.settings import load_settings
    from enrich_dist.store.checkpoints import CheckpointStore

    _say(f"{companies:,} companies, {chunks} chunks of {chunk_size:,}, batches of {batch_rows:,}")
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
        client.run(run_aside, warm_up)
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


def _table(cases: list[dict[str, Any]]) -> str:
    from enrich_dist.core.tables import markdown_table

    return markdown_table(
        ("companies", "chunks", "chunk rows", "batch rows", "index files MB", "measured MB", "projected MB", "ratio"),
        [
            (
                case["companies"],
                case["chunks"],
                case["chunk_rows"],
                case["batch_rows"],
                f"{case['index_file_mb']:.1f}",
                f"{case['measured_mb']:.0f}",
                f"{case['projected_mb']:.0f}",
                f"{case['projected_over_measured']:.2f}",
            )
            for case in cases
        ],
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
