"""Workers that are killed, crash, are stopped or fall behind: same bytes, exact counts.

Signals are sent when the ledger shows a running attempt; crashes are caused in the matcher.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from distributed import Client

from enrich_dist.cluster.client import open_client
from enrich_dist.core.tables import parse_markdown
from enrich_dist.farm.attempts import AttemptLedger, Marker
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import CheckpointStore
from tests.conftest import REPOSITORY
from tests.support.damaged import CHUNK_STARTS, calls, each_once, finish, planned
from tests.support.published import published_bytes

pytestmark = pytest.mark.cluster
_PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def own_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A cluster of these tests alone: they kill its workers."""
    with open_client(Settings(), tmp_path_factory.mktemp("dask")) as opened:
        yield opened


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"timed out: {what}"
        time.sleep(0.01)


@contextmanager
def meanwhile(action: Callable[[], None]) -> Iterator[None]:
    """Do something while the body runs; what it raises is raised after the body."""
    failures: list[BaseException] = []

    def act() -> None:
        try:
            action()
        except BaseException as error:  # raised below, where it is seen  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join(_PATIENCE_SECONDS)
    if failures:
        raise failures[0]


def running(pipeline: Pipeline, count: int) -> list[Marker]:
    """Attempts under way, as soon as there are so many."""
    ledger = AttemptLedger(pipeline.directory.attempts)
    until(lambda: len(ledger.markers()) >= count, f"{count} attempts under way")
    return ledger.markers()


def kinds(pipeline: Pipeline) -> list[tuple[int, str, bool]]:
    """(chunk, kind, counted) of the attempts that failed."""
    failures = AttemptLedger(pipeline.directory.attempts).failures()
    return [(failure.chunk_id, str(failure.kind), failure.counted) for failure in failures]


def blamed(pipeline: Pipeline) -> list[tuple[int, str, bool]]:
    """As ``kinds``, without the chunks that only waited behind the one that failed."""
    return [failure for failure in kinds(pipeline) if failure[1] != "not started"]


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        ("segfault", "crash"),
        pytest.param("terminate", "crash", marks=pytest.mark.long),
        pytest.param("sys.exit", "data", marks=pytest.mark.long),
    ],
)
def test_crashed_worker_costs_one_attempt(
    tmp_path: Path, own_client: Client, undisturbed: dict[str, str], harm: str, kind: str
) -> None:
    pipeline = planned(tmp_path, harm)

    pipeline.farm_chunks(lambda: own_client)
    finish(pipeline)

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert calls(tmp_path) == each_once(row_21=2)
    assert [found for found in kinds(pipeline) if found[2]] == [(2, kind, True)]


def test_all_workers_killed_at_once_recover(tmp_path: Path, own_client: Client, undisturbed: dict[str, str]) -> None:
    pipeline = planned(tmp_path, pause_seconds=0.5)
    killed: list[Marker] = []

    def kill_all() -> None:
        until(lambda: sum(calls(tmp_path).values()) == 2, "both workers to match")
        killed.extend(running(pipeline, 2))
        for marker in killed:
            os.kill(marker.pid, signal.SIGKILL)

    with meanwhile(kill_all):
        report = pipeline.farm_chunks(lambda: own_client)
    finish(pipeline)

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    # What was under way is done again, and nothing else.
    keys = {marker.checkpoint_key for marker in killed}
    lost = {task.chunk_id for task in pipeline.tasks() if task.checkpoint_key in keys}
    assert len(lost) == 2
    assert calls(tmp_path) == {start: 2 if n in lost else 1 for n, start in enumerate(CHUNK_STARTS)}
    assert {chunk for chunk, _, counted in kinds(pipeline) if counted} <= lost
    assert report.numbers["chunks_computed"] == len(CHUNK_STARTS)
    # They died before their first checkpoint, and are in the memory report too.
    table = parse_markdown(report.tables["memory per worker"])
    rows = {row[table.head.index("process")]: row for row in table.rows}
    for marker in killed:
        row = rows[str(marker.pid)]
        assert row[table.head.index("chunks")] == "0"
        assert float(row[table.head.index("peak MB")].replace(",", "")) > 50
    assert len(rows) >= 4  # and those that replaced them
    assert report.numbers["workers"] == sum(row[table.head.index("chunks")] != "0" for row in table.rows)


