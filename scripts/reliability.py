"""Measure recovery from faults and its cost, and write ``docs/explanation/reliability.md`` from the figures.

    python -m scripts.reliability measure   recovery, resume, overhead, many chunks -> reports/reliability/measured.json
    python -m scripts.reliability suite     runs the fault suite, or reads it from JUnit files of make test and
                                            make test-long -> reports/reliability/suite.json
    python -m scripts.soak                  -> reports/reliability/soak.json
    python -m scripts.fuzz                  -> reports/reliability/fuzzing.json
    make mutants                            -> reports/reliability/mutants.json
    python -m scripts.reliability render    all of them -> docs/explanation/reliability.md

Everything is measured on real processes. Files contain no path and no host name. A figure that misses its target is
reported like any other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from distributed import Client

from enrich_dist.cluster.client import open_client
from enrich_dist.core.files import read_json, write_json
from enrich_dist.events import Event, FarmProgress, listening
from enrich_dist.farm.attempts import AttemptLedger
from enrich_dist.farm.worker import run_chunk
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import Number
from scripts.measuring import ROOT, generate_case, machine_facts
from scripts.reliability_document import FAULTS, document
from scripts.soak import CountedPipeline
from tests.support.known_case import settings as known_settings
from tests.support.processes import CommandLineCluster

REPORTS = ROOT / "reports" / "reliability"
DOCUMENT = ROOT / "docs" / "explanation" / "reliability.md"
SEED = 20_261_126
# A fifth of the default chunk size, so that the same number of chunks takes less time.
OVERHEAD_CHUNKS, OVERHEAD_CHUNK_ROWS, OVERHEAD_ROUNDS = 1_000, 10_000, 3
MANY_CHUNKS = 10_000
COMPANIES = 5_000
_TIMEOUT_SECONDS = 120.0


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    facts = machine_facts()
    return {**facts, "memory_gb": round(facts["memory_mb"] / 1e3)}


def planned(run: Settings) -> Pipeline:
    """Return a pipeline after the steps before the farm."""
    pipeline = Pipeline(run, "reliability")
    prepare(pipeline)
    return pipeline


def prepare(pipeline: Pipeline) -> None:
    """Run the steps before the farm."""
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()


def generated(folder: Path, rows: int, chunk_size: int) -> Settings:
    """Return the settings of a run on generated inputs."""
    generate_case(folder, recipients=rows, companies=min(COMPANIES, rows // 10), seed=SEED)
    return Settings(
        inputs={"awards": folder / "awards.csv", "recipients": folder / "recipients.parquet"},
        paths={"work_dir": folder / "work"},
        chunk_size=chunk_size,
        match_rate_threshold=0.0,
        cluster={"n_workers": 1},
    )


def until(condition: Callable[[], bool]) -> float:
    """Wait for the condition; return the monotonic time. Raises ``TimeoutError``."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true after {_TIMEOUT_SECONDS:.0f} seconds")
        time.sleep(0.005)
    return time.monotonic()


def recovery(folder: Path) -> dict[str, Any]:
    """Kill all workers in the middle of the farm.

    Return the seconds until a worker is back, from then until a chunk starts, and the chunks that are computed twice.
    """
    pipeline = CountedPipeline(known_settings(folder, chunk_size=4), folder / "ledger")
    (folder / "ledger").mkdir(parents=True)
    prepare(pipeline)
    ledger = AttemptLedger(pipeline.directory.attempts)
    times: dict[str, float] = {}
    with (
        CommandLineCluster(folder / "dask", workers=2) as cluster,
        Client(cluster.address, set_as_default=False) as client,
    ):

        def kill_workers() -> None:
            until(lambda: len(list(pipeline.directory.checkpoints.glob("[0-9a-f]*.json"))) >= 4)
            until(lambda: len(ledger.markers()) == 2)
            victims = {marker.pid for marker in ledger.markers()}
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            with Client(cluster.address, set_as_default=False) as observer:
                restarted = until(lambda: bool(observer.scheduler_info(n_workers=-1)["workers"].keys() - before))
            again = until(lambda: any(marker.pid not in victims for marker in ledger.markers()))
            times.update(restart_seconds=restarted - killed, recovery_seconds=max(0.0, again - restarted))

        before = client.scheduler_info(n_workers=-1)["workers"].keys()
        thread = threading.Thread(target=kill_workers)
        thread.start()
        report = pipeline.farm_chunks(lambda: client)
        thread.join()
    computed = len(list((folder / "ledger").iterdir()))
    return {
        **{name: round(seconds, 2) for name, seconds in times.items()},
        "chunks_running": 2,
        "chunks_redone": computed - int(report.numbers[Number.CHUNKS]),
    }


