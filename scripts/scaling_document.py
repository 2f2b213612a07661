"""Writes ``docs/explanation/scaling.md`` from what was measured: constants, plans beside runs, and the simulated
cluster.

    python -m scripts.scaling_document

The figures come from ``enrich_dist/planning/data/constants.json``, ``reports/planning/validate.json`` and
``reports/planning/simulation.json`` (``scripts.measure_plan``, ``scripts.simulate_cluster``); what is told of a hundred
million and a billion recipients is the model's own arithmetic (``planning.model``). A test renders it again.
"""

from __future__ import annotations

import re
import statistics
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.files import read_json
from enrich_dist.planning import model
from enrich_dist.planning.constants import constants, document
from enrich_dist.planning.model import Cluster, Speed, Workload, disk, farm, stage_times, total
from scripts.measure_plan import IDLE_YARDSTICK_SECONDS, REPORTS, errors

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "explanation" / "scaling.md"

# Per row as 3,300,000 generated recipients x 40,000 companies took on the idle benchmark machine
# (docs/performance/enrichment-benchmarks.md and its reports).
IDLE: Final = Speed(
    yardstick_seconds=IDLE_YARDSTICK_SECONDS,
    cores=2,
    contention=1.1,
    disk_bytes_per_second=500e6,
    partition_row_seconds=2.2e-6,
    match_row_seconds=8e-6,
    chunk_seconds=0.02,
    measured_seconds={},
)
PER_ROW: Final = Workload(
    source_rows=3_300_000,
    recipients=3_300_000,
    awards=100_083,
    companies=40_000,
    candidates_per_row=0.1,
    chunk_row_bytes=88.0,
    chunk_file_bytes=10_000.0,
    candidate_row_bytes=6.0,
    candidates_file_bytes=8_000.0,
    counts_bytes=45_000.0,
    counts_rows=50_000,
    counts_power=0.5,
    inputs_bytes=50_000_000,
)
GROWTH: Final = (
    (100_000_000, 50_000, (2, 8, 32, 100)),
    (1_000_000_000, 50_000, (8, 32, 100, 1_000)),
    (1_000_000_000, 200_000, (32, 100, 1_000)),
)