def _ignore_terminate() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@pytest.mark.long
def test_worker_ignoring_sigterm_is_restarted(tmp_path: Path, own_client: Client, undisturbed: dict[str, str]) -> None:
    pipeline = planned(tmp_path, "hang", timeout_seconds=6)
    own_client.run(_ignore_terminate)
    deaf = {info["pid"] for info in own_client.run(_facts).values()}

    def terminate() -> None:
        until(lambda: calls(tmp_path)["21"] == 1, "the chunk that hangs")
        os.kill(hanging(pipeline).pid, signal.SIGTERM)

    with meanwhile(terminate):
        pipeline.farm_chunks(lambda: own_client)
    finish(pipeline)

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert calls(tmp_path) == each_once(row_21=2)
    assert blamed(pipeline) == [(2, "hang", True)]
    until(lambda: any(not psutil.pid_exists(pid) for pid in deaf), "the deaf worker to be ended")


def _facts() -> dict[str, int]:
    return {"pid": os.getpid()}


def hanging(pipeline: Pipeline) -> Marker:
    """The attempt at the harmed chunk."""
    key = pipeline.tasks()[2].checkpoint_key
    return next(marker for marker in running(pipeline, 1) if marker.checkpoint_key == key)


@pytest.mark.long
def test_stopped_worker_is_replaced(tmp_path: Path, own_client: Client, undisturbed: dict[str, str]) -> None:
    pipeline = planned(tmp_path, "stop", timeout_seconds=6)

    pipeline.farm_chunks(lambda: own_client)
    finish(pipeline)

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert calls(tmp_path) == each_once(row_21=2)
    assert blamed(pipeline) == [(2, "hang", True)]


@pytest.mark.long
def test_worker_resumed_in_time_costs_nothing(tmp_path: Path, own_client: Client, undisturbed: dict[str, str]) -> None:
    pipeline = planned(tmp_path, "stop")

    def wake() -> None:
        until(lambda: calls(tmp_path)["21"] == 1, "the chunk that stops its worker")
        process = psutil.Process(hanging(pipeline).pid)
        until(lambda: process.status() == psutil.STATUS_STOPPED, "a stopped worker")
        # One chunk may wait behind the one that stopped: a worker has its next before it has done the last.
        until(lambda: sum(calls(tmp_path).values()) >= len(CHUNK_STARTS) - 1, "the other worker to do the rest")
        process.send_signal(signal.SIGCONT)

    with meanwhile(wake):
        pipeline.farm_chunks(lambda: own_client)
    finish(pipeline)

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert calls(tmp_path) == each_once()
    assert kinds(pipeline) == []


