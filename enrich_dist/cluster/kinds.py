"""The kinds of cluster: for each, the configuration of ``dagster_dask.dask_resource`` that starts it.

A kind is a function from settings to configuration, and a row in ``KINDS``. Memory limit, one thread per worker and TLS
are set for every kind, whatever ``cluster.options`` says. ``check_cluster`` checks options, packages and certificates
before a run starts. Does not start anything (``client``).
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.config

from enrich_dist.cluster.forkserver import WORKER_ENVIRONMENT
from enrich_dist.errors import SettingsError
from enrich_dist.settings import ClusterKindName, Settings

DASK_CONFIG: Mapping[str, Any] = {
    # The farm retries the tasks of lost workers itself, and counts the attempts.
    "distributed.scheduler.allowed-failures": 0,
    # Results of tasks have a few hundred bytes: there is nothing to spill.
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in WORKER_ENVIRONMENT.items()},
}
# HTTP routes of scheduler and workers, and the name in the one that needs prometheus_client.
_PAGES = ("distributed.scheduler.http.routes", "distributed.worker.http.routes")
_METRICS = "prometheus"
# The variable by which Dask passes its configuration to processes on other machines.
_INHERITED = "DASK_INTERNAL_INHERIT_CONFIG"
_NO_DASHBOARD = "127.0.0.1:0"  # dashboards have no authentication, so they bind to localhost
_ENGINE = "distributed"


@dataclass(frozen=True)
class ClusterKind:
    """A kind of cluster that the run starts itself.

    ``resource``: its name in dagster-dask; ``options``: returns the arguments of its cluster class, the operator's
    options and those that are fixed; ``package``: contains ``module``; ``reserved``: options that operators may not
    set, each with what to set instead; ``scratch_option``: sets the directory of its own files, by default the current
    one; ``further_module``: also required, and named like its package.
    """

    resource: str
    options: Callable[[Settings], dict[str, Any]]
    module: str
    package: str
    cluster_class: str
    reserved: Mapping[str, str]
    scratch_option: str | None = None
    further_module: str | None = None


def dask_config(settings: Settings) -> dict[str, Any]:
    """Return the Dask configuration of driver, scheduler and workers, including certificates, by dotted key.

    A local cluster starts from Dask's defaults, so that the configuration of this machine for other clusters, such as
    an idle timeout, cannot break it.
    """
    monitored, local = settings.monitoring.port is not None, settings.cluster.kind == "local"
    config = dict(DASK_CONFIG)
    if local:
        config = {_ENGINE: deepcopy(_defaults())} | config
        pages = {key: [page for page in dask.config.get(key, config=config) if _METRICS in page] for key in _PAGES}
        config |= pages if monitored else {key: [] for key in _PAGES}
    elif not monitored:  # saves an import in every process
        config |= {key: [page for page in dask.config.get(key, []) if _METRICS not in page] for key in _PAGES}
    if files := _tls_files(settings):
        ca, cert, key = files
        config |= {
            "distributed.comm.tls.ca-file": ca,
            "distributed.comm.require-encryption": True,
            "distributed.comm.default-scheme": "tls",
        }
        for role in ("client", "scheduler", "worker"):  # one certificate: Dask only checks that the CA signed it
            config |= {f"distributed.comm.tls.{role}.cert": cert, f"distributed.comm.tls.{role}.key": key}
    return config


def machine_settings() -> list[str]:
    """Return the settings of Dask's engine that Dask's files and ``DASK_…`` variables change on this machine."""
    default = _flat({_ENGINE: _defaults()})
    changed = _flat({_ENGINE: dask.config.collect(dask.config.paths).get(_ENGINE, {})})
    return sorted(key for key, value in changed.items() if value != {} and default.get(key) != value)


def _defaults() -> dict[str, Any]:
    import distributed  # noqa: F401  # adds its defaults

    merged: dict[str, Any] = dask.config.merge(*dask.config.defaults)[_ENGINE]
    return merged


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by dotted key; Dask reads "_" in a name as "-"."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}".replace("_", "-")
        found |= _flat(value, f"{key}.") if isinstance(value, Mapping) and value else {key: value}
    return found


def _tls_files(settings: Settings) -> list[str]:
    """Return the paths of CA, certificate and key; empty without TLS."""
    tls = settings.cluster.tls
    return [str(path.absolute()) for path in (tls.ca_file, tls.cert_file, tls.key_file) if path is not None]


def resource_config(settings: Settings, scratch: Path) -> dict[str, Any]:
    """Return the configuration of ``dagster_dask.dask_resource`` for the settings."""
    cluster = settings.cluster
    client = {"timeout": max(1, round(cluster.start_timeout_seconds)), "set_as_default": False}
    if cluster.kind == "address":
        return {"client": {**client, "address": cluster.address}}
    kind = KINDS[cluster.kind]
    options = kind.options(settings)
    if kind.scratch_option:
        options.setdefault(kind.scratch_option, str(scratch))
    return {"cluster": {kind.resource: options}, "client": client}


def check_cluster(settings: Settings) -> None:
    """Raise ``SettingsError`` if a certificate, package or option does not allow the cluster to start."""
    cluster = settings.cluster
    for name, path in cluster.tls:
        if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
            raise SettingsError(
                f"cluster.tls.{name}: {path} cannot be read.",
                remedy="`enrich-dist cluster certs DIR` makes certificates.",
            )
    if cluster.kind in ("local", "address"):
        return
    kind = KINDS[cluster.kind]
    for module, package in ((kind.module, kind.package), (kind.further_module, kind.further_module)):
        if module and importlib.util.find_spec(module.partition(".")[0]) is None:
            raise SettingsError(
                f"cluster.kind '{cluster.kind}' needs the package {package}, which is not installed.",
                remedy=f"Install it here: pip install {package}",
            )
    for key in cluster.options.keys() & kind.reserved.keys():
        raise SettingsError(f"cluster.options.{key} may not be set.", remedy=kind.reserved[key])
    known = _parameters(kind) - kind.reserved.keys()
    for key in cluster.options:
        if key not in known:
            close = difflib.get_close_matches(key, sorted(known), n=1)
            raise SettingsError(
                f"Unknown setting 'cluster.options.{key}' for cluster.kind '{cluster.kind}'.",
                remedy=f"Did you mean '{close[0]}'?" if close else f"It takes: {', '.join(sorted(known))}.",
            )
    if cluster.kind == "ssh" and len(cluster.options.get("hosts") or []) < 2:
        raise SettingsError(
            "cluster.kind 'ssh' needs cluster.options.hosts.",
            remedy="List the scheduler's host first, then a host for each worker.",
        )


def register_kinds() -> None:
    """Name our local cluster, and the cluster class that moved since the release of dagster-dask."""
    from dagster_dask import resources

    for name in ("local", "kubernetes"):
        kind = KINDS[name]
        resources.DaskClusterTypes[kind.resource] |= {"module": kind.module, "class": kind.cluster_class}


def _parameters(kind: ClusterKind) -> set[str]:
    """Return the named parameters of the cluster class, and of the job class that takes its other arguments."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        cluster_class = getattr(importlib.import_module(kind.module), kind.cluster_class)
    finally:  # importing dask-jobqueue replaces the handlers
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
    sources: list[Any] = [cluster_class]
    if inspect.isclass(cluster_class):
        job_class = getattr(cluster_class, "job_cls", None)
        sources = [*cluster_class.__mro__, *(job_class.__mro__ if job_class else ())]
        # Skip Dask's own base classes, which operators do not configure.
        sources = [
            item.__init__ for item in sources if not item.__module__.startswith(("distributed", "builtins", "abc"))
        ]
    parameters = [item for source in sources for item in inspect.signature(source).parameters.values()]
    return {item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)} - {"self"}


