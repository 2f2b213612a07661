"""How the workers of a local cluster are started: forked from one process that has imported and loaded all they need.

A worker started from nothing imports for seconds, and so does each one that replaces a lost worker; forked, it is there
in moments, and the workers share the memory of what was imported. Covers the fork server of ``multiprocessing``, a
process of its own that runs no thread, so that forking it is safe. Where the system has none, workers are started from
nothing. Does not cover workers that others start (``dask worker``).
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from enrich_dist.core.matcher import MatchMemory

# One thread per worker; libraries must not start more behind its back. They read this when they are imported.
WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_IO_THREADS": "2"}
# What a forked worker holds less than one that was started from nothing: pages of libraries that it never touches, and
# memory that was only needed to load them. Measured by scripts/measure_memory.py; docs/explanation/memory.md has the
# table.
UNTOUCHED_BYTES: Final = 104_000_000
_METHOD = "forkserver"
_PRELOAD = "enrich_dist.cluster.preload"


def available() -> bool:
    """Whether this system can fork workers."""
    return _METHOD in multiprocessing.get_all_start_methods()


def as_started(memory: MatchMemory, *, local: bool) -> MatchMemory:
    """What matching takes of a worker of ours (``local``: forked where the system can), or of others."""
    if not (local and available()):
        return memory
    return replace(memory, process_bytes=memory.process_bytes - UNTOUCHED_BYTES)


def begin() -> None:
    """Start the server, which then imports by itself while this process goes on. Does nothing where it runs already."""
    if available():
        multiprocessing.get_context(_METHOD).set_forkserver_preload([_PRELOAD])
        with _environment(WORKER_ENVIRONMENT):
            multiprocessing.forkserver.ensure_running()


@contextmanager
def forked_workers() -> Iterator[None]:
    """Have Dask's nannies fork their workers while the body runs."""
    import dask

    if not available():
        yield
        return
    begin()
    with dask.config.set({"distributed.worker.multiprocessing-method": _METHOD}):
        yield


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Have what is started during the body find the values in its environment."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
