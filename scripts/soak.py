"""Run random schedules of faults against a real cluster of worker processes, on the known case of the tests.

    python -m scripts.soak [--schedules 200] [--seed N] [--output FILE]

One cluster serves all schedules, as a cluster serves many runs. The seed and the number of a schedule determine which
workers are killed, stopped, added or removed and when, how often the driver is killed or interrupted, which checkpoints
are damaged in between, and how many attempts fail by an injected fault. The driver is a separate process. Every
schedule ends with a complete run. It fails unless the published bytes equal those of an undisturbed run and no chunk
with a valid checkpoint was computed again. Repeat a failed schedule with ``--seed`` and ``--only``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from distributed import Client

from enrich_dist.core.files import read_json, write_json
from enrich_dist.core.matcher import Matcher
from enrich_dist.errors import FarmError
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import CheckpointStore, record_name
from tests.support.known_case import settings, write_inputs
from tests.support.matchers import Harmful
from tests.support.processes import CommandLineCluster
from tests.support.published import published_bytes

CHUNK_ROWS = 4
WORKERS = 2
MAX_DRIVER_SECONDS = 180.0  # more is a hang: a schedule takes a few seconds
MIN_CHUNK_SECONDS = 0.05  # so that faults can occur during a chunk
NO_WORKER_SECONDS = 30.0  # without workers a run stops after this; it resumes when the cluster is restored
DRIVER_MODULES = [
    "enrich_dist.pipeline.steps",
    "enrich_dist.cluster.client",
    "tests.support.known_case",
    "tests.support.published",
]
STOPPED_CLEANLY = 3
POLL_SECONDS = 0.02


class WorkerFault(StrEnum):
    """A fault of the workers during a run."""

    KILL_WORKER = "kill a worker"
    KILL_ALL_WORKERS = "kill all workers"
    STOP_WORKER = "stop a worker for a while"
    ADD_WORKER = "add a worker"
    REMOVE_WORKER = "remove a worker"


class DriverFault(StrEnum):
    """What ends a driver before its run is complete."""

    KILL = "kill the driver"
    INTERRUPT = "interrupt the driver"


class Damage(StrEnum):
    """Damage to a checkpoint between two drivers."""

    FLIP = "flip a bit of a checkpoint"
    CUT = "cut a checkpoint short"
    EMPTY = "empty a checkpoint"
    REMOVE = "remove a file of a checkpoint"


@dataclass(frozen=True)
class TimedFault:
    """A worker fault ``after_seconds`` of the driver's start. ``share`` (0 to 1) chooses the worker."""

    kind: WorkerFault
    after_seconds: float
    share: float


@dataclass(frozen=True)
class Leg:
    """One driver: faults while it runs, what ends it, and the damage afterwards.

    Seconds count from the start of the driver, or of its farm (``from_farm``). The driver is not ended before
    ``ends_after_chunks`` chunks are finished.
    """

    faults: list[TimedFault]
    from_farm: bool
    ending: DriverFault | None
    ends_after_seconds: float
    ends_after_chunks: int
    damages: list[tuple[Damage, float]]


@dataclass(frozen=True)
class Schedule:
    """Legs in order. The last one has no ending."""

    number: int
    fault_probability: float
    legs: list[Leg]


ENDS = {
    None: {0},
    DriverFault.KILL: {0, -signal.SIGKILL},
    DriverFault.INTERRUPT: {0, 1},
}
"""Valid exit codes of a driver by its ending; 0 if its run was complete before."""
UNDISTURBED = Leg(faults=[], from_farm=True, ending=None, ends_after_seconds=0.0, ends_after_chunks=0, damages=[])


@dataclass
class Outcome:
    """The result of one schedule. ``errors``: reasons why it failed."""

    number: int
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    failed_attempts: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    drivers: int = 0
    clean_stops: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def draw(seed: int, number: int) -> Schedule:
    """Return the schedule of this number."""
    random_ = random.Random(f"{seed}:{number}")
    legs = []
    for left in range(random_.choices([0, 1, 2], [5, 4, 1])[0], -1, -1):
        faults = [
            TimedFault(
                random_.choices(list(WorkerFault), [4, 2, 2, 1, 1])[0], random_.uniform(0, 1.5), random_.random()
            )
            for _ in range(random_.choices([0, 1, 2, 3], [2, 4, 3, 1])[0])
        ]
        damages = [
            (random_.choice(list(Damage)), random_.random()) for _ in range(random_.choices([0, 1, 2], [1, 2, 1])[0])
        ]
        legs.append(
            Leg(
                faults=sorted(faults, key=lambda fault: fault.after_seconds),
                from_farm=random_.random() < 0.75,
                ending=random_.choice(list(DriverFault)) if left else None,
                ends_after_seconds=random_.uniform(0.2, 1.0),
                ends_after_chunks=random_.choice([0, random_.randint(1, 12)]),
                damages=damages if left else [],
            )
        )
    return Schedule(number, random_.choice([0.0, 0.02, 0.05, 0.1, 0.2]), legs)


