"""The known case on another kind of cluster, compared with the local cluster of the tests."""

from __future__ import annotations

import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client

from enrich_dist.core.files import read_json
from tests.conftest import enrich_dist, run_steps
from tests.support.hosts import Certificates
from tests.support.known_case import settings, write_inputs
from tests.support.published import published_bytes


@dataclass(frozen=True)
class RunOnCluster:
    """``expected``: published bytes of the local cluster."""

    ended: subprocess.CompletedProcess[str]
    work_dir: Path
    expected: dict[str, str]

    def records(self) -> list[dict[str, Any]]:
        """Return the records of the checkpoints."""
        return [read_json(path) for path in (self.work_dir / "checkpoints").glob("[0-9a-f]*.json")]

    def published(self) -> dict[str, str]:
        """Return the published bytes."""
        return published_bytes(self.work_dir)


def run_on_cluster(folder: Path, client: Client, cluster: str, **environment: str) -> RunOnCluster:
    """Run with TLS; ``cluster``: the settings section ``cluster`` as YAML."""
    here = settings(folder / "here")
    run_steps(here, lambda: client)
    awards, recipients = write_inputs(folder / "inputs")
    config = folder / "cluster.yaml"
    certificates = ", ".join(f"{name}: {path}" for name, path in Certificates(folder / "certs").settings().items())
    config.write_text(
        f"""
inputs: {{awards: {awards}, recipients: {recipients}}}
paths: {{work_dir: {folder / "there"}}}
chunk_size: 10
match_rate_threshold: 0.5
memory_threshold_mb: 700
cluster:
  start_timeout_seconds: 240
  tls: {{{certificates}}}
"""
        + textwrap.indent(textwrap.dedent(cluster), "  "),
        "utf-8",
    )
    ended = enrich_dist("run", "--config", config, **environment)
    return RunOnCluster(ended, folder / "there", published_bytes(here.paths.work_dir))
