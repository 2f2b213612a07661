"""Load one scheduler and one driver with many simulated workers, to find out when they become the bottleneck.

    python -m scripts.simulate_cluster                                  all cases -> reports/planning/simulation.json
    python -m scripts.simulate_cluster --workers 50 --chunks 400 --seconds 2    print one case; --keep adds it
    python -m scripts.simulate_cluster --workers 1000 --chunks 4000 --seconds 30 --kill 200    lose workers at once

The driver is the real one (``Pipeline.farm_chunks``: farm, observer, early warning, logs), with a real Dask scheduler
in a process of its own. The workers are real Dask workers, many in one process and without nannies. They run the real
task (``farm.worker.run_chunk``: marker, verified chunk file, checkpoint), but the matcher sleeps and finds nothing.
Place ``--scratch`` in memory to exclude the disk.

``--kill N`` kills the process of N workers in the middle of the farm. ``submission_delay_seconds`` is the longest time
from the end of an attempt to the next submission after that, including the time in which no slot was free.
``driver_pause_seconds`` is the longest time in which the driver did not look for chunks to submit (0.5 s if idle).

Does not simulate networks or the memory of workers. Scheduler, driver and all workers share this machine's cores, so
CPU seconds per chunk are reported for each: on a real cluster each has cores of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import logging
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from threading import Timer
from typing import Any

import psutil
import pyarrow as pa
from distributed import Client, Scheduler, Worker

import enrich_dist.farm.worker
from enrich_dist import schema
from enrich_dist.core.files import read_json, write_json
from enrich_dist.core.matcher import Matcher, MatchMemory
from enrich_dist.core.resource_usage import Meter
from enrich_dist.events import AttemptTimes, WorkersSeen, listening
from enrich_dist.farm.logs import read_chunk_log
from enrich_dist.farm.worker import run_chunk
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.runs.environment import this_machine
from enrich_dist.runs.session import CalibrationWorkload
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import Number, StepReport
from scripts.measuring import ROOT, generate_case
from tests.support.delegating import DelegatingMatcher

REPORT = ROOT / "reports" / "planning" / "simulation.json"
COMPANIES = 500
SEED = 1
_WORKERS_PER_PROCESS = 250
_MIN_ROWS = 2_000  # awards are drawn from them
_TIMEOUT_SECONDS = 300.0
# (workers, chunks, seconds of a chunk)
CASES = (
    (10, 1_000, 0.0),
    (100, 1_000, 5.0),
    (1_000, 3_000, 30.0),
    (1_000, 3_000, 60.0),
    (1_000, 20_000, 30.0),
)


@dataclass(frozen=True)
class Sleeping(DelegatingMatcher):
    """Sleeps instead of matching; finds nothing. ``spread``: largest deviation from ``seconds``, as a share."""

    seconds: float
    spread: float = 0.0

    def memory(self, index_bytes: int) -> MatchMemory:  # noqa: ARG002
        """Return none: simulated workers share a process."""
        return MatchMemory()

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:  # noqa: ARG002
        """Sleep."""
        draw = random.Random(recipients["source_row"][0].as_py())
        time.sleep(self.seconds * draw.uniform(1 - self.spread, 1 + self.spread))
        return schema.CANDIDATE.empty_table(), schema.COUNT.empty_table()


class SimulatedPipeline(Pipeline):
    """A pipeline whose matcher sleeps."""

    def __init__(self, settings: Settings, seconds: float, spread: float) -> None:
        super().__init__(settings, "simulation")
        self._seconds = seconds
        self._spread = spread

    def matcher(self) -> Matcher:
        """Return one that sleeps."""
        return Sleeping(super().matcher(), self._seconds, self._spread)


def serve_scheduler(address: Any) -> None:
    """Run a scheduler; put its address into the queue."""

    async def serve() -> None:
        async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
            address.put(scheduler.address)
            await scheduler.finished()

    _quiet()
    asyncio.run(serve())


def serve_workers(scheduler: str, first: int, count: int, scratch: str) -> None:
    """Run many workers of one thread each."""

    async def serve() -> None:
        workers = [
            Worker(
                scheduler,
                name=str(number),
                nthreads=1,
                memory_limit=0,
                dashboard=False,
                local_directory=scratch,
                host="127.0.0.1",
            )
            for number in range(first, first + count)
        ]
        # Not all at once: each registers with the scheduler.
        for start in range(0, count, 25):
            await asyncio.gather(*(worker.start() for worker in workers[start : start + 25]))
        await asyncio.gather(*(worker.finished() for worker in workers))

    _quiet()
    # Resetting the kernel's peak memory walks all pages of the process, which here belong to many workers.
    setattr(enrich_dist.farm.worker, "Meter", Clock)  # noqa: B010
    asyncio.run(serve())


class Clock(Meter):
    """A meter of time only."""

    def __init__(self) -> None:
        self.memory_method = "none"
        self._started = time.perf_counter()
        self._ended: float | None = None

    def __enter__(self) -> Clock:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Return the wall seconds."""
        return (self._ended or time.perf_counter()) - self._started

    @property
    def peak_memory_bytes(self) -> int:
        """Return 0: memory is not measured."""
        return 0

    def lap(self) -> int:
        """Return 0: memory is not measured."""
        return 0