def render() -> str:
    """The document."""
    validated, simulated = read_json(REPORTS / "validate.json"), read_json(REPORTS / "simulation.json")
    largest = simulated["cases"][-1]
    k, seen = constants(), errors(validated["runs"])
    return _filled(f"""# Scaling

Written by `scripts/scaling_document.py` from measured figures.

## Before a run

    enrich-dist plan                                    # chunks, candidates, memory, wall time, disk, what to set
    enrich-dist plan --workers 100 --json               # for a wished-for number of workers, for other programs
    enrich-dist plan --compare                          # after the run: prediction and actual, stage by stage

A plan reads the awards and builds the index as a run does (the run that follows finds them), and matches a sample:
of a
Parquet file row groups from all over it, of any other file the beginning. A few chunks of the sample are cut,
matched and
checkpointed as a worker does it, and the machine's speed of the moment is measured by a fixed piece of work, the
yardstick. Every time has an interval. The prediction lies in `steps/prediction.json`; when a planned run ends, the
comparison stands in its reports and in `steps/prediction_compared.json`. A run that was not planned is not
compared, as a
run should not wait for a sample. Earlier runs of the same size on the same kind of machine (`paths.benchmarks`)
refine a
stage: the geometric mean of the model, once, and of the newest five.

## The model

```
{_formula()}
```

Disk: chunks and checkpoints by the bytes per row and per file of the sample, the result twice, as it is published.
A worker's peak: {k["peak_process"].value:.2f} of what the budget holds for the worker itself, and \
{k["peak_rest"].value:.2f} of the rest ([memory](memory.md)): the budget plans to be safe, a prediction to be right.

## Its constants

{document()["measured"]["runs"]} runs of 60,000 to 800,000 recipients, and the
[benchmark's](../performance/enrichment-benchmarks.md) with up to 3,300,000, all when little else was at work; memory
also
from the cases of [its measurement](memory.md);
fitted by `python -m scripts.measure_plan calibrate`, then `fit`, {document()["measured"]["timestamp"][:10]}. A
yardstick
is {1e3 * IDLE_YARDSTICK_SECONDS:.0f} ms on that machine when idle.

{_constants_table()}

## How right it is

Other sizes than those of the fit; each a plan, then a run of the installed command, \
{validated["timestamp"][:10]} ([figures](../reports/planning/validate.json)).
Little else was at work: a load of {seen["load"][0]:.1f} to {seen["load"][1]:.1f} when a run ended. The yardstick \
changed by a factor of {seen["speed_changes"][0]} within a case nevertheless (median; at most \
{seen["speed_changes"][1]}), so the wall is told twice: as predicted, and with the speed that the machine had around
the run instead of when the plan was made. Medians of each case:

{_errors_table(seen["cases"])}

Of {seen["runs"]} runs the wall lay within 25% in {seen["wall_within_25"]} as predicted, and in \
{seen["wall_at_speed_within_25"]} at the speed of the run; the memory of a worker within 15% in
{seen["memory_within_15"]}, by the constants of now. The same plans made and run at a load of 15 to 40 told
the wall of long farms too short, by up to half: a run of several processes suffers more from neighbours than
the yardstick, which is one.

## Where one of something becomes the limit

On cores like those of the idle machine ({1e6 * IDLE.match_row_seconds:.0f} µs to match a recipient alone).

{_limits_table(validated["runs"])}

## A hundred million and a billion recipients

The model's arithmetic for recipients like those of the benchmark ({PER_ROW.candidates_per_row} candidates each)
against \
{PER_ROW.companies:,} companies of {PER_ROW.awards:,} awards, on
cores like that machine's, a worker each, a shared disk of {IDLE.disk_bytes_per_second / 1e6:,.0f} MB per second.
Minutes:

{_growth_table()}

The plan: **{_enough_workers(100_000_000)} workers** for a hundred million, **{_enough_workers(1_000_000_000)}** for a
billion: that many bring the wall within a tenth of the least there is, as chunks are cut by one process.
Memory of a worker is
that of
its chunk size, whatever the number of recipients ([memory](memory.md)). The reduce holds 1,000 MB and spills the
rest:
a billion recipients have {PER_ROW.candidates_per_row * 1e9 / 1e6:,.0f} million candidates, of which it sorts some
100 bytes \
each, {PER_ROW.candidates_per_row * 1e11 / 1e9:,.0f} GB on the driver's disk.
Real candidates may be more: `enrich-dist plan` tells those of the file at hand. Beyond 3,300,000 recipients nothing
here is \
measured but single parts of it, in the simulation below.

## Simulation

The real driver (`Pipeline.farm_chunks` with all that listens), a real Dask scheduler, and real Dask workers, up to
1,000 in
a few processes, whose matcher sleeps as long as a chunk takes; every chunk leaves a real checkpoint
(`scripts/simulate_cluster.py`, {simulated["timestamp"][:10]}, [figures](../reports/planning/simulation.json)).
Driver, \
scheduler and all workers shared two
cores with others; so CPU per chunk is what holds for cores of their own, and the wall is an upper bound.

{_simulation_table(simulated["cases"])}

*Ideal* is the model without any cost of driver and scheduler; *model* adds them, at the CPU seconds of this
simulation, all on
{IDLE.cores} cores. What was seen:

- One driver and one scheduler serve {largest["workers"]:,} workers whose chunks take {largest["chunk_seconds"]:g} \
seconds: they need {largest["driver_cpu_share"]:.0%} and {largest["scheduler_cpu_share"]:.0%} of a core for it.
- Records of finished chunks are fetched together, four times a second. One request for each, as it was before, kept
  the driver busy for 93 of 116 seconds beside 100 workers that answered late, and 1,000 could not be served at all.
- Which chunks have begun is one listing of the ledger's directory every second, not a look for each that waits.
- Memory of the driver grows by some {_growth_kb(simulated["cases"]):,.0f} kB per chunk with its records.

## What this does not show

- Real machines: networks, a shared file system under a thousand clients, queues of a cluster, failures.
- A run of more than 3,300,000 recipients from end to end.
- Workers of several kinds of machine: a plan takes all to be like the one it is made on.
""")


