"""One scheduler and one driver under the load of many workers: where do they become the limit?

    python -m scripts.simulate_cluster            all cases -> reports/planning/simulation.json
    python -m scripts.simulate_cluster --workers 50 --chunks 400 --seconds 2    one case, told; --keep adds it

The driver is the real one (``Pipeline.farm_chunks``: farm, observer, early warning, logs), in a process of its own with
a real Dask scheduler beside it in another. The workers are real Dask workers, many in one process and without nannies;
their tasks are the real ones (``farm.worker.run_chunk``: marker, chunk file verified and read, checkpoint written, read
back, recorded), but the matcher sleeps for as long as the model says that a chunk takes, and finds nothing. Runs lie
where ``--scratch`` says, so that the disk does not count where that is in memory.

Does not simulate networks, failures, nor the memory of workers. Scheduler, driver and all workers share this machine's
cores: CPU seconds per chunk are told apart for each, as on a real cluster each has a core of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import logging
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from distributed import Client, Scheduler, Worker

import enrich_dist.farm.worker
from enrich_dist import schema
from enrich_dist.core.files import read_json, write_json
from enrich_dist.core.matcher import Matcher, MatchMemory
from enrich_dist.core.resource_usage import Meter
from enrich_dist.farm.chunk_log import read_chunk_log
from enrich_dist.farm.fault_injection import DelegatingMatcher
from enrich_dist.farm.worker import run_chunk
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.runs.calibration import CalibrationWorkload
from enrich_dist.runs.machine import this_machine
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import Number, StepReport
from scripts.generator.generate import write_awards, write_recipients

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "reports" / "planning" / "simulation.json"
SAMPLE = ROOT / "data" / "sample" / "recipients.parquet"
COMPANIES = 500
SEED = 1
_WORKERS_PER_PROCESS = 250
_MIN_ROWS = 2_000  # awards are drawn from them
_PATIENCE_SECONDS = 300.0
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
    """Sleeps instead of matching; finds nothing."""

    seconds: float

    def memory(self, index_bytes: int) -> MatchMemory:  # noqa: ARG002
        """None: workers of a simulation share a process."""
        return MatchMemory()

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:  # noqa: ARG002
        """Sleep."""
        time.sleep(self.seconds)
        return schema.CANDIDATE.empty_table(), schema.COUNT.empty_table()


class SimulatedPipeline(Pipeline):
    """A pipeline whose matcher sleeps."""

    def __init__(self, settings: Settings, seconds: float) -> None:
        super().__init__(settings, "simulation")
        self._seconds = seconds

    def matcher(self) -> Matcher:
        """One that sleeps."""
        return Sleeping(super().matcher(), self._seconds)


def serve_scheduler(address: Any) -> None:
    """A process that is a scheduler; it tells its address."""

    async def serve() -> None:
        async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
            address.put(scheduler.address)
            await scheduler.finished()

    _quiet()
    asyncio.run(serve())


def serve_workers(scheduler: str, first: int, count: int, scratch: str) -> None:
    """A process that is many workers of one thread each."""

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
    # To reset the kernel's high-water mark walks all pages of the process, which here is that of many workers.
    setattr(enrich_dist.farm.worker, "Meter", Clock)  # noqa: B010
    asyncio.run(serve())


class Clock(Meter):
    """A meter that measures time and no memory."""

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
        """Wall seconds so far or in all."""
        return (self._ended or time.perf_counter()) - self._started

    @property
    def peak_memory_bytes(self) -> int:
        """Not measured."""
        return 0

    def lap(self) -> int:
        """Not measured."""
        return 0


def _quiet() -> None:
    import dask

    logging.getLogger("distributed").setLevel(logging.WARNING)
    dask.config.set({"distributed.worker.memory.spill": False, "distributed.worker.profile.enabled": False})
    # A worker of its own watches its process twice a second; a thousand in one would do nothing else.
    dask.config.set({"distributed.admin.system-monitor.interval": "60s", "distributed.admin.tick.interval": "5s"})
    dask.config.set({"distributed.comm.timeouts.connect": "120s", "distributed.comm.timeouts.tcp": "300s"})


@contextmanager
def simulated(workers: int, scratch: Path) -> Iterator[tuple[Client, psutil.Process, list[psutil.Process]]]:
    """A client of a scheduler with so many workers; the processes of either."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    scheduler = context.Process(target=serve_scheduler, args=(told,), daemon=True)
    scheduler.start()
    address = told.get(timeout=_PATIENCE_SECONDS)
    hosts = []
    for first in range(0, workers, _WORKERS_PER_PROCESS):
        count = min(_WORKERS_PER_PROCESS, workers - first)
        host = context.Process(
            target=serve_workers, args=(address, first, count, str(scratch / f"host-{first}")), daemon=True
        )
        host.start()
        hosts.append(host)
    try:
        with Client(address, set_as_default=False, timeout=_PATIENCE_SECONDS) as client:
            client.wait_for_workers(workers, timeout=_PATIENCE_SECONDS)
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