def _quiet() -> None:
    import dask

    logging.getLogger("distributed").setLevel(logging.WARNING)
    dask.config.set({"distributed.worker.memory.spill": False, "distributed.worker.profile.enabled": False})
    # As on our own clusters: the farm, not Dask, retries the chunks of a lost worker.
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    # Each worker samples its process twice a second; a thousand in one process would do nothing else.
    dask.config.set({"distributed.admin.system-monitor.interval": "60s", "distributed.admin.tick.interval": "5s"})
    dask.config.set({"distributed.comm.timeouts.connect": "120s", "distributed.comm.timeouts.tcp": "300s"})


@contextmanager
def simulated(
    workers: int, scratch: Path, *, kill: int = 0
) -> Iterator[tuple[Client, psutil.Process, list[psutil.Process]]]:
    """Yield a client of a scheduler with ``workers`` workers, and the processes of both; the last one has ``kill``."""
    context = multiprocessing.get_context("spawn")
    addresses = context.Queue()
    scheduler = context.Process(target=serve_scheduler, args=(addresses,), daemon=True)
    scheduler.start()
    address = addresses.get(timeout=_TIMEOUT_SECONDS)
    hosts = []
    for first in _first_workers(workers, kill):
        count = min(_WORKERS_PER_PROCESS, (workers - kill if first < workers - kill else workers) - first)
        host = context.Process(
            target=serve_workers, args=(address, first, count, str(scratch / f"host-{first}")), daemon=True
        )
        host.start()
        hosts.append(host)
    try:
        with Client(address, set_as_default=False, timeout=_TIMEOUT_SECONDS) as client:
            client.wait_for_workers(workers, timeout=_TIMEOUT_SECONDS)
            assert scheduler.pid is not None
            yield (
                client,
                psutil.Process(scheduler.pid),
                [psutil.Process(host.pid) for host in hosts if host.pid is not None],
            )
    finally:
        for process in (*hosts, scheduler):
            process.kill()
            process.join()


def _first_workers(workers: int, kill: int) -> list[int]:
    """Return the number of the first worker of each process."""
    return [*range(0, workers - kill, _WORKERS_PER_PROCESS), *range(workers - kill, workers, _WORKERS_PER_PROCESS)]


