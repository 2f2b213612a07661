"""What is asked of a worker: its versions, whether it sees the work directory, whether it can read the index.

Runs on the worker, by Dask, and imports little there. Writes one file into the directory that the driver has made for
it; makes no directory, as one that is made on a worker's own disk would hide that it is not the driver's.
"""

from __future__ import annotations

import asyncio
import platform
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from enrich_dist import __version__
from enrich_dist.errors import EnrichError
from enrich_dist.runs.revision import source_digest

DRIVER_FILE: Final = "driver"
# Of which a difference breaks the talk between driver, scheduler and workers, or changes results.
PACKAGES: Final = (
    "cloudpickle", "dask", "distributed", "duckdb", "msgpack", "numba", "numpy", "pyarrow", "rapidfuzz", "scipy"
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of this process, by name; of a package that is not there none."""
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "enrich_dist": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "enrich_dist files": source_digest()[:12]}


async def look(directory: str, token: str, index: str | None) -> dict[str, Any]:
    """What a worker sees. In a thread, as a large index takes seconds and the scheduler must be answered meanwhile."""
    return await asyncio.to_thread(see, Path(directory), token, None if index is None else Path(index))


def see(directory: Path, token: str, index: Path | None) -> dict[str, Any]:
    """``host``, ``versions``; ``written``: the name of the file that was left in ``directory``; ``index_digest``; and
    under ``problem`` or ``index_problem`` what keeps it from either."""
    found: dict[str, Any] = {"host": platform.node(), "versions": versions()}
    try:
        if (directory / DRIVER_FILE).read_text("utf-8") != token:
            found["problem"] = "reads something else there than the driver wrote"
        name = f"worker-{uuid.uuid4().hex[:12]}"
        (directory / name).write_text(token, "utf-8")
        found["written"] = name
    except OSError as error:
        found["problem"] = f"cannot use it: {error.strerror or error}"
    if index is not None:
        try:
            from enrich_dist.matching.index import open_index
            from enrich_dist.store.artifacts import open_verified

            found["index_digest"] = open_verified(index).content_digest
            open_index(index)
        except (EnrichError, OSError, ValueError) as error:
            found["index_problem"] = str(error)
    return found