def resume(folder: Path) -> dict[str, Any]:
    """Return the seconds of the command on a finished run of the sample, and of its start-up alone."""
    script = str(Path(sys.executable).with_name("enrich-dist"))
    command = [script, "run", "--config", "config/sample.yaml", "--work-dir", str(folder / "work")]
    first, again = seconds_of(command), seconds_of(command)
    start = seconds_of([sys.executable, "-c", "import dagster_defs.launch, enrich_dist.reporting.summary"])
    return {
        "first_run_seconds": first,
        "finished_run_seconds": again,
        "start_up_seconds": start,
        "beyond_start_up_seconds": round(again - start, 2),
    }


def seconds_of(command: list[str]) -> float:
    """Return the wall time of a command. Raises ``CalledProcessError`` if it fails."""
    started = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return round(time.monotonic() - started, 2)


def overhead(folder: Path, chunks: int, passes: int) -> dict[str, Any]:
    """Compare the same chunks in this process and on a farm with one worker, both warm, in alternation.

    On a shared machine the wall times of passes differ by more than the overhead. The overhead is therefore the time
    outside chunks of the farm minus that of the single process, as a share of the single process's wall time. The wall
    times are returned as well.
    """
    pipeline = planned(generated(folder, rows=chunks * OVERHEAD_CHUNK_ROWS, chunk_size=OVERHEAD_CHUNK_ROWS))
    tasks, matcher = pipeline.tasks(), pipeline.matcher()
    store = CheckpointStore(pipeline.checkpoint_location)
    run_chunk(tasks[0], matcher)

    def chunk_seconds() -> float:
        return sum(store.read_record(task.checkpoint_key).seconds for task in tasks)

    rounds: list[tuple[float, float, float, float]] = []
    with open_client(pipeline.settings, folder / "dask") as client:
        client.submit(run_chunk, tasks[0], matcher, pure=False).result()
        for _ in range(passes):
            remove_checkpoints(pipeline)
            started = time.monotonic()
            for task in tasks:
                run_chunk(task, matcher)
            alone = time.monotonic() - started
            alone_within = chunk_seconds()
            remove_checkpoints(pipeline)
            farmed = float(pipeline.farm_chunks(lambda: client).numbers[Number.FARM_SECONDS])
            rounds.append((alone, alone_within, farmed, chunk_seconds()))
    seconds = [farmed - farmed_in - alone + alone_in for alone, alone_in, farmed, farmed_in in rounds]
    shares = [beyond / alone for beyond, (alone, *_) in zip(seconds, rounds, strict=True)]
    return {
        "chunks": len(tasks),
        "chunk_rows": OVERHEAD_CHUNK_ROWS,
        "rounds": passes,
        "one_process_seconds": round(statistics.median(alone for alone, *_ in rounds), 2),
        "farm_seconds": round(statistics.median(farmed for _, _, farmed, _ in rounds), 2),
        "overhead_share": round(statistics.median(shares), 4),
        "overhead_shares": [round(share, 4) for share in shares],
        "overhead_ms_per_chunk": round(
            1e3
            * statistics.median(share * alone for share, (alone, *_) in zip(shares, rounds, strict=True))
            / len(tasks),
            2,
        ),
        "wall_shares": [round(farmed / alone - 1, 4) for alone, _, farmed, _ in rounds],
    }


def remove_checkpoints(pipeline: Pipeline) -> None:
    """Remove all checkpoints."""
    shutil.rmtree(pipeline.directory.checkpoints, ignore_errors=True)


