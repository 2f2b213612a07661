"""The job on workers of a real Slurm, over TLS (``cluster.kind=slurm``)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from enrich_dist.core.files import read_json
from tests.conftest import REPOSITORY, run_steps
from tests.integration.cluster.test_scaling import CALLED, PacedRun, scale
from tests.support.hosts import wait_until
from tests.support.known_case import settings
from tests.support.paced import calls
from tests.support.published import published_bytes
from tests.support.run_on_cluster import run_on_cluster
from tests.support.slurm import no_slurm, slurm

_NONE = no_slurm()
pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.skipif(_NONE is not None, reason=_NONE or "")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with slurm(tmp_path_factory.mktemp("slurm") / "daemons") as found:
        yield {**found, "PYTHONPATH": str(REPOSITORY)}


def test_slurm_publishes_same_bytes(tmp_path: Path, environment: dict[str, str], client: Client) -> None:
    there = run_on_cluster(
        tmp_path,
        client,
        f"""
        kind: slurm
        n_workers: 2
        options:
          queue: test
          walltime: "00:30:00"
          local_directory: {tmp_path}
          scheduler_options: {{host: 127.0.0.1}}
        """,
        **environment,
    )

    logs = "\n".join(
        path.read_text("utf-8", errors="replace")[-2000:]
        for path in (there.work_dir / "scratch" / "dask").glob("*.err")
    )
    assert there.ended.returncode == 0, f"{there.ended.stderr}\n{logs}"
    assert there.published() == there.expected
    farm = read_json(there.work_dir / "steps" / "chunk_matches.json")
    assert farm["numbers"]["chunks_computed"] == 6
    assert "SLURMCluster-" in farm["tables"]["memory per worker"]
    assert "tls://127.0.0.1:" in logs
    assert {record["memory_limit_bytes"] for record in there.records()} == {700_000_000}
    # The jobs end with the run.
    wait_until(lambda: _jobs(environment) == "", "the queue to be empty")


def test_scale_adds_and_ends_jobs(
    tmp_path: Path, environment: dict[str, str], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = settings(tmp_path / "here")
    run_steps(here, lambda: client)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    options = f"{{queue: test, local_directory: {tmp_path}, scheduler_options: {{host: 127.0.0.1}}}}"
    run = PacedRun(
        tmp_path, "cluster.kind=slurm", "cluster.allow_insecure=true", "cluster.n_workers=1",
        "memory_threshold_mb=700", f"cluster.options={options}",
    )  # fmt: skip
    with run.running():
        run.hold()
        run.wait(lambda: calls(run.ledger), "the first chunk")
        up = scale(run, 2)
        run.wait(lambda: len(run.active_processes()) == 2, "a chunk on each of two jobs")
        down = scale(run, 1)
        run.release()
        farm = run.end()

    assert up.returncode == 0, up.stderr
    assert down.returncode == 0, down.stderr
    assert published_bytes(run.work_dir) == published_bytes(here.paths.work_dir)
    assert farm["failed_attempts"] == 0
    assert len(calls(run.ledger)) == CALLED + 1  # the task in flight on the retired worker
    assert "cluster.allow_insecure" in run.output()


def _jobs(environment: dict[str, str]) -> str:
    squeue = subprocess.run(["squeue", "--noheader"], env={**os.environ, **environment}, capture_output=True, text=True,
                           check=True, timeout=60)  # fmt: skip
    return squeue.stdout.strip()