@contextmanager
def from_the_command_line(folder: Path, *workers: dict[str, str], nanny: bool = True) -> Iterator[Client]:
    """A scheduler and workers by Dask's own commands, each worker with its own environment."""
    dask = str(Path(sys.executable).with_name("dask"))
    file = folder / "scheduler.json"
    with ExitStack() as stack:

        def start(*arguments: str, **environment: str) -> None:
            process = subprocess.Popen(
                [dask, *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 60)
            stack.callback(process.kill)  # also one that is stopped

        start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        until(file.exists, "the scheduler")
        for environment in workers:
            start(
                "worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1",
                "--nanny" if nanny else "--no-nanny", **environment,
            )  # fmt: skip
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(len(workers), timeout=_PATIENCE_SECONDS)
            yield client


@pytest.mark.long
def test_late_worker_overwrites_nothing(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    """Without a nanny, a stopped worker continues after another worker finished its chunk."""
    pipeline = planned(tmp_path, "stop", timeout_seconds=6)
    with from_the_command_line(tmp_path, {}, {}, nanny=False) as client:
        stopped: list[int] = []

        def note() -> None:
            until(lambda: calls(tmp_path)["21"] == 1, "the chunk that stops its worker")
            stopped.append(hanging(pipeline).pid)

        with meanwhile(note):
            report = pipeline.farm_chunks(lambda: client)
        # What waited behind it does not wait until Dask gives the worker up, which takes minutes.
        assert report.numbers["farm_seconds"] < 60
        assert [failure for failure in kinds(pipeline) if failure[2]] == [(2, "hang", True)]
        os.kill(stopped[0], signal.SIGCONT)
        own = pipeline.directory.checkpoints
        before = {path.name: path.read_bytes() for path in own.iterdir() if path.suffix == ".parquet"}
        store, key = CheckpointStore(own), pipeline.tasks()[2].checkpoint_key
        until(lambda: store.read_record(key).pid == stopped[0], "the process to write what is there already")
        finish(pipeline)

        assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
        assert {path.name: path.read_bytes() for path in own.iterdir() if path.suffix == ".parquet"} == before
    assert calls(tmp_path) == each_once(row_21=2)


# Python runs this at start in processes with this folder in their path. It adds the offset in the clock file to the
# time of day, for Dask, Tornado and our code.
_CLOCK = """
import mmap, os, struct, time
_file = open(os.environ["TEST_CLOCK"], "rb")
_seconds = mmap.mmap(_file.fileno(), 8, prot=mmap.PROT_READ)
_time = time.time
time.time = lambda: _time() + struct.unpack("d", _seconds[:8])[0]
"""


@pytest.mark.long
@pytest.mark.parametrize("days", [1, -5], ids=["on", "back"])
def test_clock_jumps_cost_one_restart(tmp_path: Path, undisturbed: dict[str, str], days: int) -> None:
    """One worker's clock is a day ahead, the other's a day behind; during the farm both jump.

    Were a chunk's time measured from one clock to another, all would be overdue. Dask times its heartbeats, and some
    of its messages, by the time of day (Tornado does): those of a worker whose clock jumps back may end, so that it is
    restarted as silent.
    """
    clocks = {tmp_path / "ahead": 1, tmp_path / "behind": -1}

    def set_clocks(further_days: int) -> None:
        for file, own_days in clocks.items():
            with file.open("r+b" if file.exists() else "wb") as handle:
                handle.write(struct.pack("d", (own_days + further_days) * 86_400.0))

    (tmp_path / "sitecustomize.py").write_text(_CLOCK, "ascii")
    environments = [{"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}", "TEST_CLOCK": str(file)} for file in clocks]
    pipeline = planned(tmp_path, pause_seconds=0.6, timeout_seconds=120, farm={"heartbeat_timeout_seconds": 5})
    set_clocks(0)
    with from_the_command_line(tmp_path, *environments) as client:

        def clock_offsets() -> list[float]:
            return sorted(clock - time.time() for clock in client.run(time.time).values())

        assert clock_offsets()[0] < -80_000
        assert clock_offsets()[1] > 80_000

        def jump() -> None:
            until(lambda: sum(calls(tmp_path).values()) > 1, "some chunks to be under way")
            set_clocks(days)

        with meanwhile(jump):
            pipeline.farm_chunks(lambda: client)
        assert clock_offsets()[0] == pytest.approx((days - 1) * 86_400, abs=60)
    finish(pipeline)

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    if days > 0:
        assert calls(tmp_path) == each_once()
        assert kinds(pipeline) == []
    else:
        # At most one chunk per worker: a running one, or one whose result was not reported.
        assert sum(calls(tmp_path).values()) <= sum(each_once().values()) + 2
        counted = [kind for _, kind, counts in kinds(pipeline) if counts]
        assert set(counted) <= {"hang"}
        assert len(counted) <= 2
