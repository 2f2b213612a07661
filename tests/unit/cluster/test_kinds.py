"""Kinds of cluster: their configuration, and what is refused before work starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from dask_jobqueue import LSFCluster, PBSCluster, SLURMCluster
from dask_jobqueue.lsf import LSFJob
from dask_jobqueue.pbs import PBSJob
from dask_jobqueue.slurm import SLURMJob
from pydantic import ValidationError

from enrich_dist.cluster.certificates import make_certificates
from enrich_dist.cluster.kinds import KINDS, check_cluster, dask_config, machine_settings, resource_config
from enrich_dist.errors import SettingsError, StateError
from enrich_dist.settings import ClusterSettings, Settings

JOB_KINDS = ["slurm", "pbs", "lsf", "sge", "oar", "moab"]


def of_kind(kind: str, options: dict[str, Any] | None = None, **values: Any) -> Settings:
    cluster = {"kind": kind, "allow_insecure": True, "options": options or {}, **values}
    return Settings(cluster=cluster, memory_threshold_mb=700)


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Path]:
    make_certificates(tmp_path / "certs", valid_days=1)
    names = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client-key.pem"}
    return {name: tmp_path / "certs" / file for name, file in names.items()}


def test_settings_and_kinds_agree() -> None:
    names = set(ClusterSettings.model_fields["kind"].annotation.__args__)  # type: ignore[union-attr]
    assert names == set(KINDS) | {"address"}
    from dagster_dask.resources import DaskClusterTypes

    assert {kind.resource for kind in KINDS.values()} <= set(DaskClusterTypes)


@pytest.mark.parametrize("kind", [*JOB_KINDS, "kubernetes", "ssh"])
def test_remote_kind_requires_tls(kind: str) -> None:
    with pytest.raises(ValidationError, match=f"kind '{kind}' without TLS"):
        Settings(cluster={"kind": kind})


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "ucx://h:1", "ws://h:1", "inproc://x"])
def test_address_requires_tls(address: str, tls: dict[str, Path]) -> None:
    with pytest.raises(ValidationError, match="without TLS"):
        Settings(cluster={"kind": "address", "address": address})
    with pytest.raises(ValidationError, match="does not start with tls://"):
        Settings(cluster={"kind": "address", "address": address, "tls": tls})
    with pytest.raises(ValidationError, match=r"needs cluster\.tls\.ca_file"):
        Settings(cluster={"kind": "address", "address": "tls://h:1", "allow_insecure": True})
    assert Settings(cluster={"kind": "address", "address": "tls://h:1", "tls": tls}).cluster.tls.given


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tls": {"ca_file": "x"}}, "not set: cert_file and key_file"),
        ({"adaptive": {"minimum": 1}}, "needs both minimum and maximum"),
        ({"adaptive": {"minimum": 3, "maximum": 2}}, "adaptive.minimum 3 is above adaptive.maximum 2"),
        (
            {"kind": "address", "address": "tcp://h:1", "adaptive": {"minimum": 1, "maximum": 2}},
            "does not support adaptive scaling",
        ),
        ({"options": {"queue": "x"}}, "kind 'local' does not support cluster.options"),
        ({"kind": "kubernetes", "tls": {"ca_file": "a", "cert_file": "b", "key_file": "c"}}, "without TLS: remove"),
        ({"kind": "cloud"}, "Input should be 'local'"),
    ],
)
def test_contradicting_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(cluster=values)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            "slurm",
            {"quue": "short"},
            r"Unknown setting 'cluster.options.quue' for cluster.kind 'slurm'. Did you.*'queue'",
        ),
        ("slurm", {"memory": "4GB"}, "cluster.options.memory may not be set. Set memory_threshold_mb"),
        ("pbs", {"cores": 4}, "cluster.options.cores may not be set. Every worker has one core"),
        ("lsf", {"security": True}, "cluster.options.security may not be set. Set cluster.tls"),
        ("slurm", {"env_extra": []}, "It is now named job_script_prologue"),
        ("slurm", {"n_workers": 4}, "Set cluster.n_workers"),
        ("ssh", {"hosts": ["one"]}, "needs cluster.options.hosts"),
        ("ssh", {}, "needs cluster.options.hosts"),
        ("ssh", {"hosts": ["a", "b"], "worker_class": "x.Y"}, "A worker needs its nanny"),
        ("ssh", {"hosts": ["a", "b"], "user": "me"}, "Unknown setting 'cluster.options.user'"),
    ],
)
def test_wrong_option_has_a_remedy(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        check_cluster(of_kind(kind, options))


def test_check_keeps_signal_handlers() -> None:
    # In a new process, because only the first import replaces the handlers.
    code = (
        "import signal; from enrich_dist.cluster.kinds import check_cluster; from enrich_dist.settings import Settings;"
        "check_cluster(Settings(cluster={'kind': 'slurm', 'allow_insecure': True, 'options': {'queue': 'x'}}));"
        "import dask_jobqueue;"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler;"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_missing_package_is_named() -> None:
    with pytest.raises(SettingsError, match=r"needs the package dask-kubernetes.*pip install dask-kubernetes"):
        check_cluster(of_kind("kubernetes"))


def test_missing_certificate_is_named(tls: dict[str, Path]) -> None:
    tls["key_file"].unlink()
    with pytest.raises(SettingsError, match=r"cluster.tls.key_file: .*client-key.pem cannot be read"):
        check_cluster(Settings(cluster={"kind": "address", "address": "tls://h:1", "tls": tls}))


@pytest.mark.parametrize("kind", JOB_KINDS)
def test_common_options_are_accepted(kind: str) -> None:
    options = {"walltime": "01:00:00", "job_extra_directives": ["-x"], "python": "/usr/bin/python3", "shebang": "#!sh"}
    check_cluster(of_kind(kind, options))


@pytest.mark.parametrize(
    ("kind", "cluster_class", "job_class"),
    [("slurm", SLURMCluster, SLURMJob), ("pbs", PBSCluster, PBSJob), ("lsf", LSFCluster, LSFJob)],
)
@pytest.mark.setting("cluster.kind", "cluster.options")
def test_job_has_fixed_options(
    tmp_path: Path, tls: dict[str, Path], kind: str, cluster_class: type, job_class: type
) -> None:
    mine = {"queue": "short", "worker_extra_args": ["--memory-limit", "9GB"], "job_script_prologue": ["module load x"]}
    settings = of_kind(kind, mine, tls=tls, n_workers=3)
    check_cluster(settings)
    [(resource, options)] = resource_config(settings, tmp_path)["cluster"].items()
    assert KINDS[kind].resource == resource  # type: ignore[index]
    assert options["n_workers"] == 3
    assert options["log_directory"] == str(tmp_path)  # nothing is written outside the work directory
    own = {name: value for name, value in options.items() if name not in ("n_workers", "scheduler_options")}

    script = job_class("tls://scheduler:1", name="w", **own).job_script()

    [command] = [line for line in script.splitlines() if "dask_worker" in line]
    words = command.split()
    assert words[words.index("--nthreads") + 1] == "1"
    # Dask's commands use the last value of a repeated option.
    assert words[len(words) - words[::-1].index("--memory-limit")] == "700000000"
    assert words[words.index("--tls-key") + 1] == str(tls["key_file"])
    assert words[words.index("--protocol") + 1] == "tls://"
    assert "--nanny" in words
    assert "module load x" in script
    assert "short" in script
    [exported] = [line for line in script.splitlines() if "DASK_INTERNAL_INHERIT_CONFIG" in line]
    inherited = dask.config.deserialize(exported.partition("=")[2])
    assert dask.config.get("distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS", config=inherited) == "1"
    assert dask.config.get("distributed.comm.require-encryption", config=inherited) is True


def test_ssh_workers_have_fixed_options(tmp_path: Path) -> None:
    options = {"hosts": ["a", "b"], "worker_options": {"nthreads": 8, "memory_limit": "64GB", "death_timeout": 9}}

    [(resource, found)] = resource_config(of_kind("ssh", options), tmp_path)["cluster"].items()

    assert resource == "ssh"
    assert found["worker_options"]["nthreads"] == 1
    assert found["worker_options"]["memory_limit"] == 700_000_000
    assert found["worker_options"]["death_timeout"] == 9
    assert found["hosts"] == ["a", "b"]


def test_pods_have_fixed_options(tmp_path: Path) -> None:
    settings = of_kind("kubernetes", {"image": "mine", "env": {"A": "b"}}, n_workers=5)

    [(resource, found)] = resource_config(settings, tmp_path)["cluster"].items()

    assert resource == "kube"
    assert found["n_workers"] == 5
    assert found["image"] == "mine"
    assert found["env"]["A"] == "b"
    assert found["worker_command"] == ["dask", "worker", "--nthreads", "1", "--memory-limit", "700000000"]
    assert found["resources"]["limits"]["memory"] == "875000000"


def test_every_role_uses_tls(tls: dict[str, Path]) -> None:
    config = dask_config(Settings(cluster={"tls": tls}))

    for role in ("client", "scheduler", "worker"):
        assert config[f"distributed.comm.tls.{role}.key"] == str(tls["key_file"])
    assert config["distributed.comm.require-encryption"] is True
    assert "distributed.comm.require-encryption" not in dask_config(Settings())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write a Dask configuration of this machine."""
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    return lambda text: (tmp_path / "site.yaml").write_text(text) and None


