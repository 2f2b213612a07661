"""The job script on real Slurm daemons: a complete run, and one that is interrupted, requeued and resumed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enrich_dist.cluster.certificates import make_certificates
from enrich_dist.core.files import read_json
from enrich_dist.store.lock import read_holder
from tests.conftest import REPOSITORY
from tests.support.deploy_tools import DEPLOY
from tests.support.hosts import wait_until
from tests.support.known_case import write_inputs
from tests.support.slurm import no_slurm, slurm

_MISSING = no_slurm()
pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.skipif(_MISSING is not None, reason=_MISSING or "")]
SCRIPT = DEPLOY / "slurm" / "enrich-dist.sbatch"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    prefix = tmp_path_factory.mktemp("prefix")
    (prefix / "bin").mkdir()
    for program in (DEPLOY / "bin" / "enrich-dist-service", Path(sys.executable).with_name("enrich-dist")):
        (prefix / "bin" / program.name).symlink_to(program)
    with slurm(tmp_path_factory.mktemp("slurm") / "daemons") as found:
        yield {**os.environ, **found, "PYTHONPATH": str(REPOSITORY), "PREFIX": str(prefix)}


def submit(folder: Path, environment: dict[str, str]) -> str:
    """Submit the script for the known case in ``folder`` and return the job number."""
    awards, recipients = write_inputs(folder / "inputs")
    make_certificates(folder / "tls", valid_days=1)
    settings = {
        "inputs.awards": awards,
        "inputs.recipients": recipients,
        "paths.work_dir": folder / "work",
        "chunk_size": 10,
        "match_rate_threshold": 0.5,
        "memory_threshold_mb": 700,
        "cluster.n_workers": 2,
        "cluster.start_timeout_seconds": 120,
        "cluster.tls.ca_file": folder / "tls/ca.pem",
        "cluster.tls.cert_file": folder / "tls/worker.pem",
        "cluster.tls.key_file": folder / "tls/worker-key.pem",
        "cluster.options.queue": "test",
        "cluster.options.log_directory": folder / "logs",
        "cluster.options.scheduler_options": "{host: 127.0.0.1}",
    }
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    output = f"--output={folder}/enrich-dist.log"
    return run(environment, "sbatch", "--parsable", "--partition=test", output, str(SCRIPT), *overrides)


def run(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def job(environment: dict[str, str], number: str) -> dict[str, str]:
    """The job as Slurm shows it."""
    return dict(re.findall(r"(\S+?)=(\S*)", run(environment, "scontrol", "show", "job", number)))


def wait_for_end(folder: Path, environment: dict[str, str], number: str) -> dict[str, str]:
    """Wait until the job completes and return it."""
    final = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
    wait_until(lambda: job(environment, number)["JobState"] in final, "the job to end", seconds=240)
    found = job(environment, number)
    assert found["JobState"] == "COMPLETED", (folder / "enrich-dist.log").read_text("utf-8")[-5000:]
    return found


def test_job_publishes_a_result(tmp_path: Path, environment: dict[str, str]) -> None:
    number = submit(tmp_path, environment)
    wait_for_end(tmp_path, environment, number)

    current = tmp_path / "work" / "published" / "current"
    assert read_json(current / "verdict.json")["status"] == "passed"
    farm = read_json(tmp_path / "work" / "steps" / "chunk_matches.json")
    assert "SLURMCluster-" in farm["tables"]["memory per worker"]  # workers are further jobs, as the settings specify


def test_job_resumes_after_its_time(tmp_path: Path, environment: dict[str, str]) -> None:
    number = submit(tmp_path, environment)
    wait_until(lambda: read_holder(tmp_path / "work") is not None, "the run")
    # Slurm sends this five minutes before the end (--signal=B:USR1@300).
    run(environment, "scancel", "--batch", "--signal=USR1", number)
    wait_until(lambda: job(environment, number)["Restarts"] == "1", "the job to be requeued", seconds=120)
    wait_until(lambda: job(environment, number)["JobState"] == "PENDING", "the job to be in the queue", seconds=120)
    assert not (tmp_path / "work" / "published" / "current").exists()
    time.sleep(2)  # a node distinguishes the credentials of a job by the second
    run(environment, "scontrol", "update", f"JobId={number}", "StartTime=now")  # Slurm would wait for two minutes

    wait_for_end(tmp_path, environment, number)

    assert read_json(tmp_path / "work" / "published" / "current" / "verdict.json")["status"] == "passed"
    assert "Requeueing the job" in (tmp_path / "enrich-dist.log").read_text("utf-8")
