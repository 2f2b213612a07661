"""More and fewer workers while a run works, by the command and by the work that is left: the bytes stay the same."""

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
CALLED = 27  # the one row of the last chunk was rejected: nothing is matched there


class PacedRun:
    """A run in a process of its own, whose chunks are held back while the test wants."""

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

    def processes_at_work(self) -> set[str]:
        return {process for _, process in calls(self.ledger)}

    def in_flight(self) -> int:
        return len(list((self.work_dir / "attempts").glob("*.running.json")))

    def wait(self, condition, what: str) -> None:
        def ended_or() -> bool:
            assert self.process.poll() is None, f"the run ended:\n{self.said()}"
            return bool(condition())

        wait_until(ended_or, f"{what}; the run said:\n{self.said()}", seconds=240)

    def said(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def end(self) -> dict[str, int]:
        """Wait for the end; return the numbers of the farm."""
        self.process.wait(timeout=300)
        assert self.process.returncode == 0, self.said()
        return read_json(self.work_dir / "steps" / "chunk_matches.json")["numbers"]


def scale(run: PacedRun, workers: int) -> subprocess.CompletedProcess[str]:
    return enrich_dist("cluster", "scale", str(workers), "--set", f"paths.work_dir={run.work_dir}", "--timeout", "240")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, client: Client) -> dict[str, str]:
    run = settings(tmp_path_factory.mktemp("undisturbed"))
    run_steps(run, lambda: client)
    return published_bytes(run.paths.work_dir)


@pytest.mark.long
def test_one_worker_then_three_then_one_and_nothing_is_lost(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    run = PacedRun(tmp_path, "cluster.n_workers=1")
    with run.running():
        run.hold()
        run.wait(lambda: calls(run.ledger), "the first chunk")
        note = run.work_dir / CLUSTER_FILE
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        assert len(read_json(note)["workers"]) == 1

        up = scale(run, 3)
        assert up.returncode == 0, up.stderr
        assert up.stdout.startswith("3 workers at tcp://127.0.0.1:")
        run.wait(lambda: len(run.processes_at_work()) == 3, "chunks on all three workers")
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

    assert published_bytes(run.work_dir) == undisturbed
    assert farm["failed_attempts"] == 0
    assert farm["chunks_computed"] == CHUNKS
    again = Counter(row for row, _ in calls(run.ledger))
    assert len(again) == CALLED
    assert set(before.values()) == {1}
    # What was in flight on the two that left, and nothing else.
    assert sum(again.values()) == CALLED + 2
    assert max(again.values()) == 2
    assert not note.exists()
    assert not (run.work_dir / REQUEST_FILE).exists()


@pytest.mark.long
def test_a_cluster_follows_the_work_within_its_bounds(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    run = PacedRun(tmp_path, "cluster.adaptive.minimum=1", "cluster.adaptive.maximum=3")
    with run.running():
        run.hold()
        run.wait(lambda: len(run.processes_at_work()) == 3, "three workers, as work is left for more")
        refused = scale(run, 2)
        run.release()
        farm = run.end()

    assert refused.returncode == 1
    assert "It holds between 1 and 3 workers, as work is left (cluster.adaptive)" in refused.stderr
    assert published_bytes(run.work_dir) == undisturbed
    assert farm["failed_attempts"] == 0


@pytest.mark.long
def test_the_workers_of_others_are_scaled_by_them_and_join_or_leave_at_any_time(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
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
            run.wait(lambda: len(run.processes_at_work()) == 2, "a chunk on the late worker")
            processes.processes["early"].terminate()  # as its operator ends a worker: it leaves gracefully
            processes.processes["early"].wait(timeout=60)
            run.release()
            farm = run.end()

    assert refused.returncode == 1
    assert f"Start further workers with `dask worker {processes.address}`" in refused.stderr
    assert published_bytes(run.work_dir) == undisturbed
    assert farm["chunks_computed"] == CHUNKS
    assert len({row for row, _ in calls(run.ledger)}) == CALLED


_NO_MOUNTS = no_mounts()


@pytest.mark.long
@pytest.mark.skipif(_NO_MOUNTS is not None, reason=_NO_MOUNTS or "")
def test_a_late_worker_that_does_not_see_the_index_is_sent_away_and_the_run_goes_on(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    with DaskProcesses(tmp_path / "dask", Host()) as processes:
        processes.start_worker("early")
        run = PacedRun(
            tmp_path, "cluster.kind=address", f"cluster.address={processes.address}", "cluster.allow_insecure=true"
        )
        with run.running():
            run.wait(lambda: len(calls(run.ledger)) >= 2, "the first chunks")
            run.hold()
            processes.start_worker("blind", Host(hidden=run.work_dir / "index"))
            run.wait(lambda: "takes no more work" in run.said(), "a word on the worker")
            run.release()
            farm = run.end()
            said = run.said()

    assert f"The index at {run.work_dir / 'index'}" in said
    assert "Check that every worker sees paths.work_dir under the same path" in said
    assert farm["failed_attempts"] == farm["failed_attempts_configuration"] >= 1
    assert len(calls(run.ledger)) == CALLED
    assert published_bytes(run.work_dir) == undisturbed


def test_without_a_run_there_is_nothing_to_scale(tmp_path: Path) -> None:
    refused = enrich_dist("cluster", "scale", "3", "--set", f"paths.work_dir={tmp_path}")

    assert refused.returncode == 1
    assert f"No run is under way in {tmp_path}" in refused.stderr
