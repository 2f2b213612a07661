"""The files of ``pg_dump --format=directory``: a directory, or a zip of one, local or in an object store.

Files are read in place; of a zip only the central directory and the needed members are read. Covers plain files, gzip,
LZ4 and Zstandard. Refuses harmful archives as ``text_file`` does.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, cast

import pyarrow as pa

from enrich_dist.errors import SourceError
from enrich_dist.sources.source_file import SourceFile, as_file, reading
from enrich_dist.sources.text_file import GZIP_MAGIC, ZIP_MAGICS, Readable, Unpacked, zip_members

TOC: Final = "toc.dat"
# USAspending's has a few MB; it is read into memory.
_MAX_TOC_BYTES: Final = 256_000_000
_LZ4_MAGIC: Final = b"\x04\x22\x4d\x18"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_UNPACKERS: Final[dict[bytes, Callable[[BinaryIO], Readable]]] = {
    GZIP_MAGIC: lambda handle: gzip.GzipFile(fileobj=handle),
    _LZ4_MAGIC: lambda handle: pa.CompressedInputStream(pa.PythonFile(handle, mode="r"), "lz4"),
    _ZSTD_MAGIC: lambda handle: pa.CompressedInputStream(pa.PythonFile(handle, mode="r"), "zstd"),
}
SUFFIXES: Final = ("", ".gz", ".lz4", ".zst")
"""What pg_dump appends to the name of a compressed file."""


class DumpArchive(ABC):
    """The files next to a ``toc.dat``, by their names without directory."""

    location: str

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of the files."""

    @abstractmethod
    def _open(self, name: str) -> AbstractContextManager[tuple[io.BufferedReader, int]]:
        """Open a file, not decompressed, and return its size."""

    def read_toc(self) -> bytes:
        """Return the table of contents. Raises ``SourceError``."""
        with self.open(TOC) as (handle, _):
            data = handle.read(_MAX_TOC_BYTES + 1)
        if len(data) > _MAX_TOC_BYTES:
            problem = f"its {TOC} is larger than {_MAX_TOC_BYTES / 1e6:.0f} MB."
            raise SourceError(problem, path=self.location, remedy="Dump the database again.")
        return data

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[io.BufferedReader, int]]:
        """Yield a file, not decompressed, and its size. Raises ``SourceError``, also for read errors of the body."""
        with reading(f"{self.location}, {name}"), self._open(name) as opened:
            yield opened

    @contextmanager
    def unpacked(self, name: str) -> Iterator[tuple[Readable, Callable[[], int], int]]:
        """Yield a file's decompressed content, a function that returns the position in the file, and its size."""
        with self.open(name) as (handle, size):
            start = handle.peek(4)
            unpack = next((unpack for magic, unpack in _UNPACKERS.items() if start.startswith(magic)), None)
            yield Unpacked(unpack(handle) if unpack else handle, f"{self.location}, {name}", size), handle.tell, size


class _Directory(DumpArchive):
    def __init__(self, path: Path) -> None:
        self._path = path
        self.location = str(path)

    def names(self) -> list[str]:
        return sorted(path.name for path in self._path.iterdir() if path.is_file())

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[io.BufferedReader, int]]:
        path = self._path / name
        with path.open("rb") as handle:
            yield handle, path.stat().st_size


class _Zip(DumpArchive):
    def __init__(self, file: SourceFile, folder: str) -> None:
        self._file = file
        self._folder = folder
        self.location = file.location

    def names(self) -> list[str]:
        with self._file.open() as handle, zipfile.ZipFile(handle) as archive:
            paths = [PurePosixPath(name) for name in zip_members(archive, self.location)]
        return sorted(path.name for path in paths if _folder_of(str(path)) == self._folder)

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[io.BufferedReader, int]]:
        with self._file.open() as handle, zipfile.ZipFile(handle) as archive:
            info = archive.getinfo(f"{self._folder}{name}")
            with archive.open(info) as member:
                # Without a buffer, gzip would read a few bytes at a time through zipfile.
                yield io.BufferedReader(cast(io.RawIOBase, member), 1 << 20), info.compress_size


def find_archive(location: str | Path) -> DumpArchive | None:
    """Return the dump at a location, or None. Raises ``SourceError`` for several dumps, or paths outside of a zip."""
    if "://" not in str(location) and Path(location).is_dir():
        return _Directory(Path(location)) if (Path(location) / TOC).is_file() else None
    file = as_file(location)
    if file.path is not None and not file.path.is_file():
        return None
    with reading(file), file.open() as handle:
        if handle.read(4) not in ZIP_MAGICS:
            return None
        handle.seek(0)
        with zipfile.ZipFile(handle) as archive:
            found = [name for name in archive.namelist() if PurePosixPath(name).name == TOC]
            if found:
                zip_members(archive, file)
    if len(found) > 1:
        problem = f"the archive contains {len(found)} dumps: {', '.join(found[:5])}."
        raise SourceError(problem, path=file, remedy="Unpack one of them and name its directory.")
    return _Zip(file, _folder_of(found[0])) if found else None


def _folder_of(member: str) -> str:
    folder = str(PurePosixPath(member).parent)
    return "" if folder == "." else f"{folder}/"
