"""The files of a location: one file, a folder of part files, or the files that match a pattern, in the order of their
names.

A name that exists is never a pattern. Of a folder, files that engines write next to the parts (``_SUCCESS``, ``.crc``,
hidden files) are ignored; folders within it are refused, as their names may hold values that the files lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from enrich_dist.core.files import text_digest
from enrich_dist.errors import SourceError
from enrich_dist.sources.source_file import SourceFile, as_file, reading

_PATTERN: Final = frozenset("*?[")
_MAX_FILES: Final = 10_000


class PartFiles:
    """The files of a location, at least one. ``str()`` is the location as it is given."""

    def __init__(self, location: str | Path | SourceFile) -> None:
        whole = as_file(location)
        self.location = whole.location
        self.files = tuple(_files(whole))

    def __str__(self) -> str:
        return self.location

    def digest(self) -> str:
        """Return the digest of the file's bytes, or that of all digests in their order. Raises ``SourceError``."""
        digests = [file.digest() for file in self.files]
        return digests[0] if len(digests) == 1 else text_digest("parts", *digests)


def _files(location: SourceFile) -> Sequence[SourceFile]:
    path = location.path
    if path is None or path.is_file():
        return [location]
    if path.is_dir():
        return _parts(path)
    if _PATTERN.isdisjoint(str(path)) or path.exists():
        return [location]
    with reading(location):
        root = Path(path.anchor)
        found = sorted(name for name in root.glob(str(path.relative_to(root))) if name.is_file())
    return _within_limit([SourceFile(name) for name in found if not _is_bookkeeping(name)], location, "pattern")


def _parts(folder: Path) -> Sequence[SourceFile]:
    with reading(folder):
        entries = sorted(entry for entry in folder.iterdir() if not _is_bookkeeping(entry))
        inner = next((entry for entry in entries if entry.is_dir()), None)
    if inner is not None:
        column, is_partition, _ = inner.name.partition("=")
        problem = f"is a folder with the folder {inner.name} in it"
        if is_partition:
            problem += f": the values of {column} are in names of folders, not in the files"
        remedy = f"If the files have all columns, name them with a pattern: {folder}/**/*{_suffix(inner)}"
        raise SourceError(f"{problem}.", path=folder, remedy=remedy)
    return _within_limit([SourceFile(entry) for entry in entries], folder, "folder")


def _within_limit(files: Sequence[SourceFile], location: object, kind: str) -> Sequence[SourceFile]:
    if not files:
        raise SourceError(f"no file is in this {kind}.", path=location, remedy="Check the path under inputs.")
    if len(files) > _MAX_FILES:
        problem = f"more than {_MAX_FILES:,} files are in this {kind}."
        raise SourceError(problem, path=location, remedy="Join them into fewer files.")
    return files


def _is_bookkeeping(path: Path) -> bool:
    return path.name.startswith((".", "_")) or path.name.endswith(".crc")


def _suffix(folder: Path) -> str:
    return next((path.suffix for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".crc"), "")
