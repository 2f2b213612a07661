"""The one module that deletes, replaces and overwrites files: only those that this project made.

What proves it: a temporary name of ours, a name that the caller recognises in a directory of ours, or a beginning that
only our outputs have. Nothing is deleted through a symbolic link, nor is a link, a directory or a special file replaced
by an output. New files are created exclusively. Does not cover writers of Parquet and DuckDB: they get the path of a
new file or directory from here (``core.files.atomic_path``, ``store.artifacts``).
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, Final

from enrich_dist.errors import SettingsError

TEMPORARY_PREFIX: Final = ".tmp-"
_TEMPORARY: Final = re.compile(re.escape(TEMPORARY_PREFIX) + r"[0-9a-f]{12}(\.\w+)?")
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_BEGINNING_BYTES: Final = 4096


def temporary_name(suffix: str = "") -> str:
    """Return a new temporary name; short, as the final name may be near the file system's limit."""
    return f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}{suffix}"


def is_temporary(name: str) -> bool:
    """Return whether ``temporary_name`` made the name."""
    return _TEMPORARY.fullmatch(name) is not None


def open_new(path: Path, *, mode: int = 0o666) -> BinaryIO:
    """Open a new file for writing. Raises ``FileExistsError``, also for a symbolic link to nowhere."""
    return os.fdopen(os.open(path, _NEW, mode), "wb")


def write_new(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a new file as ``open_new`` opens it."""
    with open_new(path, mode=mode) as handle:
        handle.write(data)


def append(path: Path, text: str) -> None:
    """Append to a file in a directory of ours. Raises ``OSError`` for a symbolic link."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)


def open_new_log(path: Path) -> IO[str]:
    """Open a log in a directory of ours; it replaces the earlier one, and each line is written at once."""
    remove_file(path)
    return os.fdopen(os.open(path, _NEW, 0o666), "w", buffering=1, encoding="utf-8")


def replace(temporary: Path, final: Path) -> None:
    """Rename a complete temporary file or directory to its final name; a symbolic link of that name is replaced, not
    followed."""
    temporary.replace(final)


def replace_link(link: Path, target: str) -> None:
    """Point a symbolic link to ``target`` atomically. Raises ``FileExistsError`` for another entry of its name."""
    if os.path.lexists(link) and not link.is_symlink():
        raise FileExistsError(f"{link} is not a symbolic link")
    temporary = link.parent / temporary_name()
    temporary.symlink_to(target)
    try:
        temporary.replace(link)
    except OSError:
        temporary.unlink()
        raise


def copy_new(source: Path, target: Path) -> None:
    """Copy the content to a new file."""
    with source.open("rb") as reader, open_new(target) as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)


def link_or_copy(source: Path, target: Path, *, mode: int) -> None:
    """Create ``target`` as a hard link, or as a copy across file systems and where links are refused."""
    try:
        target.hardlink_to(source)
        target.chmod(mode)
    except OSError:
        target.unlink(missing_ok=True)
        copy_new(source, target)
        target.chmod(mode)


def remove_created(path: Path) -> None:
    """Remove what this process created under a new name: a file, or a directory with all it contains."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_file(path: Path) -> None:
    """Remove a regular file under a name of ours; leave anything else of that name."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISREG(path.lstat().st_mode):
            path.unlink()


def remove_files(directory: Path, is_ours: Callable[[str], bool]) -> None:
    """Remove the regular files of a directory whose name is ours. Leave links and directories. Do nothing where there
    is no directory, or where it is a symbolic link."""
    with _entries(directory) as (descriptor, names):
        for name in filter(is_ours, names):
            if stat.S_ISREG(_mode(name, descriptor)):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)


def remove_temporaries(directory: Path) -> None:
    """Remove files, directories and links (not their targets) under temporary names, which killed processes left; see
    ``remove_files``."""
    remove_files(directory, is_temporary)
    with _entries(directory) as (descriptor, names):
        for name in filter(is_temporary, names):
            mode = _mode(name, descriptor)
            if stat.S_ISDIR(mode):
                shutil.rmtree(name, ignore_errors=True, dir_fd=descriptor)
            elif stat.S_ISLNK(mode):  # a release was to become the current one
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)


def remove_empty(directory: Path) -> bool:
    """Remove a directory if it is empty; return whether it is gone."""
    try:
        directory.rmdir()
    except OSError:
        return not os.path.lexists(directory)
    return True


@contextmanager
def _entries(directory: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield a directory's descriptor and names; no names where it is missing or a symbolic link."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        yield -1, []
        return
    try:
        yield descriptor, os.listdir(descriptor)  # noqa: PTH208
    finally:
        os.close(descriptor)


def _mode(name: str, descriptor: int) -> int:
    """Return the mode of a directory's entry, 0 if there is none."""
    try:
        return os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0


def begins_with(*beginnings: str) -> Callable[[Path], bool]:
    """Return a test whether a file begins with one of the texts."""
    expected = tuple(text.encode("utf-8") for text in beginnings)

    def test(path: Path) -> bool:
        with path.open("rb") as handle:
            return handle.read(_BEGINNING_BYTES).startswith(expected)

    return test


def require_replaceable(
    path: Path, *, option: str, is_ours: Callable[[Path], bool], inputs: Iterable[Path] = ()
) -> None:
    """Raise ``SettingsError`` unless an output may be written to ``path``, which ``option`` names.

    It may where nothing is, and over an empty file or one that an earlier call wrote (``is_ours``), unless it is one of
    the ``inputs`` under any name.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    problem = None
    if stat.S_ISLNK(found.st_mode):
        problem = "is a symbolic link"
    elif stat.S_ISDIR(found.st_mode):
        problem = "is a directory"
    elif not stat.S_ISREG(found.st_mode):
        problem = "is no regular file"
    elif any(_same_file(found, other) for other in inputs):
        problem = "is an input"
    elif not found.st_mode & 0o222:
        problem = "is read-only"
    elif found.st_size and not is_ours(path):
        problem = "exists, and this command did not write it"
    if problem:
        raise SettingsError(f"{option}: {path} {problem}.", remedy="Choose another name, or remove it first.")


def _same_file(found: os.stat_result, other: Path) -> bool:
    try:
        return os.path.samestat(found, other.stat())
    except OSError:
        return False