def simulate(
    workers: int, chunks: int, seconds: float, folder: Path, *, kill: int = 0, profile: Path | None = None
) -> dict[str, Any]:
    """Run one farm; return ideal and measured wall time, and the CPU time of each part.

    ``profile``: file for a profile of the driver's main thread.
    """
    # Chunks of equal length end in waves: no slot would be free for most of the time.
    pipeline = SimulatedPipeline(_settings(folder, chunks), seconds, spread=0.5 if kill else 0.0)
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    driver = psutil.Process()
    with simulated(workers, folder / "dask", kill=kill) as (client, scheduler, hosts):
        _warm(client, pipeline, workers, kill)
        before = _cpu(driver), _cpu(scheduler), sum(map(_cpu, hosts))
        memory_before = driver.memory_info().rss
        if kill:
            killed, hosts = hosts[-1], hosts[:-1]
            before = *before[:2], sum(map(_cpu, hosts))
            Timer(seconds, killed.kill).start()
        passes: list[float] = []
        with listening(lambda event: passes.append(time.monotonic()) if isinstance(event, WorkersSeen) else None):
            report = _profiled(lambda: pipeline.farm_chunks(lambda: client), profile)
        cpu = _cpu(driver) - before[0], _cpu(scheduler) - before[1], sum(map(_cpu, hosts)) - before[2]
        memory = driver.memory_info().rss, scheduler.memory_info().rss
    wall, chunks = float(report.numbers[Number.FARM_SECONDS]), int(report.numbers[Number.CHUNKS_COMPUTED])
    attempts = read_chunk_log(pipeline.directory.chunk_log)
    calibration = CalibrationWorkload()
    ideal = -(-chunks // workers) * seconds
    return {
        "workers": workers,
        "chunks": chunks,
        "chunk_seconds": seconds,
        "ideal_seconds": ideal,
        "wall_seconds": round(wall, 2),
        "chunks_per_second": round(chunks / wall, 1),
        "asked_chunks_per_second": round(workers / seconds, 1) if seconds else None,
        "idle_share": round(max(0.0, 1 - chunks * seconds / (workers * wall)), 4),
        "busy_share": round(busy_seconds(attempts) / (workers * wall), 4),
        "driver_cpu_share": round(cpu[0] / wall, 3),
        "scheduler_cpu_share": round(cpu[1] / wall, 3),
        "workers_cpu_share": round(cpu[2] / wall, 3),
        "driver_cpu_ms_per_chunk": round(1e3 * cpu[0] / chunks, 3),
        "scheduler_cpu_ms_per_chunk": round(1e3 * cpu[1] / chunks, 3),
        "workers_cpu_ms_per_chunk": round(1e3 * cpu[2] / chunks, 3),
        "driver_memory_mb": round(memory[0] / 1e6, 1),
        "driver_memory_grown_mb": round((memory[0] - memory_before) / 1e6, 1),
        "scheduler_memory_mb": round(memory[1] / 1e6, 1),
        "failed_attempts": report.numbers[Number.FAILED_ATTEMPTS],
        "driver_pause_seconds": round(max(later - earlier for earlier, later in pairwise(passes)), 3),
        **({"killed_workers": kill, **submission_delays(attempts)} if kill else {}),
        "load": round(os.getloadavg()[0], 2),
        "calibration_cpu_seconds": round(statistics.median(calibration.seconds() for _ in range(7)), 4),
    }


def submission_delays(attempts: Sequence[AttemptTimes]) -> dict[str, float]:
    """Return the longest time from the end of an attempt to the next submission, before and after the first failure.

    Attempts that end after each chunk was submitted do not count: at times no chunk is left to submit.
    """
    submitted = sorted(attempt.submitted_seconds for attempt in attempts)
    all_submitted = max(attempt.submitted_seconds for attempt in attempts if attempt.attempt == 1)
    failed = [attempt for attempt in attempts if attempt.outcome != "finished"]
    killed = min((attempt.finished_seconds for attempt in failed), default=float("inf"))
    delays: dict[bool, float] = {False: 0.0, True: 0.0}
    for attempt in attempts:
        if attempt.finished_seconds < all_submitted:
            following = bisect_right(submitted, attempt.finished_seconds)
            after = attempt.finished_seconds >= killed
            delays[after] = max(delays[after], submitted[following] - attempt.finished_seconds)
    return {
        "submission_delay_seconds_before": round(delays[False], 3),
        "submission_delay_seconds": round(delays[True], 3),
    }


def _profiled(work: Callable[[], StepReport], path: Path | None) -> StepReport:
    if path is None:
        return work()
    profile = cProfile.Profile()
    try:
        return profile.runcall(work)
    finally:
        profile.dump_stats(path)


def busy_seconds(attempts: Sequence[AttemptTimes]) -> float:
    """Return the seconds that workers spent on chunks."""
    return sum(a.finished_seconds - a.started_seconds for a in attempts if a.started_seconds is not None)


def _warm(client: Client, pipeline: SimulatedPipeline, workers: int, kill: int) -> None:
    """Run a chunk in each process, so that it opens the index and imports what it needs before the farm."""
    address = {info["name"]: address for address, info in client.scheduler_info(n_workers=-1)["workers"].items()}
    quick = Sleeping(Pipeline.matcher(pipeline), 0.0)
    firsts = _first_workers(workers, kill)
    done = [
        client.submit(run_chunk, task, quick, workers=[address[str(first)]], pure=False)
        for task, first in zip(pipeline.tasks(), firsts, strict=False)
    ]
    client.gather(done)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _settings(folder: Path, chunks: int) -> Settings:
    # A few rows per chunk: the content of a chunk is not simulated.
    chunk_rows = -(-_MIN_ROWS // chunks)
    generate_case(folder, recipients=chunks * chunk_rows, companies=COMPANIES, seed=SEED)
    return Settings(
        inputs={"awards": folder / "awards.csv", "recipients": folder / "recipients.parquet"},
        paths={"work_dir": folder / "work"},
        chunk_size=chunk_rows,
        match_rate_threshold=0.0,
        # Simulated workers are slow to send heartbeats and must not be restarted.
        farm={"heartbeat_timeout_seconds": 600, "straggler_factor": 0},
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int)
    parser.add_argument("--chunks", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a chunk")
    parser.add_argument("--scratch", type=Path, help="existing directory, preferably in memory")
    parser.add_argument("--profile", type=Path, help="write a profile of the driver here (with --workers)")
    parser.add_argument("--kill", type=int, default=0, help="workers to kill at once (with --workers)")
    parser.add_argument("--keep", action="store_true", help="add the case to the report (with --workers)")
    options = parser.parse_args(arguments)
    cases = CASES if options.workers is None else ((options.workers, options.chunks, options.seconds),)
    results = list(read_json(REPORT)["cases"]) if options.keep else []
    for workers, chunks, seconds in cases:
        with tempfile.TemporaryDirectory(prefix="simulate-", dir=options.scratch) as folder:
            case = simulate(workers, chunks, seconds, Path(folder), kill=options.kill, profile=options.profile)
        results.append(case)
        print(json.dumps(case), flush=True)
        if options.workers is None or options.keep:
            _keep(sorted(results, key=lambda case: (case["workers"], case["chunks"])))


def _keep(cases: list[dict[str, Any]]) -> None:
    write_json(
        REPORT,
        {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {"processor": this_machine().cpu_model, "cores": this_machine().cores},
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