def _limits_table(runs: Sequence[dict[str, Any]]) -> str:
    k = constants()
    driver_seconds = k["driver_chunk"].value * IDLE.yardstick_seconds
    candidates_per_second = 1 / (k["reduce_candidate"].value * IDLE.yardstick_seconds)
    written = statistics.median(run["speed"]["disk_bytes_per_second"] for run in runs)
    cutting = k["partition_beside"].value * IDLE.partition_row_seconds
    matching = k["farm_beside"].value * IDLE.contention * IDLE.match_row_seconds
    rows = (
        (
            "process that cuts chunks",
            f"{1 / cutting:,.0f} rows per second",
            f"beyond some {matching / cutting:.0f} workers cutting takes longer than matching",
        ),
        (
            "driver, and one scheduler",
            f"{1 / driver_seconds:,.0f} chunks per second, at {1e3 * driver_seconds:.1f} ms of CPU a chunk",
            f"chunks of 50,000 rows keep {50_000 * IDLE.match_row_seconds / driver_seconds:,.0f} workers busy; 1,000 "
            f"workers ask for chunks of {1_000 * driver_seconds / IDLE.match_row_seconds:,.0f} rows",
        ),
        (
            "disk",
            f"{written / 1e6:,.0f} MB per second written and synced",
            f"{written / PER_ROW.chunk_row_bytes:,.0f} rows per second of chunk files",
        ),
        (
            "reduce",
            f"{candidates_per_second:,.0f} candidates per second, in 1,000 MB of DuckDB, then on disk",
            f"{candidates_per_second / PER_ROW.candidates_per_row:,.0f} recipients per second",
        ),
    )
    return _table(("one", "does", "so that"), rows).replace("---:", "---")


def _filled(text: str) -> str:
    """The text with its paragraphs and list items filled to 120 columns; code, tables and headings stay."""
    blocks = []
    for block in text.split("\n\n"):
        if block.startswith("- "):
            items = re.split(r"\n(?=- )", block.strip("\n"))
            blocks.append("\n".join(textwrap.fill(" ".join(i.split()), 120, subsequent_indent="  ") for i in items))
        elif block.lstrip("\n")[:1] in ("|", "#", "`") or block.startswith("    ") or "```" in block:
            blocks.append(block)
        else:
            blocks.append(textwrap.fill(" ".join(block.split()), 120, break_on_hyphens=False))
    return "\n\n".join(blocks).rstrip() + "\n"


def _formula() -> str:
    text = model.__doc__ or ""
    return text[text.index("Pure arithmetic.") :].strip()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|---{'|---:' * (len(head) - 1)}|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _constants_table() -> str:
    shown = [(name, item) for name, item in constants().items() if not name.startswith("spread_")]
    rows = [(f"`{name}`: {item.what}", f"{item.value:.3g}", item.unit) for name, item in shown]
    spreads = [
        f"{name.removeprefix('spread_')} {item.value:.0%}" for name, item in constants().items() if "spread_" in name
    ]
    return (
        _table(("constant", "value", "unit"), rows)
        + "\n\nHow far stages lay from the model in four of five runs of the fit: "
        + ",\n".join([", ".join(spreads[:4]), ", ".join(spreads[4:])])
        + "."
    )


