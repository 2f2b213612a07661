"""Objects of a store that speaks the S3 API, read in place: only the blocks that are asked for are fetched.

An object is named ``s3://bucket/path/name``, with the options that ``paths.checkpoints`` takes, too
(``endpoint_override``, ``region``, ``scheme``, ``tls_ca_file_path``). Credentials are those of the usual chain
(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, the machine's role) and never stand in a location. Does not list
buckets.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, BinaryIO, Final, cast

from enrich_dist.core.storage import ObjectStorage, uri_options
from enrich_dist.errors import SourceError
from enrich_dist.sources.source_file import SourceFile

# Readers ask for pieces of some kilobytes; each request is one of this size at least.
_BUFFER_BYTES: Final = 4 << 20
_REMEDIES: Final = {
    errno.EACCES: "Check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws), and that they may "
    "read there.",
    errno.ENODEV: "Check the name of the bucket.",
    errno.ENOENT: "Check the path under inputs.",
}


class ObjectFile(SourceFile):
    """An object by its URI. Raises ``SourceError``, which repeats no secret, for one that is malformed."""

    def __init__(self, uri: str) -> None:
        try:
            uri_options(uri)
            self._storage, self._name = ObjectStorage.around(uri)
        except ValueError as error:
            raise SourceError(
                f"is not the location of an object: {error}.",
                path="s3://…",
                remedy="Write s3://bucket/path/name.",
            ) from error
        self.location = self._storage.where(self._name)

    def require(self) -> None:
        """As ``SourceFile.require``."""
        self.size_bytes()

    def open(self) -> BinaryIO:
        """As ``SourceFile.open``. What is read may raise ``SourceError``."""
        with _told(self.location):
            handle = self._storage.open(self._name)
        return cast(BinaryIO, io.BufferedReader(_ObjectReader(handle, self.location), _BUFFER_BYTES))

    def size_bytes(self) -> int:
        """As ``SourceFile.size_bytes``."""
        return self._size

    @cached_property
    def _size(self) -> int:
        with _told(self.location):
            return self._storage.size(self._name)


class _ObjectReader(io.RawIOBase):
    """An Arrow file as one of Python's, with errors that tell what helps."""

    def __init__(self, handle: Any, where: str) -> None:
        self._handle = handle
        self._where = where

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _told(self._where):
            return int(self._handle.readinto(buffer))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _told(self._where):
            return int(self._handle.seek(offset, whence))

    def tell(self) -> int:
        return int(self._handle.tell())

    def close(self) -> None:
        if not self.closed:
            self._handle.close()
        super().close()


@contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "Check endpoint_override and scheme, and that the store is up.")
        raise SourceError(f"cannot be read: {error.strerror or error}.", path=where, remedy=remedy) from error
