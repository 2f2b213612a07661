"""The bytes of a source, wherever they lie: a local file, or an object of a store.

Covers what readers ask of a file: its name, its size, its digest, and to be opened at any position. A way to reach
bytes is a class here or beside it, and a row in ``SCHEMES``. Does not cover what the bytes mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from enrich_dist.core.files import file_digest, stream_digest
from enrich_dist.errors import SourceError


class SourceFile(ABC):
    """A file that is read. ``str()`` of it is what messages call it."""

    location: str

    def __str__(self) -> str:
        return self.location

    @property
    def name(self) -> str:
        """Its name without directory."""
        return PurePosixPath(self.location).name

    @property
    def suffix(self) -> str:
        """The end of its name, from the last dot."""
        return PurePosixPath(self.name).suffix

    @abstractmethod
    def require(self) -> None:
        """Raise ``SourceError`` unless it is there and is a file."""

    @abstractmethod
    def open(self) -> BinaryIO:
        """A handle to read from at any position. Raises ``OSError`` or ``SourceError``."""

    @abstractmethod
    def size_bytes(self) -> int:
        """Its size. Raises ``OSError`` or ``SourceError``."""

    def digest(self) -> str:
        """BLAKE3 of its bytes, read in blocks."""
        with self.open() as handle:
            return stream_digest(handle)


class LocalFile(SourceFile):
    """A file of this machine, or of a file system that it sees."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.location = str(path)

    @property
    def name(self) -> str:
        """Its name without directory."""
        return self.path.name

    def require(self) -> None:
        """As ``SourceFile.require``."""
        if self.path.is_dir():
            raise SourceError("is a directory, not a file.", path=self, remedy="Name the file in it.")
        if not self.path.exists():
            raise SourceError("the file does not exist.", path=self, remedy="Check the path under inputs.")

    def open(self) -> BinaryIO:
        """As ``SourceFile.open``."""
        return self.path.open("rb")

    def size_bytes(self) -> int:
        """As ``SourceFile.size_bytes``."""
        return self.path.stat().st_size

    def digest(self) -> str:
        """As ``SourceFile.digest``."""
        return file_digest(self.path)


def _object_file(uri: str) -> SourceFile:
    from enrich_dist.sources.objects import ObjectFile

    return ObjectFile(uri)


SCHEMES: Final[Mapping[str, Callable[[str], SourceFile]]] = {"s3": _object_file}
"""Ways to reach bytes, by the scheme of their URI; what has none is a local path."""


def as_file(location: str | Path | SourceFile) -> SourceFile:
    """The file of a location: a path, or a URI of one of ``SCHEMES``.

    Raises ``SourceError``, which repeats no secret, for a URI that cannot be one of a file.
    """
    if isinstance(location, SourceFile):
        return location
    scheme, separator, _ = str(location).partition("://")
    if isinstance(location, Path) or not separator:
        return LocalFile(Path(location))
    if scheme not in SCHEMES:
        raise SourceError(
            f"scheme '{scheme}' is not known.",
            path=f"{scheme}://…",
            remedy=f"Write a path, or a URI that begins with {' or '.join(f'{known}://' for known in SCHEMES)}.",
        )
    return SCHEMES[scheme](str(location))
