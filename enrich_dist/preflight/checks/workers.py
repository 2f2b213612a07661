"""Whether the cluster is reachable and encrypted, and its workers run the same code and see the same files."""

from __future__ import annotations

import asyncio
import platform
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, Final, cast

from enrich_dist import __version__
from enrich_dist.core.owned_files import remove_created, write_new
from enrich_dist.core.tables import counted
from enrich_dist.errors import EnrichError
from enrich_dist.preflight.context import Fact, Outcome, PreflightContext, failed, passed, unknown, warning
from enrich_dist.runs.environment import source_digest

_DAY: Final = timedelta(days=1)
_EXPIRES_SOON: Final = 14 * _DAY
_VISIBLE_SECONDS: Final = 10.0  # a shared file system may show a new file only after some seconds
_MAX_SHOWN: Final = 3
_DRIVER_FILE: Final = "driver"
# A different version of these breaks the protocol of driver, scheduler and workers, or changes results.
_PACKAGES: Final = (
    "cloudpickle", "dask", "distributed", "duckdb", "msgpack", "numba", "numpy", "pyarrow", "rapidfuzz", "scipy"
)  # fmt: skip
# The scheduler runs none of our code, but must use the same protocol.
_SCHEDULER_PACKAGES: Final = ("python", "dask", "distributed", "cloudpickle", "msgpack")


def cluster_reachable(context: PreflightContext) -> Outcome:
    """Open the cluster as a run would (with one worker, where the run starts them), and check its address."""
    kind = context.settings.cluster.kind
    info = context.cluster().client.scheduler_info(n_workers=-1)
    address, workers = str(info["address"]), len(info["workers"])
    encrypted = address.startswith("tls://")
    facts: dict[str, Fact] = {"kind": kind, "address": address, "workers": workers, "tls": encrypted}
    found = f"The scheduler at {address} has {counted(workers, 'worker')}"
    if kind == "local":
        return passed(f"{found}, all on the loopback interface.", facts)
    if not encrypted:
        return failed(f"{found}, but uses no TLS.", facts)
    if certificate := context.settings.cluster.tls.cert_file:
        from cryptography import x509

        left = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc - context.now
        if left < _EXPIRES_SOON:
            return warning(
                f"{found} and uses TLS, but the certificate of this machine expires in {left / _DAY:.0f} days.",
                facts,
                remedy="Make new certificates for scheduler, workers and clients.",
            )
    return passed(f"{found} and uses TLS.", facts)


def workers_alike(context: PreflightContext) -> Outcome:
    """Compare each worker's versions, view of the work directory and index with the driver's."""
    try:
        client = context.cluster().client
    except EnrichError:
        return unknown("The cluster is not reachable.")
    try:
        _, index = context.planned()
    except EnrichError as error:
        return unknown(f"The index could not be built: {error.message}")
    folder = context.directory.readiness / f"probe-{uuid.uuid4().hex[:12]}"
    token = uuid.uuid4().hex
    folder.mkdir(parents=True)
    folder.chmod(0o777)  # workers may run as another user
    try:
        write_new(folder / _DRIVER_FILE, token.encode("utf-8"))
        # In a thread: a large index takes seconds, and the worker must answer the scheduler meanwhile.
        answers = client.run(asyncio.to_thread, _probe, folder, token, index, on_error="return")
        scheduler = cast("Any", client.get_versions())["scheduler"]["packages"]
        scheduler["python"] = ".".join(str(scheduler.get("python")).split(".")[:2])
        differing = _differing(scheduler, _SCHEDULER_PACKAGES)
        problems = [f"The scheduler has other versions: {differing}"] if differing else []
        for worker, answer in sorted(answers.items()):
            problems += [f"{worker} {problem}" for problem in _problems(answer, folder, token, index)]
    finally:
        remove_created(folder)
    facts: dict[str, Fact] = {"workers": len(answers), "problems": len(problems)}
    facts |= {f"version {name}": version for name, version in _versions().items()}
    if problems:
        more = f"; and {len(problems) - _MAX_SHOWN} more" if len(problems) > _MAX_SHOWN else ""
        return failed("; ".join(problems[:_MAX_SHOWN]) + more + ".", facts)
    root = context.directory.root
    return passed(f"All {len(answers)} workers have the driver's versions, see {root} and read the index.", facts)


def _problems(answer: Any, folder: Path, token: str, index: Path) -> list[str]:
    """Return the problems of a worker by its answer, which is an exception where the probe failed."""
    from enrich_dist.store.artifacts import open_unverified

    if not isinstance(answer, Mapping):
        error = f"{type(answer).__name__}: {answer}".splitlines()[0]
        return [f"cannot run this version's code ({error})"]
    problems = []
    if differing := _differing(answer["versions"], tuple(_versions())):
        problems.append(f"has other versions: {differing}")
    root = folder.parents[1]
    if "problem" in answer:
        problems.append(f"on {answer['host']} does not see the driver's {root}: {answer['problem']}")
    elif not _becomes_visible(folder / answer["written"], token):
        problems.append(f"on {answer['host']} writes to another {root} than the driver's")
    if "index_problem" in answer:
        problems.append(f"cannot read the index: {answer['index_problem']}")
    elif answer.get("index_digest") != open_unverified(index).content_digest:
        problems.append("reads another index than the driver's")
    return problems


def _becomes_visible(path: Path, token: str) -> bool:
    """Wait until the file has that content; return whether it does."""
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            if path.read_text("utf-8") == token:
                return True
        time.sleep(0.2)
    return False


def _differing(theirs: Mapping[str, Any], packages: tuple[str, ...]) -> str:
    own = _versions()
    return ", ".join(
        f"{name} {theirs.get(name)} (driver: {own[name]})" for name in packages if theirs.get(name) != own[name]
    )


def _versions() -> dict[str, str]:
    """Return the versions of this process by package name, without packages that are not installed."""
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "enrich_dist": __version__}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return {**found, "enrich_dist files": source_digest()[:12]}


def _probe(directory: Path, token: str, index: Path) -> dict[str, Any]:
    """Report, from a worker: ``host``, ``versions``, ``written`` (its file in ``directory``) and ``index_digest``.

    In place of the last two, ``problem`` or ``index_problem`` where they failed. Creates no directory: one on the
    worker's own disk would hide that the driver's is not mounted.
    """
    found: dict[str, Any] = {"host": platform.node(), "versions": _versions()}
    try:
        if (directory / _DRIVER_FILE).read_text("utf-8") != token:
            found["problem"] = "its file there has other content"
        name = f"worker-{uuid.uuid4().hex[:12]}"
        write_new(directory / name, token.encode("utf-8"))
        found["written"] = name
    except OSError as error:
        found["problem"] = f"it is not usable: {error.strerror or error}"
    try:
        from enrich_dist.matching.index import open_index
        from enrich_dist.store.artifacts import open_verified

        found["index_digest"] = open_verified(index).content_digest
        open_index(index)
    except (EnrichError, OSError, ValueError) as error:
        found["index_problem"] = str(error)
    return found
