"""Scaling during a run, by the command and by the chunks left: the published bytes stay the same."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Client

from enrich_dist.cluster.scaling import CLUSTER_FILE, REQUEST_FILE
from enrich_dist.core.files import read_json
from tests.conftest import REPOSITORY, enrich_dist, run_steps
from tests.support.hosts import DaskProcesses, Host, no_mounts, wait_until
from tests.support.known_case import settings, write_inputs
from tests.support.paced import HOLD, calls
from tests.support.published import published_bytes

pytestmark = pytest.mark.cluster
CHUNKS = 28  # 55 recipients in chunks of 2
CALLED = 27  # the only row of the last chunk is rejected, so it is not matched


class PacedRun:
    """A run in another process, whose chunks the test can hold back."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.work_dir, self.ledger = folder / "work", folder / "ledger"
        self.ledger.mkdir()
        awards, recipients = write_inputs(folder / "inputs")
        self.arguments = [
            sys.executable, "-m", "tests.support.paced", str(self.ledger), f"inputs.awards={awards}",
            f"inputs.recipients={recipients}", f"paths.work_dir={self.work_dir}", "match_rate_threshold=0.5",
            "chunk_size=2", "timeout_seconds=300", "cluster.start_timeout_seconds=120", *overrides,
        ]  # fmt: skip
        self.log = folder / "run.log"
        self.process: subprocess.Popen[bytes]

    def hold(self) -> None:
        (self.ledger / HOLD).touch()

    def release(self) -> None:
        (self.ledger / HOLD).unlink(missing_ok=True)

    @contextmanager
    def running(self, *prefix: str) -> Iterator[None]:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, *self.arguments], cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            yield
        finally:
            self.release()
            self.process.kill()
            self.process.wait(timeout=60)

    def active_processes(self) -> set[str]:
        return {process for _, process in calls(self.ledger)}

    def in_flight(self) -> int:
        return len(list((self.work_dir / "attempts").glob("*.running.json")))

    def wait(self, condition, what: str) -> None:
        def ended_or() -> bool:
            assert self.process.poll() is None, f"the run ended:\n{self.output()}"
            return bool(condition())

        wait_until(ended_or, f"{what}; output of the run:\n{self.output()}", seconds=240)

    def output(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def end(self) -> dict[str, int]:
        """Wait for the end; return the numbers of the farm."""
        self.process.wait(timeout=300)
        assert self.process.returncode == 0, self.output()
        return read_json(self.work_dir / "steps" / "chunk_matches.json")["numbers"]


def scale(run: PacedRun, workers: int) -> subprocess.CompletedProcess[str]:
    return enrich_dist("cluster", "scale", str(workers), "--set", f"paths.work_dir={run.work_dir}", "--timeout", "240")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, client: Client) -> dict[str, str]:
    run = settings(tmp_path_factory.mktemp("expected"))
    run_steps(run, lambda: client)
    return published_bytes(run.paths.work_dir)


@pytest.mark.long
def test_scale_up_and_down_loses_nothing(tmp_path: Path, expected: dict[str, str]) -> None:
    run = PacedRun(tmp_path, "cluster.n_workers=1")
    with run.running():
        run.hold()
        run.wait(lambda: calls(run.ledger), "the first chunk")
        info = run.work_dir / CLUSTER_FILE
        assert stat.S_IMODE(info.stat().st_mode) == 0o600
        assert len(read_json(info)["workers"]) == 1

        up = scale(run, 3)
        assert up.returncode == 0, up.stderr
        assert up.stdout.startswith("3 workers at tls://127.0.0.1:")
        run.wait(lambda: len(run.active_processes()) == 3, "chunks on all three workers")
        run.release()
        run.wait(lambda: len(calls(run.ledger)) >= 9, "three chunks each")
        run.hold()
        run.wait(lambda: run.in_flight() == 3, "a chunk in flight on each")
        before = Counter(row for row, _ in calls(run.ledger))

        down = scale(run, 1)
        assert down.returncode == 0, down.stderr
        assert down.stdout.startswith("1 workers at")
        run.release()
        farm = run.end()

    assert published_bytes(run.work_dir) == expected
    assert farm["failed_attempts"] == 0
    assert farm["chunks_computed"] == CHUNKS
    after = Counter(row for row, _ in calls(run.ledger))
    assert len(after) == CALLED
    assert set(before.values()) == {1}
    # Only the tasks in flight on the two retired workers are repeated.
    assert sum(after.values()) == CALLED + 2
    assert max(after.values()) == 2
    assert not info.exists()
    assert not (run.work_dir / REQUEST_FILE).exists()