def _memory_limit_bytes(settings: Settings) -> int:
    return settings.memory_threshold_mb * 1_000_000


def _local(settings: Settings) -> dict[str, Any]:
    return {"n_workers": _first_workers(settings), "memory_limit": _memory_limit_bytes(settings)}


def _ssh(settings: Settings) -> dict[str, Any]:
    options = dict(settings.cluster.options)
    worker = {"nthreads": 1, "memory_limit": _memory_limit_bytes(settings)}
    return {
        **options,
        "worker_options": {"dashboard_address": _NO_DASHBOARD, **options.get("worker_options", {}), **worker},
        "scheduler_options": {"port": 0, "dashboard_address": _NO_DASHBOARD, **options.get("scheduler_options", {})},
    }


def _jobs(settings: Settings) -> dict[str, Any]:
    """One job per worker, by dask-jobqueue."""
    options = dict(settings.cluster.options)
    limit_bytes = _memory_limit_bytes(settings)
    # Dask uses the last --memory-limit; the one of the job script is rounded.
    arguments = ["--dashboard-address", _NO_DASHBOARD, *options.get("worker_extra_args", [])]
    arguments += ["--memory-limit", str(limit_bytes)]
    if files := _tls_files(settings):
        options["protocol"] = "tls://"
        for name, path in zip(("--tls-ca-file", "--tls-cert", "--tls-key"), files, strict=True):
            arguments += [name, path]
    prologue = [*options.get("job_script_prologue", []), f"export {_INHERITED}={_inherited(settings)}"]
    return {
        **options,
        "n_workers": _first_workers(settings),
        "cores": 1,
        "processes": 1,
        "memory": f"{limit_bytes} B",
        "python": options.get("python", sys.executable),
        "worker_extra_args": arguments,
        "job_script_prologue": prologue,
        "scheduler_options": {"dashboard_address": _NO_DASHBOARD, **options.get("scheduler_options", {})},
    }