def _errors_table(cases: Sequence[dict[str, Any]]) -> str:
    head = ("case", "runs", "wall s", "predicted s", "error", "at the run's speed", "memory", "disk")
    return _table(
        head,
        [
            (
                case["case"],
                str(case["runs"]),
                f"{case['wall_seconds']:.0f}",
                f"{case['predicted_seconds']:.0f}",
                f"{case['wall_error']:+.0%}",
                f"{case['wall_error_at_speed_of_run']:+.0%}",
                f"{case['memory_error']:+.0%}",
                f"{case['disk_error']:+.0%}",
            )
            for case in cases
        ],
    )


def _growth_table() -> str:
    rows = []
    for count, chunk_size, workers in GROWTH:
        work = Workload(**{**vars(PER_ROW), "source_rows": count, "recipients": count})
        for number in workers:
            cluster = Cluster(number, local=False)
            stages = {s.stage: s.seconds / 60 for s in stage_times(work, IDLE, constants(), cluster, chunk_size)}
            whole = total(stage_times(work, IDLE, constants(), cluster, chunk_size)).seconds / 60
            rows.append(
                (
                    f"{count:,}",
                    f"{chunk_size:,}",
                    f"{work.chunks(chunk_size):,}",
                    f"{number:,}",
                    f"{stages['recipient_chunks']:,.0f}",
                    f"{stages['chunk_matches']:,.0f}",
                    farm(work, IDLE, constants(), cluster, chunk_size).limit,
                    f"{stages['enriched_awards']:,.0f}",
                    f"{whole:,.0f}",
                    f"{disk(work, constants(), chunk_size).total_bytes / 1e9:,.0f}",
                )
            )
    head = ("recipients", "chunk_size", "chunks", "workers", "cutting", "matching", "bounded by", "reduce", "in all",
            "disk GB")  # fmt: skip
    return _table(head, rows)


def _enough_workers(count: int) -> int:
    """The fewest whose wall is within a tenth of the least."""
    work = Workload(**{**vars(PER_ROW), "source_rows": count, "recipients": count})

    def wall(workers: int) -> float:
        return total(stage_times(work, IDLE, constants(), Cluster(workers, local=False), 50_000)).seconds

    least = min(wall(2**power) for power in range(11))
    return next(workers for workers in range(1, 1_025) if wall(workers) <= 1.1 * least)


def _simulation_table(cases: Sequence[dict[str, Any]]) -> str:
    rows = []
    for case in cases:
        shared = sum(case[f"{part}_cpu_ms_per_chunk"] for part in ("driver", "scheduler", "workers"))
        modelled = max(case["ideal_seconds"], case["chunks"] * shared / 1e3 / IDLE.cores)
        rows.append(
            (
                f"{case['workers']:,}",
                f"{case['chunks']:,}",
                f"{case['chunk_seconds']:g}",
                f"{case['ideal_seconds']:,.0f}",
                f"{modelled:,.0f}",
                f"{case['wall_seconds']:,.0f}",
                f"{case['chunks_per_second']:,.0f}",
                f"{case['idle_share']:.0%}",
                f"{case['scheduler_cpu_share']:.0%}",
                f"{case['driver_cpu_ms_per_chunk']:.1f}",
                f"{case['scheduler_cpu_ms_per_chunk']:.1f}",
                f"{case['driver_memory_mb']:,.0f}",
                f"{case['load']:.0f}",
            )
        )
    head = ("workers", "chunks", "chunk s", "ideal s", "model s", "wall s", "chunks/s", "idle", "scheduler busy",
            "driver ms/chunk", "scheduler ms/chunk", "driver MB", "load")  # fmt: skip
    return _table(head, rows)


def _growth_kb(cases: Sequence[dict[str, Any]]) -> float:
    grown: list[float] = [1e3 * case["driver_memory_grown_mb"] / case["chunks"] for case in cases]
    return statistics.median(grown)


def main() -> None:
    """Write it."""
    DOCUMENT.write_text(render(), "utf-8")
    print(f"Written to {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
