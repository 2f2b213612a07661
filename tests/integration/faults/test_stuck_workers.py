"""Workers that do not work: slow, silent, paused, without the index or without their scheduler.

Workers are real processes; calls of the matcher are counted per chunk. The published bytes equal those of an
undisturbed run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, LocalCluster

from enrich_dist.cluster.client import open_client
from enrich_dist.errors import FarmError
from enrich_dist.events import Event, FarmProgress, Notice, WorkersSeen, emit, listening
from enrich_dist.farm.driver import observe_workers
from enrich_dist.farm.worker_monitor import WorkerMonitor
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings
from tests.conftest import REPOSITORY, free_port, run_steps
from tests.integration.faults.test_farm_failures import CHUNKS, calls, prepare
from tests.support.known_case import settings
from tests.support.published import published_bytes

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, client: Client) -> dict[str, str]:
    run = settings(tmp_path_factory.mktemp("undisturbed"))
    run_steps(run, lambda: client)
    return published_bytes(run.paths.work_dir)


class Heard:
    """Collects the notices to the operator."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def notices(self, part: str) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Notice) and part in event.message]


def finish(pipeline: Pipeline) -> dict[str, str]:
    pipeline.enrich_awards()
    pipeline.publish_awards()
    return published_bytes(pipeline.settings.paths.work_dir)