class CountedPipeline(Pipeline):
    """A pipeline whose matcher counts its calls."""

    def __init__(self, run: Settings, ledger: Path) -> None:
        super().__init__(run, "soak")
        self._ledger = ledger

    def matcher(self) -> Matcher:
        """Return the matcher of the settings, with its calls counted."""
        return Harmful(super().matcher(), self._ledger, victim_row=-1, harm="none", pause_seconds=MIN_CHUNK_SECONDS)


def drive(address: str, run: Settings, ledger: Path, result: Path) -> None:
    """Run all steps on the cluster at ``address``; write the farm's numbers, or why it stopped, to ``result``."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pipeline = CountedPipeline(run, ledger)
    try:
        with Client(address, set_as_default=False) as client:
            pipeline.ingest_awards()
            pipeline.join_companies()
            pipeline.partition_recipients()
            report = pipeline.farm_chunks(lambda: client)
            pipeline.enrich_awards()
            pipeline.publish_awards()
    except FarmError as error:
        write_json(result, {"stopped": str(error)})
        sys.exit(STOPPED_CLEANLY)
    write_json(result, report.numbers)


class Soak:
    """Runs schedules on one cluster, in one work directory whose results are removed in between."""

    def __init__(self, folder: Path, cluster: CommandLineCluster, seed: int) -> None:
        self._folder = folder
        self._cluster = cluster
        self._seed = seed
        self._inputs = write_inputs(folder / "inputs")
        self._fork = multiprocessing.get_context("forkserver")
        self._fork.set_forkserver_preload(DRIVER_MODULES)
        self._stopped: set[int] = set()
        undisturbed = CountedPipeline(self._settings(0.0), self._new_ledger())
        drive(cluster.address, undisturbed.settings, folder / "ledger", folder / "result.json")
        self._expected = published_bytes(undisturbed.settings.paths.work_dir)
        self.tasks = undisturbed.tasks()

    def _settings(self, fault_probability: float, fault_seed: int = 0) -> Settings:
        return settings(
            self._folder,
            inputs=self._inputs,
            chunk_size=CHUNK_ROWS,
            timeout_seconds=60,
            cluster={"start_timeout_seconds": NO_WORKER_SECONDS},
            # Worker faults and injected faults may hit a chunk several times.
            farm={"max_attempts": 25, "min_part_rows": 1},
            testing={"fault_probability": fault_probability, "fault_seed": fault_seed},
        )

    def _new_ledger(self) -> Path:
        ledger = self._folder / "ledger"
        shutil.rmtree(ledger, ignore_errors=True)
        ledger.mkdir()
        return ledger

    def run(self, schedule: Schedule) -> Outcome:
        """Run one schedule, from no chunk to the published result."""
        started = time.monotonic()
        outcome = Outcome(schedule.number)
        run = self._settings(schedule.fault_probability, fault_seed=(self._seed * 100_000 + schedule.number) % 2**32)
        for name in ("checkpoints", "attempts", "results", "published"):
            shutil.rmtree(run.paths.work_dir / name, ignore_errors=True)
        ledger = self._new_ledger()
        try:
            for leg in schedule.legs:
                self._leg(run, ledger, leg, outcome)
            if outcome.clean_stops and not outcome.errors:
                self._restore_cluster()
                self._leg(run, ledger, UNDISTURBED, outcome)
            if not outcome.errors and published_bytes(run.paths.work_dir) != self._expected:
                outcome.errors.append("different bytes were published")
            metrics = run.paths.work_dir / "published" / "current" / "metrics.json"
            if not outcome.errors and not read_json(metrics)["reconciliation"]["balanced"]:
                outcome.errors.append("rows are lost or duplicated")
        finally:
            self._restore_cluster()
        outcome.calls = len(list(ledger.iterdir()))
        outcome.seconds = time.monotonic() - started
        return outcome

    def _leg(self, run: Settings, ledger: Path, leg: Leg, outcome: Outcome) -> None:
        before, began_ns = self._valid_records(), time.monotonic_ns()
        result = self._folder / "result.json"
        result.unlink(missing_ok=True)
        driver = self._fork.Process(target=drive, args=(self._cluster.address, run, ledger, result))
        outcome.drivers += 1
        driver.start()
        # Only this thread polls the driver: if two threads poll a fork server, one gets 255 as the exit code.
        ended = threading.Event()
        faults = threading.Thread(target=self._inject, args=(leg, driver, ended, outcome))
        faults.start()
        driver.join(MAX_DRIVER_SECONDS)
        hung = driver.is_alive()
        if hung:
            driver.kill()
            driver.join()
        ended.set()
        faults.join()
        if hung:
            outcome.errors.append(f"a driver did not end within {MAX_DRIVER_SECONDS:.0f} seconds")
        elif driver.exitcode == STOPPED_CLEANLY:
            outcome.clean_stops.append(str(read_json(result)["stopped"]))
            if leg is UNDISTURBED:
                outcome.errors.append("an undisturbed run stopped")
        elif driver.exitcode not in ENDS[leg.ending]:
            outcome.errors.append(f"a driver ended with exit code {driver.exitcode}")
        if driver.exitcode == 0:
            numbers = read_json(result)
            prefix = "failed_attempts_"
            outcome.failed_attempts.update(
                {name.removeprefix(prefix): number for name, number in numbers.items() if name.startswith(prefix)}
            )
        after = self._valid_records()
        # A worker completes the chunk that a killed driver submitted, maybe while the next driver runs.
        called = _called_since(began_ns, ledger)
        again = [key for key, record in before.items() if after.get(key) != record and self._rows[key] & called]
        if again:
            outcome.errors.append(f"{len(again)} finished chunks were computed again")
        for damage, share in leg.damages:
            self._damage(damage, share, outcome)

    @property
    def _rows(self) -> dict[str, set[int]]:
        """Return the source rows of each chunk by checkpoint key; the first row is 1."""
        return {
            task.checkpoint_key: set(range(task.chunk_id * CHUNK_ROWS + 1, (task.chunk_id + 1) * CHUNK_ROWS + 1))
            for task in self.tasks
        }

    def _valid_records(self) -> dict[str, bytes]:
        """Return the record files of the valid checkpoints, which have the process and time of the computation."""
        store = CheckpointStore(self._folder / "work" / "checkpoints")
        valid, _ = store.find(task.checkpoint_key for task in self.tasks)
        return {key: store.storage.get(record_name(key)) for key in valid}

    def _inject(self, leg: Leg, driver: BaseProcess, ended: threading.Event, outcome: Outcome) -> None:
        """Inject the faults of the leg at their times, until the driver has ``ended``."""
        faults: list[tuple[float, TimedFault | DriverFault]] = [(fault.after_seconds, fault) for fault in leg.faults]
        if leg.ending is not None:
            faults.append((leg.ends_after_seconds, leg.ending))
        plan, checkpoints = self._folder / "work" / "steps" / "farm_plan.json", self._folder / "work" / "checkpoints"
        before = plan.stat().st_mtime_ns
        while leg.from_farm and plan.stat().st_mtime_ns == before and not ended.wait(POLL_SECONDS):
            pass
        started = time.monotonic()
        for after_seconds, fault in sorted(faults, key=lambda item: item[0]):
            chunks = leg.ends_after_chunks if isinstance(fault, DriverFault) else 0
            while (
                time.monotonic() < started + after_seconds or len(list(checkpoints.glob("[0-9a-f]*.json"))) < chunks
            ) and not ended.wait(POLL_SECONDS):
                pass
            if ended.is_set():
                break
            if isinstance(fault, TimedFault):
                self._disturb_workers(fault)
                outcome.faults[fault.kind] += 1
            else:
                assert driver.pid is not None
                _signal(driver.pid, signal.SIGKILL if fault is DriverFault.KILL else signal.SIGINT)
                outcome.faults[fault] += 1
                break

    def _disturb_workers(self, fault: TimedFault) -> None:
        pids = self._cluster.worker_pids()
        victim = pids[int(fault.share * len(pids))] if pids else None
        match fault.kind:
            case WorkerFault.KILL_WORKER if victim:
                _signal(victim, signal.SIGKILL)
            case WorkerFault.KILL_ALL_WORKERS:
                for pid in pids:
                    _signal(pid, signal.SIGKILL)
            case WorkerFault.STOP_WORKER if victim:
                _signal(victim, signal.SIGSTOP)
                self._stopped.add(victim)
                threading.Timer(0.2 + 2 * fault.share, self._continue, [victim]).start()
            case WorkerFault.ADD_WORKER:
                self._cluster.add()
            case WorkerFault.REMOVE_WORKER:
                self._cluster.remove()

    def _continue(self, pid: int) -> None:
        _signal(pid, signal.SIGCONT)
        self._stopped.discard(pid)

    def _restore_cluster(self) -> None:
        """Continue stopped workers and restore the number of workers."""
        for pid in list(self._stopped):
            self._continue(pid)
        self._cluster.restore()

    def _damage(self, damage: Damage, share: float, outcome: Outcome) -> None:
        directory = self._folder / "work" / "checkpoints"
        files = sorted(path for path in directory.glob("[0-9a-f]*") if path.suffix in {".json", ".parquet"})
        if not files:
            return
        path = files[int(share * len(files))]
        data = bytearray(path.read_bytes())
        match damage:
            case Damage.FLIP if data:
                data[int(share * 7919) % len(data)] ^= 1 << (len(data) % 8)
            case Damage.CUT:
                del data[int(share * len(data)) :]
            case Damage.EMPTY:
                data.clear()
        if damage is Damage.REMOVE:
            path.unlink()
        else:
            path.write_bytes(data)
        outcome.faults[damage] += 1


def _called_since(began_ns: int, ledger: Path) -> set[int]:
    """Return the first source row of each call of the matcher since then, from names by ``tests.support.matchers``."""
    calls = (path.name.split("-") for path in ledger.iterdir())
    return {int(row) for row, _, at_ns in calls if int(at_ns) >= began_ns}


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def summary(seed: int, outcomes: Sequence[Outcome], chunks: int) -> dict[str, Any]:
    """Return the figures of a soak."""
    faults: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for outcome in outcomes:
        faults.update({str(kind): number for kind, number in outcome.faults.items()})
        failed.update({kind: number for kind, number in outcome.failed_attempts.items() if number})
    wrong = [outcome for outcome in outcomes if outcome.errors]
    seconds = sorted(outcome.seconds for outcome in outcomes)
    return {
        "seed": seed,
        "schedules": len(outcomes),
        "schedules_wrong": len(wrong),
        "chunks_per_schedule": chunks,
        "drivers": sum(outcome.drivers for outcome in outcomes),
        "clean_stops": sum(len(outcome.clean_stops) for outcome in outcomes),
        "clean_stop_reasons": sorted({reason for outcome in outcomes for reason in outcome.clean_stops})[:20],
        "faults": dict(sorted(faults.items())),
        "failed_attempts": dict(sorted(failed.items())),
        "matcher_calls": sum(outcome.calls for outcome in outcomes),
        "seconds": round(sum(seconds), 1),
        "seconds_longest": round(seconds[-1], 1) if seconds else 0.0,
        "seconds_median": round(seconds[len(seconds) // 2], 1) if seconds else 0.0,
        "wrong": [
            {
                "schedule": outcome.number,
                "wrong": outcome.errors,
                "faults": {str(kind): number for kind, number in outcome.faults.items()},
            }
            for outcome in wrong
        ],
    }


def soak(schedules: Sequence[int], seed: int, *, verbose: bool = True) -> dict[str, Any]:
    """Run the schedules with these numbers; return the figures."""
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as name, CommandLineCluster(Path(name) / "dask", WORKERS) as cluster:
        runs = Soak(Path(name), cluster, seed)
        for number in schedules:
            outcome = runs.run(draw(seed, number))
            outcomes.append(outcome)
            if verbose:
                faults = (
                    ", ".join(f"{count} x {kind}" for kind, count in sorted(outcome.faults.items()))
                    or "injected faults only"
                )
                stops = f", stopped cleanly {len(outcome.clean_stops)} times" if outcome.clean_stops else ""
                verdict = "; ".join(outcome.errors) or "same bytes"
                print(f"{number:4d}  {outcome.seconds:5.1f} s  {verdict}{stops}  ({faults})", flush=True)
        return summary(seed, outcomes, len(runs.tasks))


def main() -> None:
    """Run the soak; exit with 1 if a schedule failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="[default: random, and printed]")
    parser.add_argument("--only", type=int, default=None, help="number of one schedule to repeat")
    parser.add_argument("--output", type=Path, default=Path("reports/reliability/soak.json"))
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    figures = soak([options.only] if options.only is not None else range(options.schedules), seed)
    write_json(options.output, figures)
    print(json.dumps({key: value for key, value in figures.items() if key != "wrong"}, indent=2))
    sys.exit(1 if figures["schedules_wrong"] else 0)


if __name__ == "__main__":
    main()
