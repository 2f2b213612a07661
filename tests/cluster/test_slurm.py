"""The job on workers that Slurm starts, over TLS: Slurm's own daemons, and ``cluster.kind=slurm``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from enrich_dist.files import read_json
from tests.cluster.hosts import Certificates, wait_until
from tests.cluster.slurm import no_slurm, slurm
from tests.conftest import REPOSITORY, enrich_dist, run_steps
from tests.known import settings, write_inputs
from tests.published import published_bytes

_NONE = no_slurm()
pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.skipif(_NONE is not None, reason=_NONE or "")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with slurm(tmp_path_factory.mktemp("slurm") / "daemons") as found:
        yield {**found, "PYTHONPATH": str(REPOSITORY)}


def test_a_run_on_slurm_publishes_the_same_bytes(tmp_path: Path, environment: dict[str, str], client: Client) -> None:
    here = settings(tmp_path / "here")
    run_steps(here, lambda: client)
    awards, recipients = write_inputs(tmp_path / "inputs")
    config = tmp_path / "slurm.yaml"
    config.write_text(
        f"""
inputs: {{awards: {awards}, recipients: {recipients}}}
paths: {{work_dir: {tmp_path / "there"}}}
chunk_size: 10
match_rate_threshold: 0.5
memory_threshold_mb: 700
cluster:
  kind: slurm
  n_workers: 2
  start_timeout_seconds: 240
  tls: {{{", ".join(f"{name}: {path}" for name, path in Certificates(tmp_path / "certs").settings().items())}}}
  options:
    queue: test
    walltime: "00:30:00"
    log_directory: {tmp_path / "logs"}
    local_directory: {tmp_path}
    scheduler_options: {{host: 127.0.0.1}}
""",
        "utf-8",
    )

    there = enrich_dist("run", "--config", config, **environment)

    logs = "\n".join(path.read_text("utf-8", errors="replace")[-2000:] for path in (tmp_path / "logs").glob("*"))
    assert there.returncode == 0, f"{there.stderr}\n{logs}"
    assert published_bytes(tmp_path / "there") == published_bytes(here.paths.work_dir)
    farm = read_json(tmp_path / "there" / "steps" / "chunk_matches.json")
    assert farm["numbers"]["chunks_computed"] == 6
    assert "SLURMCluster-" in farm["tables"]["memory per worker"]
    assert "tls://127.0.0.1:" in logs
    records = [read_json(path) for path in (tmp_path / "there" / "checkpoints").glob("[0-9a-f]*.json")]
    assert {record["memory_limit_bytes"] for record in records} == {700_000_000}
    # The jobs end with the run.
    wait_until(lambda: _jobs(environment) == "", "the queue to be empty")


def _jobs(environment: dict[str, str]) -> str:
    asked = subprocess.run(["squeue", "--noheader"], env={**os.environ, **environment}, capture_output=True, text=True,
                           check=True, timeout=60)  # fmt: skip
    return asked.stdout.strip()