def simulate(workers: int, chunks: int, seconds: float, folder: Path, *, profile: Path | None = None) -> dict[str, Any]:
    """One farm: ideal and measured wall, and what each part took; ``profile``: where that of the driver's main thread
    is kept."""
    pipeline = SimulatedPipeline(_settings(folder, chunks), seconds)
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    driver = psutil.Process()
    with simulated(workers, folder / "dask") as (client, scheduler, hosts):
        _warm(client, pipeline, workers)
        before = _cpu(driver), _cpu(scheduler), sum(map(_cpu, hosts))
        memory_before = driver.memory_info().rss
        report = _profiled(lambda: pipeline.farm_chunks(lambda: client), profile)
        cpu = _cpu(driver) - before[0], _cpu(scheduler) - before[1], sum(map(_cpu, hosts)) - before[2]
        memory = driver.memory_info().rss, scheduler.memory_info().rss
    wall, chunks = float(report.numbers[Number.FARM_SECONDS]), int(report.numbers[Number.CHUNKS_COMPUTED])
    yardstick = CalibrationWorkload()
    ideal = -(-chunks // workers) * seconds
    busy = busy_seconds(pipeline)
    return {
        "workers": workers,
        "chunks": chunks,
        "chunk_seconds": seconds,
        "ideal_seconds": ideal,
        "wall_seconds": round(wall, 2),
        "chunks_per_second": round(chunks / wall, 1),
        "asked_chunks_per_second": round(workers / seconds, 1) if seconds else None,
        "idle_share": round(max(0.0, 1 - chunks * seconds / (workers * wall)), 4),
        "busy_share": round(busy / (workers * wall), 4),
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
        "load": round(os.getloadavg()[0], 2),
        "yardstick_cpu_seconds": round(statistics.median(yardstick.seconds() for _ in range(7)), 4),
    }


def _profiled(work: Callable[[], StepReport], path: Path | None) -> StepReport:
    if path is None:
        return work()
    profile = cProfile.Profile()
    try:
        return profile.runcall(work)
    finally:
        profile.dump_stats(path)


def busy_seconds(pipeline: Pipeline) -> float:
    """Seconds that workers were at chunks, as they told."""
    attempts = read_chunk_log(pipeline.directory.chunk_log)
    return sum(a.finished_seconds - a.started_seconds for a in attempts if a.started_seconds is not None)


def _warm(client: Client, pipeline: SimulatedPipeline, workers: int) -> None:
    """Every process opens the index and imports what it needs once: a chunk each, which the farm finds finished."""
    address = {info["name"]: address for address, info in client.scheduler_info(n_workers=-1)["workers"].items()}
    quick = Sleeping(Pipeline.matcher(pipeline), 0.0)
    firsts = range(0, workers, _WORKERS_PER_PROCESS)
    done = [
        client.submit(run_chunk, task, quick, workers=[address[str(first)]], pure=False)
        for task, first in zip(pipeline.tasks(), firsts, strict=False)
    ]
    client.gather(done)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _settings(folder: Path, chunks: int) -> Settings:
    folder.mkdir(parents=True, exist_ok=True)
    recipients, awards = folder / "recipients.parquet", folder / "awards.csv"
    # A row or a few in a chunk: what a chunk holds is not what is simulated.
    chunk_rows = -(-_MIN_ROWS // chunks)
    write_recipients(recipients, rows=chunks * chunk_rows, seed=SEED, sample=SAMPLE)
    write_awards(awards, companies=COMPANIES, recipients=recipients, seed=SEED)
    return Settings(
        inputs={"awards": awards, "recipients": recipients},
        paths={"work_dir": folder / "work"},
        chunk_size=chunk_rows,
        match_rate_threshold=0.0,
        # Nothing that is simulated may be taken for a worker in trouble.
        farm={"heartbeat_timeout_seconds": 600, "straggler_factor": 0},
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int)
    parser.add_argument("--chunks", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a chunk")
    parser.add_argument("--scratch", type=Path, help="existing directory; best one in memory")
    parser.add_argument("--profile", type=Path, help="keep a profile of the driver here (with --workers)")
    parser.add_argument("--keep", action="store_true", help="add the case to the report (with --workers)")
    options = parser.parse_args(arguments)
    cases = CASES if options.workers is None else ((options.workers, options.chunks, options.seconds),)
    told = list(read_json(REPORT)["cases"]) if options.keep else []
    for workers, chunks, seconds in cases:
        with tempfile.TemporaryDirectory(prefix="simulate-", dir=options.scratch) as folder:
            told.append(simulate(workers, chunks, seconds, Path(folder), profile=options.profile))
        print(json.dumps(told[-1]), flush=True)
        if options.workers is None or options.keep:
            _keep(sorted(told, key=lambda case: (case["workers"], case["chunks"])))


def _keep(told: list[dict[str, Any]]) -> None:
    write_json(
        REPORT,
        {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {"processor": this_machine().cpu_model, "cores": this_machine().cores},
            "cases": told,
        },
    )


if __name__ == "__main__":
    main()
