"""A directory of a local or shared file system as a ``Storage``."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import BinaryIO

from enrich_dist.core.files import atomic_path, bytes_digest, file_digest, read_bytes, retried
from enrich_dist.core.owned_files import remove_file, write_new
from enrich_dist.core.storage.protocol import Entry, Storage
from enrich_dist.errors import CorruptionError, StorageError


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

        def write() -> None:
            with atomic_path(self.directory / name) as temporary:
                write_new(temporary, data)
                if file_digest(temporary) != expected:
                    raise CorruptionError(f"{self.where(name)} reads back differently from what was written.")

        retried(write)

    def open(self, name: str) -> BinaryIO:
        """See ``Storage.open``."""
        return retried(lambda: (self.directory / name).open("rb"))

    def size(self, name: str) -> int:
        """See ``Storage.size``."""
        return retried((self.directory / name).stat).st_size

    def list(self) -> list[Entry]:
        """See ``Storage.list``."""
        return retried(self._list)

    def _list(self) -> builtins.list[Entry]:
        if not self.directory.exists():
            return []
        files = (path for path in self.directory.iterdir() if path.is_file() and not path.is_symlink())
        return sorted(Entry(path.name, path.stat().st_size) for path in files)

    def names(self) -> builtins.list[str]:
        """See ``Storage.names``."""
        return [path.name for path in self.directory.iterdir()] if self.directory.exists() else []

    def delete(self, name: str) -> None:
        """See ``Storage.delete``."""
        if self.directory.is_symlink():
            raise StorageError(
                f"{self.location} is a symbolic link; nothing is deleted through it.",
                remedy="Set paths.checkpoints to the directory that it points to.",
            )
        remove_file(self.directory / name)

    def get(self, name: str) -> bytes:
        """See ``Storage.get``."""
        return read_bytes(self.directory / name)

    def digest(self, name: str) -> str:
        """See ``Storage.digest``."""
        return file_digest(self.directory / name)

    def local_path(self, name: str) -> Path:
        """See ``Storage.local_path``."""
        return self.directory / name
