"""A scheduler and workers started by Dask's own commands; the console script uses them by address."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from distributed import Client

from enrich_dist.files import read_json
from enrich_dist.settings import Settings
from tests.conftest import enrich_dist, run_steps
from tests.known import settings, write_inputs
from tests.published import published_bytes

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("scheduler")
    file = folder / "scheduler.json"
    dask = str(Path(sys.executable).with_name("dask"))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    with ExitStack() as stack:
        for arguments in (
            ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)],
            ["worker", "--scheduler-file", str(file), "--nthreads", "1", "--nworkers", "2", "--no-dashboard",
             "--host", "127.0.0.1"],
        ):  # fmt: skip
            process = stack.enter_context(subprocess.Popen([dask, *arguments], **quiet))  # type: ignore[call-overload]
            stack.callback(process.terminate)
            deadline = time.monotonic() + 60
            while not file.exists():
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with Client(scheduler_file=str(file)) as waiting:
            waiting.wait_for_workers(2, timeout=60)
            found = waiting.scheduler.address
        yield found


def test_the_console_script_works_on_it_and_publishes_the_same_bytes(
    tmp_path: Path, address: str, client: Client
) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    here = settings(tmp_path / "here", inputs=(awards, recipients))
    run_steps(here, lambda: client)
    home = tmp_path / "dagster_home"
    home.mkdir()

    there = enrich_dist(
        "run", "--work-dir", tmp_path / "there", "--chunk-size", "10", "--awards", awards, "--recipients", recipients,
        "--set", "match_rate_threshold=0.5", "--set", "cluster.kind=address", "--set", f"cluster.address={address}",
        DAGSTER_HOME=str(home),
    )  # fmt: skip

    assert there.returncode == 0, there.stderr
    assert published_bytes(tmp_path / "there") == published_bytes(here.paths.work_dir)
    assert (home / "history").is_dir()  # a DAGSTER_HOME of the user's own is respected
    assert not (tmp_path / "there" / "dagster").exists()
    farm = read_json(tmp_path / "there" / "steps" / "chunk_matches.json")
    assert farm["numbers"]["chunks_computed"] == 6
    assert "tcp://127.0.0.1" in farm["tables"]["memory per worker"]  # workers are named by their address


def test_no_scheduler_is_one_clear_line(tmp_path: Path) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")

    failed = enrich_dist(
        "run", "--work-dir", tmp_path / "w", "--awards", awards, "--recipients", recipients,
        "--set", "cluster.kind=address", "--set", "cluster.address=tcp://127.0.0.1:9",
        "--set", "cluster.start_timeout_seconds=2",
    )  # fmt: skip

    assert failed.returncode == 1
    [line] = [line for line in failed.stderr.splitlines() if line.startswith("Error:")]
    assert "The Dask cluster did not come up" in line
    assert "Check that a scheduler runs at tcp://127.0.0.1:9" in line
    assert "Traceback" not in failed.stderr


def test_a_local_cluster_listens_on_this_machine_only(client: Client) -> None:
    info = client.scheduler_info(n_workers=-1)

    assert info["address"].startswith("tcp://127.0.0.1:")
    assert all(worker.startswith("tcp://127.0.0.1:") for worker in info["workers"])


def test_memory_threshold_is_the_limit_of_a_local_worker(client: Client) -> None:
    limits = {item["memory_limit"] for item in client.scheduler_info(n_workers=-1)["workers"].values()}

    assert limits == {Settings().memory_threshold_mb * 1_000_000}


def test_one_thread_per_worker(client: Client) -> None:
    assert set(client.nthreads().values()) == {1}