@pytest.mark.long
@pytest.mark.setting("farm.straggler_min_seconds")
def test_straggler_backup_task_counts_once(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    pipeline = prepare(tmp_path, "hang", farm={"straggler_min_seconds": 1})
    heard = Heard()

    with open_client(pipeline.settings, tmp_path / "dask") as own, listening(heard):
        report = pipeline.farm_chunks(lambda: own)

    [notice] = heard.notices("Chunk 2 has been running")
    assert int(notice.split()[6]) < 8, "straggler_min_seconds is 1; some more for a machine that is busy"
    assert report.numbers["chunks_doubled"] == 1
    assert report.numbers["failed_attempts"] == 0
    assert report.rows == 54
    assert calls(tmp_path) == Counter({"21": 2, "1": 1, "11": 1, "31": 1, "41": 1, "51": 1})
    assert max(event.records_done for event in heard.events if isinstance(event, FarmProgress)) == 54
    assert finish(pipeline) == undisturbed


@pytest.mark.long
@pytest.mark.setting("farm.straggler_factor")
def test_backup_tasks_can_be_disabled(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    pipeline = prepare(tmp_path, "hang", timeout_seconds=30, farm={"straggler_min_seconds": 0, "straggler_factor": 0})

    with open_client(pipeline.settings, tmp_path / "dask") as own:
        report = pipeline.farm_chunks(lambda: own)

    assert (report.numbers["chunks_doubled"], report.numbers["failed_attempts_hang"]) == (0, 1)
    assert finish(pipeline) == undisturbed


@pytest.mark.long
@pytest.mark.setting("farm.heartbeat_timeout_seconds")
def test_silent_worker_is_restarted_chunk_retried(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    pipeline = prepare(tmp_path, "stop", farm={"heartbeat_timeout_seconds": 3, "straggler_factor": 0})
    heard = Heard()

    with open_client(pipeline.settings, tmp_path / "dask") as own, listening(heard):
        report = pipeline.farm_chunks(lambda: own)

    assert heard.notices("no heartbeat for 3 s and is restarted")
    assert heard.notices("Chunk 2, attempt 1, failed (hang): its worker")
    assert report.numbers["failed_attempts_hang"] == 1
    assert calls(tmp_path)["21"] == 2
    assert finish(pipeline) == undisturbed


_held: list[bytearray] = []


def stuff(share: float, dask_worker: Any = None) -> None:
    """Hold memory up to a share of the worker's limit, so that it is paused."""
    process, limit = psutil.Process(), int(dask_worker.memory_manager.memory_limit)
    while process.memory_info().rss < share * limit:
        _held.append(bytearray(b"x" * 5_000_000))


@pytest.mark.long
def test_paused_worker_is_reported_with_memory(tmp_path: Path) -> None:
    heard = Heard()
    with open_client(Settings(memory_threshold_mb=700), tmp_path) as own, listening(heard):
        victim = sorted(own.scheduler_info(n_workers=-1)["workers"])[0]
        own.run(stuff, 0.86, workers=[victim])
        monitor = WorkerMonitor()
        deadline = time.monotonic() + 60
        while not heard.notices("is paused"):
            assert time.monotonic() < deadline
            for event in monitor.update(observe_workers(own), time.monotonic()):
                emit(event)
            time.sleep(0.1)

    (notice,) = heard.notices("is paused")
    assert victim in notice
    assert "of 700 MB" in notice
    assert "unmanaged (libraries, index, current chunk)" in notice
    assert [seen.paused for event in heard.events if isinstance(event, WorkersSeen) for seen in event.workers]


@pytest.mark.long
def test_paused_workers_stop_run_with_memory(tmp_path: Path) -> None:
    pipeline = prepare(tmp_path, "none", times=0, memory_threshold_mb=700, cluster={"start_timeout_seconds": 6})
    message = r"All workers have been paused for 6 seconds.*of 700 MB.*Raise memory_threshold_mb"
    with open_client(pipeline.settings, tmp_path / "dask") as own:
        own.run(stuff, 0.86)
        wait_until_paused(own)
        with pytest.raises(FarmError, match=message):
            pipeline.farm_chunks(lambda: own)


@pytest.mark.long
def test_idle_paused_workers_are_restarted(
    tmp_path: Path, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enrich_dist.farm.worker_recovery._PAUSED_RESTART_SECONDS", 2.0)
    pipeline = prepare(tmp_path, "none", times=0, memory_threshold_mb=700)
    heard = Heard()
    with open_client(pipeline.settings, tmp_path / "dask") as own, listening(heard):
        own.run(stuff, 0.86)
        wait_until_paused(own)
        report = pipeline.farm_chunks(lambda: own)

    assert heard.notices("stays paused without a task")
    assert report.numbers["worker_restarts"] >= 1
    assert sum(calls(tmp_path).values()) == CHUNKS
    assert finish(pipeline) == undisturbed


def wait_until_paused(client: Client) -> None:
    deadline = time.monotonic() + 60
    while {info["status"] for info in client.scheduler_info(n_workers=-1)["workers"].values()} != {"paused"}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def hide_index() -> None:
    """Make this worker process one that cannot see any index: as if the shared directory were not there."""
    from enrich_dist.farm import worker

    def blind(path: Path) -> Any:
        raise FileNotFoundError(f"{path} is not here")

    worker.open_verified = blind  # type: ignore[attr-defined]


@pytest.mark.long
def test_late_worker_without_index_is_retired(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    pipeline = Pipeline(settings(tmp_path, chunk_size=1), "late")
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    heard = Heard()
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as own,
    ):
        joined: set[str] = set()

        def join(event: Event) -> None:
            if not joined and isinstance(event, FarmProgress) and event.chunks_done >= 1:
                before = set(own.scheduler_info(n_workers=-1)["workers"])
                cluster.scale(2)
                own.wait_for_workers(2, timeout=60)
                joined.update(set(own.scheduler_info(n_workers=-1)["workers"]) - before)
                own.run(hide_index, workers=sorted(joined))

        with listening(heard), listening(join):
            report = pipeline.farm_chunks(lambda: own)

    (late,) = joined
    assert heard.notices(f"Worker {late} is retired")
    assert report.numbers["failed_attempts"] == report.numbers["failed_attempts_configuration"] >= 1
    assert finish(pipeline) == undisturbed


class Commands:
    """A scheduler and two workers started by Dask's own commands, at one port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self.running: list[subprocess.Popen[bytes]] = []
        folder.mkdir(exist_ok=True)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self) -> None:
        dask = str(Path(sys.executable).with_name("dask"))
        for arguments in (
            ["scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"],
            ["worker", self.address, "--nthreads", "1", "--nworkers", "2", "--no-dashboard", "--host", "127.0.0.1"],
        ):
            self.running.append(
                subprocess.Popen(
                    [dask, *arguments],
                    cwd=self._folder,
                    env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )

    def kill(self) -> None:
        for process in self.running:
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.kill()
            process.wait()
        self.running.clear()


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    started = Commands(tmp_path / "commands")
    started.start()
    yield started
    started.kill()


@pytest.mark.long
@pytest.mark.parametrize("comes_back", [True, False])
def test_lost_scheduler_returns_or_run_resumes(
    tmp_path: Path, undisturbed: dict[str, str], commands: Commands, comes_back: bool
) -> None:
    cluster = {
        "kind": "address",
        "address": commands.address,
        "allow_insecure": True,
        "start_timeout_seconds": 60 if comes_back else 4,
    }
    pipeline = prepare(tmp_path, "hang", cluster=cluster)
    heard = Heard()
    killed = False

    def kill_scheduler(event: Event) -> None:
        nonlocal killed
        if not killed and isinstance(event, FarmProgress) and event.chunks_done >= CHUNKS - 1:
            killed = True
            commands.kill()
            if comes_back:
                commands.start()

    with ExitStack() as stack:
        client = Client(commands.address, timeout=60, set_as_default=False)
        stack.callback(client.close, timeout=5)
        client.wait_for_workers(2, timeout=60)
        stack.enter_context(listening(heard))
        stack.enter_context(listening(kill_scheduler))
        if not comes_back:
            stack.enter_context(pytest.raises(FarmError, match=r"scheduler at .* was lost.*finished chunks are kept"))
        pipeline.farm_chunks(lambda: client)

    assert heard.notices("connection to the scheduler at")
    if not comes_back:
        with open_client(Settings(), tmp_path / "dask") as own:
            report = pipeline.farm_chunks(lambda: own)
        assert report.numbers["chunks_computed"] == 1
    else:
        assert heard.notices("is restored")
        assert heard.notices("Chunk 2, attempt 1, failed (scheduler lost)")
    assert calls(tmp_path) == Counter({"21": 2, "1": 1, "11": 1, "31": 1, "41": 1, "51": 1})
    assert finish(pipeline) == undisturbed
