"""Disk space of a work directory by purpose, and removal of what only older runs need.

A run needs the artifacts that its record names, and the release of its result. The latest ones and the published
release are always kept. Only complete artifacts are removed, file by file as their manifest lists them. Does not cover
checkpoints (``enrich-dist checkpoints gc``) and the run history, which stays.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from enrich_dist.errors import CorruptionError
from enrich_dist.runs.journal import read_runs
from enrich_dist.runs.records import published_release
from enrich_dist.store.artifacts import discard, open_unverified
from enrich_dist.store.run_directory import RunDirectory

# Results before releases: a release consists of hard links, which count once.
_ARTIFACTS = ("awards", "companies", "index", "chunks", "results", "published")
_OTHERS = ("checkpoints", "scratch", "dagster", "benchmarks", "steps", "attempts")


@dataclass(frozen=True)
class Space:
    """Space of one directory of the work directory.

    ``items``, ``bytes``: all of it; ``removable``, ``removable_bytes``: artifacts that only older runs need. A file
    with several hard links counts once in the whole report, at its first name.
    """

    name: str
    items: int
    bytes: int
    removable: tuple[Path, ...] = ()
    removable_bytes: int = 0


def measure_space(directory: RunDirectory, keep: int | None) -> tuple[Space, ...]:
    """Return the space by directory. ``keep``: number of latest runs to keep, None for all of them."""
    needed = None if keep is None else _needed(directory, keep)
    seen: set[tuple[int, int]] = set()
    found = []
    for name in _ARTIFACTS:
        sizes = {path: _size(path, seen) for path in _children(directory.root / name)}
        removable = tuple(path for path in sizes if needed is not None and path not in needed and _is_artifact(path))
        found.append(Space(name, len(sizes), sum(sizes.values()), removable, sum(sizes[path] for path in removable)))
    for name in _OTHERS:
        path = directory.root / name
        found.append(Space(name, sum(1 for _ in _children(path)), _size(path, seen)))
    return tuple(found)


def removable(found: Sequence[Space]) -> list[Path]:
    """Return all artifacts that only older runs need."""
    return [path for space in found for path in space.removable]


def prune(directory: RunDirectory, keep: int) -> tuple[Space, ...]:
    """Remove the artifacts that none of the ``keep`` latest runs needs; return what was found before.

    Call it only while holding the lock. An artifact with foreign files keeps those.
    """
    found = measure_space(directory, keep)
    for path in removable(found):
        discard(path)
    return found


def _needed(directory: RunDirectory, keep: int) -> set[Path]:
    """Return the artifacts of the latest runs, of the latest steps, and the published release."""
    runs = read_runs(directory)[-keep:]
    steps = [*(step for run in runs for step in run.steps.values()), *directory.all_latest().values()]
    releases = {*(run.release for run in runs), published_release(directory) or ""} - {""}
    results = {directory.results / run.result for run in runs}
    return (
        {Path(path) for step in steps for path in step.paths.values()}
        | results
        | {directory.published / release for release in releases}
    )


def _children(path: Path) -> Iterator[Path]:
    """Yield the entries of a directory that are no symbolic links."""
    if path.is_dir() and not path.is_symlink():
        yield from (child for child in sorted(path.iterdir()) if not child.is_symlink())


def _is_artifact(path: Path) -> bool:
    try:
        open_unverified(path)
    except (CorruptionError, OSError):
        return False
    return True


def _size(path: Path, seen: set[tuple[int, int]]) -> int:
    """Return the bytes of a file or of all files below a directory, without links and files already ``seen``."""
    try:
        found = path.lstat()
    except FileNotFoundError:  # removed meanwhile
        return 0
    if stat.S_ISDIR(found.st_mode):
        return sum(_size(child, seen) for child in _children(path))
    inode = (found.st_dev, found.st_ino)
    if not stat.S_ISREG(found.st_mode) or inode in seen:
        return 0
    seen.add(inode)
    return found.st_size
