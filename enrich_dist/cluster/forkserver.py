"""Start of local workers: forked from one process that has imported their packages and compiled kernels.

A spawned worker spends seconds on imports, also when it replaces a lost worker. A forked worker is ready at once, and
shares the memory of what was imported. The fork server of ``multiprocessing`` is a process without threads, so it is
safe to fork. Where the system has none, workers are spawned. Does not cover workers started by ``dask worker``.
"""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.forkserver
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import resource_tracker
from typing import Any, Final

from enrich_dist.core.matcher import MatchMemory
from enrich_dist.events import Notice, emit

# One thread per worker: libraries read these when they are imported, and must not start more threads.
WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_IO_THREADS": "2"}
# Memory that a forked worker uses less than a spawned one: library pages that it never touches, and temporary memory of
# imports. Measured by scripts/measure_memory.py; docs/explanation/memory.md has the table.
UNTOUCHED_BYTES: Final = 104_000_000
_METHOD = "forkserver"
_PRELOAD = "enrich_dist.cluster.preload"


def available() -> bool:
    """Return whether this system can fork workers."""
    return _METHOD in multiprocessing.get_all_start_methods()


def memory_as_forked(memory: MatchMemory, *, local: bool) -> MatchMemory:
    """Return the memory that matching takes in a worker, less the saving of a fork if the worker is ``local``."""
    if not (local and available()):
        return memory
    return replace(memory, process_bytes=memory.process_bytes - UNTOUCHED_BYTES)


def begin() -> None:
    """Start the fork server, which imports in the background. Does nothing if it runs already."""
    if available():
        _keep_quiet_without_tracker()
        multiprocessing.get_context(_METHOD).set_forkserver_preload([_PRELOAD])
        resource_tracker.ensure_running()  # before: it unblocks signals
        # Ctrl-C reaches all processes of a terminal; this one must not answer it before it can ignore it (preload).
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _environment(WORKER_ENVIRONMENT):
                multiprocessing.forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def forked_workers() -> Iterator[None]:
    """Let Dask's nannies fork their workers while the body runs."""
    import dask

    if not available():
        yield
        return
    begin()
    with dask.config.set({"distributed.worker.multiprocessing-method": _METHOD}):
        yield


def _keep_quiet_without_tracker() -> None:
    """If Python's resource tracker is killed, go on without one.

    It removes semaphores of killed processes. Python starts another one, which knows none of them, and prints a
    traceback for each that is removed as usual.
    """
    tracker: Any = resource_tracker._resource_tracker
    is_alive = getattr(tracker, "_check_alive", None)
    if is_alive is None or hasattr(is_alive, "__wrapped__"):
        return

    @functools.wraps(is_alive)
    def check_alive() -> bool:
        if not is_alive():
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, tracker._fd)
            os.close(nowhere)
            emit(Notice("Python's resource tracker was killed; this run goes on without it.", warning=True))
        return True

    tracker._check_alive = check_alive


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes that the body starts."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values - before.keys():
            del os.environ[name]
        os.environ.update(before)
