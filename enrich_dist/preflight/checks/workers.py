"""Whether the cluster is reachable and encrypted, and its workers run the same code and see the same files."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import Any, Final, cast

from enrich_dist.errors import EnrichError
from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Fact, Outcome, failed, passed, unknown, warning
from enrich_dist.preflight.readiness_file import readiness_folder
from enrich_dist.preflight.worker_probe import DRIVER_FILE, probe_worker, versions

_EXPIRES_SOON_DAYS: Final = 14
_VISIBLE_SECONDS: Final = 10.0  # a shared file system may show a new file only after some seconds
_MAX_SHOWN: Final = 3
# The scheduler runs none of our code, but must use the same protocol.
_SCHEDULER_PACKAGES: Final = ("python", "dask", "distributed", "cloudpickle", "msgpack")


def cluster_reachable(context: PreflightContext) -> Outcome:
    """Open the cluster as a run would (with one worker, where the run starts them), and check its address."""
    kind = context.settings.cluster.kind
    info = context.cluster().client.scheduler_info(n_workers=-1)
    address, workers = str(info["address"]), len(info["workers"])
    encrypted = address.startswith("tls://")
    facts: dict[str, Fact] = {"kind": kind, "address": address, "workers": workers, "tls": encrypted}
    found = f"The scheduler at {address} has {workers} worker{'' if workers == 1 else 's'}"
    if kind == "local":
        return passed(f"{found}, all on the loopback interface.", facts)
    if not encrypted:
        return failed(f"{found}, but uses no TLS.", facts)
    days = _days_valid(context.settings.cluster.tls.cert_file, context)
    if days is not None and days < _EXPIRES_SOON_DAYS:
        return warning(
            f"{found} and uses TLS, but the certificate of this machine expires in {days:.0f} days.",
            facts,
            remedy="Make new certificates for scheduler, workers and clients.",
        )
    return passed(f"{found} and uses TLS.", facts)


def _days_valid(certificate: Path | None, context: PreflightContext) -> float | None:
    from cryptography import x509

    if certificate is None:
        return None
    ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    return (ends - context.now.astimezone(UTC)).total_seconds() / 86_400


def workers_alike(context: PreflightContext) -> Outcome:
    """Compare each worker's versions, view of the work directory and index with the driver's."""
    try:
        client = context.cluster().client
    except EnrichError:
        return unknown("The cluster is not reachable.")
    try:
        index = context.planned().index
    except EnrichError as error:
        return unknown(f"The index could not be built: {error.message}")
    folder = readiness_folder(context.directory.root) / f"probe-{uuid.uuid4().hex[:12]}"
    token = uuid.uuid4().hex
    folder.mkdir(parents=True)
    folder.chmod(0o777)  # workers may run as another user
    try:
        (folder / DRIVER_FILE).write_text(token, "utf-8")
        # In a thread: a large index takes seconds, and the worker must answer the scheduler meanwhile.
        answers = client.run(asyncio.to_thread, probe_worker, folder, token, index, on_error="return")
        problems = _scheduler_problems(cast("Any", client.get_versions())["scheduler"])
        for worker, answer in sorted(answers.items()):
            problems += [f"{worker} {problem}" for problem in _problems(answer, folder, token, index)]
    finally:
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        folder.rmdir()
    facts: dict[str, Fact] = {
        "workers": len(answers),
        "problems": len(problems),
        **{f"version {name}": version for name, version in versions().items()},
    }
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
    if differing := _differing(answer["versions"], tuple(versions())):
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
    """Wait until the file exists; return whether it has that content."""
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            if path.read_text("utf-8") == token:
                return True
        time.sleep(0.2)
    return False


def _scheduler_problems(scheduler: Mapping[str, Any]) -> list[str]:
    theirs = dict(scheduler["packages"])
    theirs["python"] = ".".join(str(theirs.get("python") or "").split(".")[:2])
    differing = _differing(theirs, _SCHEDULER_PACKAGES)
    return [f"The scheduler has other versions: {differing}"] if differing else []


def _differing(theirs: Mapping[str, Any], packages: tuple[str, ...]) -> str:
    own = versions()
    return ", ".join(
        f"{name} {theirs.get(name)} (driver: {own[name]})" for name in packages if theirs.get(name) != own[name]
    )