def test_settings_of_machine_are_named(site: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__IDLE_TIMEOUT", "1s")
    site("distributed: {comm: {require_encryption: true}, worker: {daemon: true}, logging: {distributed: debug}}")

    assert machine_settings() == [
        "distributed.comm.require-encryption", "distributed.logging.distributed", "distributed.scheduler.idle-timeout",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("distributed.scheduler.idle-timeout", "1s"),
        ("distributed.scheduler.worker-ttl", "10ms"),
        ("distributed.scheduler.preload", ["missing"]),
        ("distributed.worker.preload", ["missing"]),
        ("distributed.nanny.preload", ["missing"]),
        ("distributed.worker.lifetime.duration", "1s"),
        ("distributed.worker.resources", {"GPU": 1}),
        ("distributed.comm.require-encryption", True),
        ("distributed.comm.default-scheme", "ucx"),
        ("distributed.comm.timeouts.connect", "1ms"),
        ("distributed.comm.tls.ciphers", "none"),
        ("distributed.comm.tls.ca-file", "missing"),
    ],
)
def test_local_cluster_ignores_configuration_of_machine(key: str, value: Any) -> None:
    default = dask_config(Settings())
    with dask.config.set({key: value}):
        assert dask_config(Settings()) == default
        with dask.config.set(default):
            assert dask.config.get(key) != value


def test_certificates_are_private_and_kept(tmp_path: Path) -> None:
    written = make_certificates(tmp_path, valid_days=1)
    before = {path: path.read_bytes() for path in written}

    assert len(written) == 8
    assert {path.name for path in written if path.stat().st_mode & 0o077 == 0} == {
        "ca-key.pem", "scheduler-key.pem", "worker-key.pem", "client-key.pem",
    }  # fmt: skip
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(StateError, match=r"ca-key.pem, scheduler.pem"):
        make_certificates(tmp_path, valid_days=1)
    assert not (tmp_path / "ca.pem").exists()
    assert all(path.read_bytes() == content for path, content in before.items() if path.exists())
