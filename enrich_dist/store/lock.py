"""The lock of a work directory: one run at a time.

The operating system releases the lock when its holder dies, so it is never stale. A JSON file names the holder. Works
on every file system with POSIX locks, such as NFS version 4 and cluster file systems. Does not prevent reading.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from enrich_dist.core.files import read_json, write_json
from enrich_dist.core.owned_files import remove_file
from enrich_dist.errors import BusyError, CorruptionError, StateError

LOCK_FILE = "lock"
HOLDER_FILE = "lock.json"
# ``read_holder`` holds the lock for a moment.
_TIMEOUT_SECONDS = 1.0


@contextmanager
def locked(work_dir: Path, *, run_id: str, what: str) -> Iterator[None]:
    """Lock the work directory while the body runs. The run that holds the lock may take it again.

    Raises ``BusyError``, which names the holder, when another run holds it.
    """
    if work_dir.exists() and not work_dir.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(work_dir))
    work_dir.mkdir(parents=True, exist_ok=True)
    lock = _lock(work_dir)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if _holder(work_dir).get("run_id") == run_id:
            yield  # the same run, nested
            return
        try:
            lock.acquire(timeout=_TIMEOUT_SECONDS)
        except Timeout as error:
            who, holder = "another process", _holder(work_dir)
            if holder:
                who = f"'{holder['what']}' (process {holder['pid']} on {holder['host']}, since {holder['since']})"
            raise BusyError(
                f"{work_dir} is in use by {who}.",
                remedy="Wait for it or stop it, or choose another work directory (--work-dir).",
            ) from error
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        process = {"host": socket.gethostname(), "pid": os.getpid()}
        write_json(work_dir / HOLDER_FILE, {"run_id": run_id, "what": what, "since": since, **process})
        yield
    finally:
        remove_file(work_dir / HOLDER_FILE)
        lock.release()


def read_holder(work_dir: Path) -> dict[str, Any] | None:
    """Return the process that holds the lock, None if it is free; the file of a dead holder does not count."""
    if not (work_dir / HOLDER_FILE).exists():
        return None
    try:
        probe = _lock(work_dir)
        probe.acquire(timeout=0)
    except (Timeout, OSError, StateError):  # held, or not writable, so that the file is all there is
        return _holder(work_dir) or None
    probe.release()
    return None


def try_lock(directory: Path) -> None:
    """Lock and release a file in a directory. Raises ``OSError`` or ``NotImplementedError`` if that does not work."""
    with FileLock(directory / LOCK_FILE, timeout=0):
        pass


def _lock(work_dir: Path) -> FileLock:
    path = work_dir / LOCK_FILE
    if os.path.lexists(path) and (not stat.S_ISREG(path.lstat().st_mode) or path.lstat().st_size):
        raise StateError(  # opening the lock truncates it
            f"{path} is not the lock of a work directory.", remedy="Choose another work directory (--work-dir)."
        )
    return FileLock(path, thread_local=False)


def _holder(work_dir: Path) -> dict[str, Any]:
    try:
        return read_json(work_dir / HOLDER_FILE)
    except (FileNotFoundError, CorruptionError):  # the holder is starting or ending
        return {}
