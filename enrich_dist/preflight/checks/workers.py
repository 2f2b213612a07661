"""Is the cluster there, encrypted, and do its workers run the same code and see the same files?"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Final, cast

from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Fact, Outcome, failed, passed, unknown, warning
from enrich_dist.preflight.readiness_file import readiness_folder
from enrich_dist.preflight.worker_probe import DRIVER_FILE, look, versions

_EXPIRES_SOON_DAYS: Final = 14
_SEEN_SECONDS: Final = 10.0  # a shared file system may show a new file only after some seconds
_SHOWN: Final = 3
# The scheduler runs none of our code, but must speak the same language.
_OF_SCHEDULER: Final = ("python", "dask", "distributed", "cloudpickle", "msgpack")


def cluster_reachable(context: PreflightContext) -> Outcome:
    """Open the cluster as a run would (with one worker, where the run starts them) and look at its address."""
    from enrich_dist.errors import EnrichError

    kind = context.settings.cluster.kind
    try:
        client = context.cluster().client
    except EnrichError as error:
        return failed(error.message, remedy=error.remedy)
    known = client.scheduler_info(n_workers=-1)
    address, workers = str(known["address"]), len(known["workers"])
    encrypted = address.startswith("tls://")
    facts: dict[str, Fact] = {"kind": kind, "address": address, "workers": workers, "tls": encrypted}
    here = f"The scheduler at {address} answers and has {workers} worker{'' if workers == 1 else 's'}"
    if kind == "local":
        return passed(f"{here}, all on this machine's loopback.", facts=facts)
    if not encrypted:
        return failed(f"{here}, but without TLS.", facts=facts)
    days = _days_left(context.settings.cluster.tls.cert_file, context)
    if days is not None and days < _EXPIRES_SOON_DAYS:
        return warning(
            f"{here}, over TLS, but the certificate here ends in {days:.0f} days.",
            remedy="Make new certificates for scheduler, workers and clients.",
            facts=facts,
        )
    return passed(f"{here}, over TLS.", facts=facts)


def _days_left(certificate: Path | None, context: PreflightContext) -> float | None:
    from cryptography import x509

    if certificate is None:
        return None
    ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    return (ends - context.now.astimezone(UTC)).total_seconds() / 86_400


def workers_alike(context: PreflightContext) -> Outcome:
    """Have each worker tell its versions, write beside a file of the driver's, and open the index of the run's plan."""
    from enrich_dist.errors import EnrichError

    try:
        client = context.cluster().client
    except EnrichError:
        return unknown("There is no cluster to ask.")
    try:
        index = context.planned().index
    except EnrichError as error:
        return unknown(f"There is no index to be read: {error.message}")
    folder = readiness_folder(context.directory.root) / f"probe-{uuid.uuid4().hex[:12]}"
    token = uuid.uuid4().hex
    folder.mkdir(parents=True)
    folder.chmod(0o777)  # workers may be another user
    try:
        (folder / DRIVER_FILE).write_text(token, "utf-8")
        answers = client.run(look, str(folder), token, str(index), on_error="return")
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
        **{f"version {k}": v for k, v in versions().items()},
    }
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        return failed("; ".join(problems[:_SHOWN]) + more + ".", facts=facts)
    return passed(
        f"All {len(answers)} have the driver's versions, see {context.directory.root} and read the index.",
        facts=facts,
    )


def _problems(answer: Any, folder: Path, token: str, index: Path) -> list[str]:
    """What is wrong with a worker, by its answer; the error that it answered with where it could not run the probe."""
    from enrich_dist.store.artifacts import open_unverified

    if not isinstance(answer, Mapping):
        what = f"{type(answer).__name__}: {answer}".splitlines()[0]
        return [f"cannot run this version's code ({what})"]
    own, problems = versions(), []
    differing = [
        f"{name} {answer['versions'].get(name, 'none')} (driver: {own[name]})"
        for name in own
        if answer["versions"].get(name) != own[name]
    ]
    if differing:
        problems.append(f"has other versions: {', '.join(differing)}")
    if "problem" in answer:
        problems.append(f"on {answer['host']} does not see {folder.parents[1]} as the driver does: {answer['problem']}")
    elif not _comes(folder / answer["written"], token):
        problems.append(f"on {answer['host']} wrote into another {folder.parents[1]} than the driver's")
    if "index_problem" in answer:
        problems.append(f"cannot read the index: {answer['index_problem']}")
    elif answer.get("index_digest") != open_unverified(index).content_digest:
        problems.append("reads another index than the driver's")
    return problems


def _comes(path: Path, token: str) -> bool:
    """Whether the file is there with that content, now or soon."""
    deadline = time.monotonic() + _SEEN_SECONDS
    while True:
        try:
            if path.read_text("utf-8") == token:
                return True
        except FileNotFoundError:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)


def _scheduler_problems(told: Mapping[str, Any]) -> list[str]:
    own = versions()
    theirs = dict(told["packages"])
    theirs["python"] = ".".join(str(theirs.get("python") or "").split(".")[:2])
    differing = [
        f"{name} {theirs.get(name)} (driver: {own[name]})" for name in _OF_SCHEDULER if theirs.get(name) != own[name]
    ]
    return [f"The scheduler has other versions: {', '.join(differing)}"] if differing else []