@pytest.mark.long
def test_adaptive_cluster_stays_within_bounds(tmp_path: Path, expected: dict[str, str]) -> None:
    run = PacedRun(tmp_path, "cluster.adaptive.minimum=1", "cluster.adaptive.maximum=3")
    with run.running():
        run.hold()
        run.wait(lambda: len(run.active_processes()) == 3, "the maximum of three workers")
        refused = scale(run, 2)
        run.release()
        farm = run.end()

    assert refused.returncode == 1
    assert "cluster.adaptive" in refused.stderr
    assert published_bytes(run.work_dir) == expected
    assert farm["failed_attempts"] == 0


@pytest.mark.long
def test_external_workers_join_and_leave(tmp_path: Path, expected: dict[str, str]) -> None:
    with DaskProcesses(tmp_path / "dask", Host()) as processes:
        processes.start_worker("early")
        run = PacedRun(
            tmp_path, "cluster.kind=address", f"cluster.address={processes.address}", "cluster.allow_insecure=true"
        )
        with run.running():
            run.hold()
            run.wait(lambda: calls(run.ledger), "the first chunk")
            refused = scale(run, 2)
            processes.start_worker("late")
            run.wait(lambda: len(run.active_processes()) == 2, "a chunk on the late worker")
            processes.processes["early"].terminate()  # as an operator ends a worker: it leaves gracefully
            processes.processes["early"].wait(timeout=60)
            run.release()
            farm = run.end()

    assert refused.returncode == 1
    assert f"`dask worker {processes.address}`" in refused.stderr
    assert published_bytes(run.work_dir) == expected
    assert farm["chunks_computed"] == CHUNKS
    assert len({row for row, _ in calls(run.ledger)}) == CALLED


_NO_MOUNTS = no_mounts()


@pytest.mark.long
@pytest.mark.skipif(_NO_MOUNTS is not None, reason=_NO_MOUNTS or "")
def test_worker_without_index_is_retired(tmp_path: Path, expected: dict[str, str]) -> None:
    with DaskProcesses(tmp_path / "dask", Host()) as processes:
        processes.start_worker("early")
        run = PacedRun(
            tmp_path, "cluster.kind=address", f"cluster.address={processes.address}", "cluster.allow_insecure=true"
        )
        with run.running():
            run.wait(lambda: len(calls(run.ledger)) >= 2, "the first chunks")
            run.hold()
            processes.start_worker("blind", Host(hidden=run.work_dir / "index"))
            run.wait(lambda: "is retired" in run.output(), "the notice about the worker")
            run.release()
            farm = run.end()
            output = run.output()

    assert f"The index at {run.work_dir / 'index'}" in output
    assert "paths.work_dir under the same path" in output
    assert farm["failed_attempts"] == farm["failed_attempts_configuration"] >= 1
    assert len(calls(run.ledger)) == CALLED
    assert published_bytes(run.work_dir) == expected


def test_scale_needs_an_active_run(tmp_path: Path) -> None:
    refused = enrich_dist("cluster", "scale", "3", "--set", f"paths.work_dir={tmp_path}")

    assert refused.returncode == 1
    assert str(tmp_path) in refused.stderr