def many_chunks(folder: Path, chunks: int) -> dict[str, Any]:
    """Match chunks of one row each; return the driver's memory after a tenth of them and at the end."""
    run = generated(folder, rows=chunks, chunk_size=1)
    pipeline = planned(run.model_copy(update={"cluster": Settings(cluster={"n_workers": 2}).cluster}))
    process = psutil.Process()
    memory_mb: list[tuple[int, float]] = []

    def sample(event: Event) -> None:
        if isinstance(event, FarmProgress) and (not memory_mb or event.chunks_done >= memory_mb[-1][0] + 100):
            memory_mb.append((event.chunks_done, process.memory_info().rss / 1e6))

    with open_client(pipeline.settings, folder / "dask") as client, listening(sample):
        report = pipeline.farm_chunks(lambda: client)
    early = next(used for done, used in memory_mb if done >= chunks / 10)
    return {
        "chunks": report.numbers[Number.CHUNKS_COMPUTED],
        "farm_seconds": report.numbers[Number.FARM_SECONDS],
        "driver_memory_mb_after_a_tenth": round(early, 1),
        "driver_memory_mb_at_the_end": round(memory_mb[-1][1], 1),
        "failed_attempts": report.numbers[Number.FAILED_ATTEMPTS],
    }


def measure(options: argparse.Namespace) -> None:
    """Take all measurements, each in its own folder."""
    path = REPORTS / "measured.json"
    kept = read_json(path) if options.only and path.exists() else {}
    figures: dict[str, Any] = {**kept, "machine": machine()}
    with tempfile.TemporaryDirectory() as name:
        for title, function in (
            ("recovery", recovery),
            ("resume", resume),
            ("overhead", lambda folder: overhead(folder, options.overhead_chunks, options.overhead_rounds)),
            ("many_chunks", lambda folder: many_chunks(folder, options.many_chunks)),
        ):
            if options.only and title not in options.only:
                continue
            figures[title] = function(Path(name) / title)
            print(title, figures[title], flush=True)
            shutil.rmtree(Path(name) / title)
    write_json(path, figures)


def suite(options: argparse.Namespace) -> None:
    """Run the fault suite; record how many cases of each test passed, failed or were skipped."""
    with tempfile.TemporaryDirectory() as name:
        reports = [Path(report) for report in options.reports]
        if not reports:
            reports = [Path(name) / "report.xml"]
            command = [sys.executable, "-m", "pytest", "-q", "-m", "faults", f"--junitxml={reports[0]}"]
            subprocess.run(command, cwd=ROOT, check=False)
        outcomes: dict[tuple[str, str], str] = {}
        for case in (case for report in reports for case in ET.parse(report).getroot().iter("testcase")):
            where, test = case.get("classname", ""), case.get("name", "")
            if test.split("[")[0] not in FAULTS and ".faults." not in where:
                continue
            children = {child.tag for child in case}
            outcome = "skipped" if "skipped" in children else "failed" if children & {"failure", "error"} else "passed"
            outcomes[where, test] = outcome
        cases: dict[str, Counter[str]] = {}
        for (_, test), outcome in outcomes.items():
            cases.setdefault(test.split("[")[0], Counter())[outcome] += 1
    write_json(REPORTS / "suite.json", {"machine": machine(), "cases": {name: dict(n) for name, n in cases.items()}})


def render(_options: argparse.Namespace) -> None:
    """Write the document from the recorded figures."""
    names = ("measured", "soak", "fuzzing", "mutants", "suite")
    measured, soak, fuzzing, mutants, cases = (read_json(REPORTS / f"{name}.json") for name in names)
    DOCUMENT.write_text(document(measured, soak, fuzzing, mutants, cases["cases"]), "utf-8")


def main() -> None:
    """Measure, run the suite, or render."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for command in (measure, suite, render):
        adding = commands.add_parser(command.__name__, help=command.__doc__)
        adding.set_defaults(command=command)
        if command is suite:
            adding.add_argument(
                "reports", nargs="*", help="JUnit files to read instead; the last result of a case counts"
            )
        if command is measure:
            adding.add_argument("--overhead-chunks", type=int, default=OVERHEAD_CHUNKS)
            adding.add_argument("--overhead-rounds", type=int, default=OVERHEAD_ROUNDS)
            adding.add_argument(
                "--only", nargs="+", help="only these measurements; keep the recorded figures of the others"
            )
            adding.add_argument("--many-chunks", type=int, default=MANY_CHUNKS)
    options = parser.parse_args()
    options.command(options)


if __name__ == "__main__":
    main()
