"""A directory of a local or shared file system as a ``Storage``."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from enrich_dist.core.files import atomic_path, bytes_digest, file_digest
from enrich_dist.core.storage.protocol import Entry, Storage
from enrich_dist.errors import CorruptionError


class LocalStorage(Storage):
    """A directory that driver and workers reach under the same path."""

    parallel_reads = 1
    remedy = "Set paths.checkpoints to a directory that driver and workers can write to."

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.location = str(self.directory)

    def put(self, name: str, data: bytes) -> None:
        """See ``Storage.put``. A writer that dies leaves the previous file, and a temporary one."""
        expected = bytes_digest(data)
        with atomic_path(self.directory / name) as temporary:
            temporary.write_bytes(data)
            if file_digest(temporary) != expected:
                raise CorruptionError(f"{self.where(name)} reads back differently from what was written.")

    def open(self, name: str) -> BinaryIO:
        """See ``Storage.open``."""
        return (self.directory / name).open("rb")

    def size(self, name: str) -> int:
        """See ``Storage.size``."""
        return (self.directory / name).stat().st_size

    def list(self) -> list[Entry]:
        """See ``Storage.list``."""
        if not self.directory.exists():
            return []
        files = (path for path in self.directory.iterdir() if path.is_file())
        return sorted(Entry(path.name, path.stat().st_size) for path in files)

    def delete(self, name: str) -> None:
        """See ``Storage.delete``."""
        (self.directory / name).unlink(missing_ok=True)

    def local_path(self, name: str) -> Path:
        """See ``Storage.local_path``."""
        return self.directory / name
