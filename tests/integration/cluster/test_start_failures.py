"""A cluster that does not start: the error has the engine's own cause, and the settings of the machine behind it."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from enrich_dist.cluster import local
from enrich_dist.cluster.certificates import temporary_security
from enrich_dist.cluster.client import open_client
from enrich_dist.errors import EXIT_BAD_INPUT, FarmError
from enrich_dist.settings import Settings
from tests.conftest import enrich_dist

pytestmark = pytest.mark.cluster
SAMPLE = ["run", "--config", "config/sample.yaml", "--work-dir"]
# What a site may set for its own clusters, and what would end ours.
SITE = """
distributed:
  comm: {require-encryption: true, default-scheme: tcp, tls: {ciphers: none, ca-file: /missing, min-version: 1.3}}
  scheduler: {idle-timeout: 1s, worker-ttl: 1s, preload: [missing_module], blocked-handlers: [identity]}
  worker: {preload: [missing_module], lifetime: {duration: 2s}, memory: {terminate: 0.01}}
  nanny: {preload: [missing_module]}
temporary-directory: /missing/directory
"""


class BrokenWorker(local.LocalWorker):
    """A worker that cannot start."""

    async def start_unsafe(self) -> None:
        """Fail."""
        raise PermissionError(13, "not allowed", "/shared/data")


def test_worker_sends_cause_to_nanny() -> None:
    async def start() -> None:
        async with BrokenWorker("tls://127.0.0.1:1", security=temporary_security()):
            pass

    with pytest.raises(FarmError) as raised:
        asyncio.run(start())

    assert pickle.loads(pickle.dumps(raised.value)).message == "PermissionError: [Errno 13] not allowed: '/shared/data'"


@pytest.mark.long
def test_cause_of_worker_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "LocalWorker", BrokenWorker)

    cause = r"did not start: PermissionError: \[Errno 13\] not allowed: '/shared/data'"
    with pytest.raises(FarmError, match=cause), open_client(Settings(), tmp_path):
        pass

    assert "Traceback" not in capfd.readouterr().err


def test_setting_of_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dask.yaml").write_text("distributed: {comm: {require-encryption: true}}")
    with LocalCluster(n_workers=0, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None) as there:
        cluster = {"kind": "address", "address": there.scheduler_address, "allow_insecure": True}
        monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
        with (
            dask.config.set({"distributed.comm.require-encryption": True}),
            pytest.raises(FarmError, match="encryption") as raised,
            open_client(Settings(cluster=cluster), tmp_path),
        ):
            pass

    assert "distributed.comm.require-encryption" in str(raised.value.remedy)


@pytest.mark.long
def test_configuration_of_machine_does_not_break_a_run(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)

    done = enrich_dist(
        *SAMPLE, tmp_path / "work", DASK_CONFIG=str(tmp_path), DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT="1ms"
    )

    assert done.returncode == 0, done.stderr
    for name in ("scheduler.idle-timeout", "comm.require-encryption", "nanny.preload", "scheduler.no-workers-timeout"):
        assert f"distributed.{name}" in done.stderr


def test_malformed_configuration_of_machine_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("distributed: [")

    done = enrich_dist(*SAMPLE, tmp_path / "work", DASK_CONFIG=str(tmp_path))

    assert done.returncode == EXIT_BAD_INPUT
    assert str(tmp_path / "site.yaml") in done.stderr
