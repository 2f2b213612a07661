"""What a worker reports to the preflight: its versions, and whether it sees the work directory and reads the index.

Runs on the worker and imports little there. It writes one file into the driver's directory, and never creates a
directory: one on the worker's own disk would hide that the driver's directory is not mounted.
"""

from __future__ import annotations

import platform
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from enrich_dist import __version__
from enrich_dist.errors import EnrichError
from enrich_dist.runs.environment import source_digest

DRIVER_FILE: Final = "driver"
# A different version of these breaks the protocol of driver, scheduler and workers, or changes results.
_PACKAGES: Final = (
    "cloudpickle", "dask", "distributed", "duckdb", "msgpack", "numba", "numpy", "pyarrow", "rapidfuzz", "scipy"
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of this process by package name, without packages that are not installed."""
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "enrich_dist": __version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "enrich_dist files": source_digest()[:12]}


def probe_worker(directory: Path, token: str, index: Path) -> dict[str, Any]:
    """Return ``host``, ``versions``, ``written`` (the file it left in ``directory``) and ``index_digest``; in place of
    the last two, ``problem`` or ``index_problem`` where they failed."""
    found: dict[str, Any] = {"host": platform.node(), "versions": versions()}
    try:
        if (directory / DRIVER_FILE).read_text("utf-8") != token:
            found["problem"] = "its file there has other content"
        name = f"worker-{uuid.uuid4().hex[:12]}"
        (directory / name).write_text(token, "utf-8")
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
