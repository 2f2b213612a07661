"""The protocol of a byte store: complete files under plain names, verified when they are written."""

from __future__ import annotations

import builtins
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from enrich_dist.core.files import BLOCK_BYTES, atomic_path, stream_digest
from enrich_dist.core.owned_files import open_new
from enrich_dist.errors import CorruptionError, StorageError

LOCATION_FILE = "enrich_dist.location"
"""Written by every run before it starts, so that an unusable location is refused before work begins."""
_BY_FILE_SYSTEM = (LOCATION_FILE, "lost+found", ".snapshot")
_LOCATION_TEXT = b"Checkpoints of enrich_dist. Every run writes this file again when it starts.\n"


class Entry(NamedTuple):
    """A file of a storage."""

    name: str
    bytes: int


class Storage(ABC):
    """Files in one place. Names contain no slash; locations contain no credentials and may be logged."""

    location: str
    parallel_reads: int  # files to read at the same time
    remedy: str  # for errors without a remedy of their own

    def where(self, name: str) -> str:
        """Return the file's path or URI, for messages."""
        return f"{self.location.rstrip('/')}/{name}"

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Store a file (replace an existing one) and read it back. Raises ``CorruptionError`` if the bytes differ."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a file for reading at any position. Raises ``FileNotFoundError``."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Return the bytes of a file. Raises ``FileNotFoundError``."""

    @abstractmethod
    def list(self) -> list[Entry]:
        """Return all files, sorted by name; none where nothing was ever stored."""

    @abstractmethod
    def names(self) -> builtins.list[str]:
        """Return the names of all entries, also of directories and links."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file if it exists."""

    def local_path(self, name: str) -> Path | None:  # noqa: ARG002
        """Return the file's path in the local file system; None where it has none."""
        return None

    def get(self, name: str) -> bytes:
        """Return the content of a small file. Raises ``FileNotFoundError``."""
        with self.open(name) as handle:
            return handle.read()

    def digest(self, name: str) -> str:
        """Return the BLAKE3 digest of a file, read in blocks. Raises ``FileNotFoundError``."""
        with self.open(name) as handle:
            return stream_digest(handle)

    def fetch(self, name: str, directory: Path) -> Path:
        """Return a local file of the same content: the file itself if it is local, else a copy in ``directory``. Copies
        in blocks of ``BLOCK_BYTES``. Raises ``FileNotFoundError``."""
        if (path := self.local_path(name)) is not None:
            path.stat()
            return path
        with self.open(name) as source, atomic_path(directory / name) as temporary, open_new(temporary) as target:
            shutil.copyfileobj(source, target, BLOCK_BYTES)
        return directory / name

    def check(self, is_ours: Callable[[str], bool] = lambda _: True) -> None:
        """Write a small file and read it back. Raises ``StorageError``, with cause and remedy, if that fails, or if an
        entry is neither ours by its name nor made by the file system."""
        try:
            foreign = [name for name in self.names() if name not in _BY_FILE_SYSTEM and not is_ours(name)]
            if foreign:
                more = f" and {len(foreign) - 1:,} more" if len(foreign) > 1 else ""
                raise StorageError(
                    f"The checkpoint location {self.location} holds files of others: {min(foreign)!r}{more}.",
                    remedy="Set paths.checkpoints to a location for checkpoints alone.",
                )
            self.put(LOCATION_FILE, _LOCATION_TEXT)
            self.list()
        except (OSError, CorruptionError) as error:
            raise StorageError(
                f"The checkpoint location {self.location} cannot be used: {getattr(error, 'strerror', None) or error}.",
                remedy=getattr(error, "remedy", None) or self.remedy,
            ) from error