def _kubernetes(settings: Settings) -> dict[str, Any]:
    """Pods, by the Dask operator of the Kubernetes cluster in the current kubectl context."""
    options = dict(settings.cluster.options)
    limit_bytes = _memory_limit_bytes(settings)
    environment = {**options.get("env", {}), _INHERITED: _inherited(settings)}
    # The pod gets more memory than the worker, so that the nanny acts, and logs why, before the kernel does.
    resources = {"requests": {"cpu": "1", "memory": str(limit_bytes)}, "limits": {"memory": str(limit_bytes * 5 // 4)}}
    return {
        **options,
        "n_workers": _first_workers(settings),
        "env": environment,
        "resources": resources,
        "worker_command": ["dask", "worker", "--nthreads", "1", "--memory-limit", str(limit_bytes)],
    }


def _first_workers(settings: Settings) -> int:
    return settings.cluster.adaptive.minimum or settings.cluster.n_workers


def _inherited(settings: Settings) -> str:
    config: dict[str, Any] = {}
    dask.config.set(dask_config(settings), config=config)
    return str(dask.config.serialize(config))


def _reserved(**other: str) -> dict[str, str]:
    workers = "Set cluster.n_workers, or cluster.adaptive."
    ours = "It is set by enrich_dist."
    return {"n_workers": workers, "asynchronous": ours, "loop": ours, "silence_logs": ours, "security": _TLS} | other


_MEMORY = "Set memory_threshold_mb: it is the memory limit of every worker."
_THREAD = "Every worker has one core and one thread; set cluster.n_workers for more of them."
_TLS = "Set cluster.tls.ca_file, cert_file and key_file."
_JOBS_RESERVED = _reserved(
    cores=_THREAD, processes=_THREAD, memory=_MEMORY, nanny="A worker needs its nanny.", protocol=_TLS,
    **dict.fromkeys(("job_cls", "scheduler_cls", "worker_command", "scheduler", "name"), "It is set by enrich_dist."),
    **{old: f"It is now named {new}." for old, new in {
        "extra": "worker_extra_args", "job_extra": "job_extra_directives", "env_extra": "job_script_prologue",
        "header_skip": "job_directives_skip", "project": "account"}.items()},
    host="Set it in scheduler_options.", dashboard_address="Set it in scheduler_options.",
)  # fmt: skip


def _job_kind(resource: str, cluster_class: str, *, renamed_project: bool = False) -> ClusterKind:
    reserved = {name: why for name, why in _JOBS_RESERVED.items() if name != "project" or renamed_project}
    return ClusterKind(resource, _jobs, "dask_jobqueue", "dask-jobqueue", cluster_class, reserved, "log_directory")


KINDS: Mapping[ClusterKindName, ClusterKind] = {
    "local": ClusterKind(
        "local", _local, "enrich_dist.cluster.local", "distributed", "LocalCluster", {}, "local_directory"
    ),
    "ssh": ClusterKind(
        "ssh", _ssh, "distributed", "distributed", "SSHCluster",
        _reserved(n_workers="List a host for each worker in hosts.", worker_class="A worker needs its nanny.",
                  kwargs="It is set by enrich_dist."),
        further_module="asyncssh",
    ),
    "slurm": _job_kind("slurm", "SLURMCluster", renamed_project=True),
    "pbs": _job_kind("pbs", "PBSCluster", renamed_project=True),
    "lsf": _job_kind("lsf", "LSFCluster"),
    "sge": _job_kind("sge", "SGECluster"),
    "oar": _job_kind("oar", "OARCluster"),
    "moab": _job_kind("moab", "MoabCluster", renamed_project=True),
    "kubernetes": ClusterKind(
        "kube", _kubernetes, "dask_kubernetes.operator", "dask-kubernetes", "KubeCluster",
        _reserved(resources=_MEMORY, worker_command=_THREAD, shutdown_on_close="Pods end with the run."),
    ),
}  # fmt: skip
