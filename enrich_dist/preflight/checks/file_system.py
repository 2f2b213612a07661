"""Whether the file systems of a run can do what it relies on, tried out in a temporary directory within a second.

Releases need symbolic links and the renaming over an existing one. Without hard links they are copies, so those are not
required. Does not measure speed, nor whether other machines see the same files (``workers``).
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from enrich_dist.core.files import sync_directory, sync_file
from enrich_dist.core.owned_files import link_or_copy, remove_created, replace, replace_link, temporary_name, write_new
from enrich_dist.errors import SettingsError
from enrich_dist.remedies import FREE_SPACE
from enrich_dist.settings import Settings
from enrich_dist.store.lock import try_lock
from enrich_dist.store.run_directory import RunDirectory

_LONGEST_NAME: Final = 100  # of a checkpoint, an attempt or Dagster's history
_LONGEST_INNER_PATH: Final = 200  # below the work directory
_MIN_FREE_BYTES: Final = 16_000_000  # no run gets along with less
_MIN_DESCRIPTORS: Final = 96  # measured: 2 local workers need between 116 and 128, 4 between 144 and 168
_DESCRIPTORS_PER_WORKER: Final = 16
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
_MOVE: Final = "Set it to a directory on a local disk or a cluster file system."


def check_file_systems(settings: Settings) -> None:
    """Raise ``SettingsError`` for the first thing that is missing where the run writes."""
    directory = RunDirectory(settings.paths.work_dir)
    _probe("paths.work_dir", directory.root, with_links=True)
    directory.check_links()
    if directory.published.is_symlink():  # to another file system
        _probe("paths.work_dir", directory.published, with_links=True)
    if settings.paths.checkpoints is not None and "://" not in settings.paths.checkpoints:
        _probe("paths.checkpoints", Path(settings.paths.checkpoints).absolute(), with_links=False)
    _check_descriptors(settings.cluster.n_workers if settings.cluster.kind == "local" else 0)


def has_hard_links(directory: Path) -> bool:
    """Return whether an existing directory's file system has hard links."""
    probe = directory / temporary_name()
    try:
        probe.mkdir()
        write_new(probe / "a", b"")
        link_or_copy(probe / "a", probe / "b", mode=0o600)
        return (probe / "b").samefile(probe / "a")
    finally:
        remove_created(probe)


def _probe(key: str, directory: Path, *, with_links: bool) -> None:
    existing = next(parent for parent in (directory, *directory.parents) if os.path.lexists(parent))
    if not existing.is_dir():
        raise SettingsError(f"{key}: {existing} is not a directory.", remedy="Set it to a directory.")
    longest = max(len(os.fsencode(part)) for part in directory.parts)
    length, limits = len(os.fsencode(directory)), [os.pathconf(existing, f"PC_{name}_MAX") for name in ("NAME", "PATH")]
    if longest > limits[0] or length + _LONGEST_INNER_PATH > limits[1]:
        raise SettingsError(f"{key}: the path {directory} is too long.", remedy="Set it to a shorter path.")
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < _MIN_FREE_BYTES:
        raise SettingsError(f"{key}: {existing} has only {free_bytes / 1e6:,.1f} MB free.", remedy=FREE_SPACE)
    probe = existing / temporary_name()
    try:
        for what, action in _actions(probe, with_links=with_links):
            try:
                action()
            except (OSError, NotImplementedError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                remedy = FREE_SPACE if getattr(error, "errno", None) in _NO_SPACE else _MOVE
                raise SettingsError(f"{key}: in {existing}, {what} failed: {reason}.", remedy=remedy) from error
    finally:
        remove_created(probe)


def _actions(probe: Path, *, with_links: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    one, two = probe / "one", probe / "two"
    yield "creating a directory", probe.mkdir
    yield "writing a file", lambda: write_new(one, b"1")
    yield "synchronising a file (fsync)", lambda: sync_file(one)
    yield "synchronising a directory (fsync)", lambda: sync_directory(probe)
    yield "writing a file", lambda: write_new(two, b"2")
    yield "renaming over an existing file", lambda: replace(two, one)
    yield "locking a file", lambda: try_lock(probe)
    yield f"a name of {_LONGEST_NAME} characters", lambda: write_new(probe / ("n" * _LONGEST_NAME), b"")
    if with_links:
        for target in ("one", "two"):
            yield "making a symbolic link", partial(replace_link, probe / "current", target)


def _check_descriptors(workers: int) -> None:
    """Raise the soft limit of open files to what the run needs; workers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _MIN_DESCRIPTORS + _DESCRIPTORS_PER_WORKER * workers
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SettingsError(
            f"A process may open only {hard} files (ulimit -n); this run needs {needed}.",
            remedy=f"Run `ulimit -n {needed}` first, or ask your administrator for a higher limit.",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
