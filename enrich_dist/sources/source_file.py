"""A file that a source reads, local or in an object store, and the errors of reading it.

Covers name, size, digest and opening at any position. Does not cover what the bytes mean.
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa

from enrich_dist.core.storage import S3Error, locate_file
from enrich_dist.errors import SourceError

# What a damaged file raises from gzip, zipfile or the operating system. zipfile raises RuntimeError for a password
# and NotImplementedError for an unknown compression.
_READ_ERRORS: Final = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    RuntimeError,
    NotImplementedError,
    pa.ArrowException,
    UnicodeDecodeError,  # of the name of a member or column
)
_MAX_SHOWN_NAMES: Final = 12


class SourceFile:
    """A file by its path or URI (``str()``). Raises ``SourceError``, without secrets, for a malformed URI."""

    def __init__(self, location: str | Path) -> None:
        try:
            self._storage, self.name = locate_file(location)
        except ValueError as error:
            problem, path = f"the location is not valid: {error}.", f"{str(location).partition('://')[0]}://…"
            raise SourceError(problem, path=path, remedy="Use a path, or s3://bucket/path/name.") from error
        self.path = self._storage.local_path(self.name)
        """The path of a local file; None for an object."""
        self.location = self._storage.where(self.name) if self.path is None else str(location)

    def __str__(self) -> str:
        return self.location

    def require(self) -> None:
        """Raise ``SourceError`` unless the file exists and is a file."""
        if self.path is not None and self.path.is_dir():
            raise SourceError("is a directory, not a file.", path=self, remedy="Name the file in it.")
        self.size_bytes()

    def open(self) -> BinaryIO:
        """Open the file for reading at any position. Raises ``SourceError``; reading raises ``OSError``."""
        with reading(self):
            return self._storage.open(self.name)

    def size_bytes(self) -> int:
        """Return the file's size. Raises ``SourceError``."""
        with reading(self):
            return self._storage.size(self.name)

    def digest(self) -> str:
        """Return the BLAKE3 digest of the file's bytes, as ``b3sum`` prints it. Raises ``SourceError``."""
        with reading(self):
            return self._storage.digest(self.name)


def as_file(location: str | Path | SourceFile) -> SourceFile:
    """Return the file of a path or URI. Raises ``SourceError`` for a malformed URI."""
    return location if isinstance(location, SourceFile) else SourceFile(location)


@contextmanager
def reading(path: object) -> Iterator[None]:
    """Raise errors of the operating system, gzip and zipfile as ``SourceError``."""
    try:
        yield
    except _READ_ERRORS as error:
        raise _read_error(path, error) from error


def _read_error(path: object, error: BaseException) -> SourceError:
    # zipfile hides errors of the file behind its own.
    store_error = next((found for found in (error, error.__context__) if isinstance(found, S3Error)), None)
    if store_error is not None:
        return SourceError(f"cannot be read: {store_error.strerror}.", path=path, remedy=store_error.remedy)
    if isinstance(error, FileNotFoundError):
        return SourceError("the file does not exist.", path=path, remedy="Check the path under inputs.")
    if isinstance(error, PermissionError):
        return SourceError("permission denied.", path=path, remedy="Grant this user read permission.")
    if isinstance(error, RuntimeError) and "password" in str(error):
        return SourceError("the archive is encrypted.", path=path, remedy="Unpack it and name the CSV file.")
    return SourceError(f"the file is damaged or incomplete ({error}).", path=path, remedy="Download or copy it again.")


@contextmanager
def translate_read_errors(path: object) -> Iterator[None]:
    """Raise errors of pyarrow and the operating system as ``SourceError``."""
    try:
        yield
    except (FileNotFoundError, PermissionError, S3Error) as error:
        raise _read_error(path, error) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        cause = "".join(filter(str.isprintable, str(error).partition("\n")[0]))
        problem = f"is not a Parquet file, or is damaged or incomplete ({cause})."
        remedy = "Export or copy it again, as Parquet with text in UTF-8."
        if "crypt" in cause:
            problem, remedy = f"the file is encrypted ({cause}).", "Export it without encryption."
        raise SourceError(problem, path=path, remedy=remedy) from error


def shown_names(names: Sequence[str]) -> str:
    """Return a list of names for a message: all, or the first ones and the number of others."""
    shown = ", ".join(names[:_MAX_SHOWN_NAMES]) or "none"
    return f"{shown} and {len(names) - _MAX_SHOWN_NAMES} more" if len(names) > _MAX_SHOWN_NAMES else shown
