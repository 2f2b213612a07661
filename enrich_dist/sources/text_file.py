"""A plain, gzip or zip text file as a stream of valid UTF-8 bytes.

Detects compression by the first bytes. Removes a byte order mark; reads bytes that are not UTF-8 as Windows-1252, and
counts them. Holds one block in memory. Refuses archives that unpack to more than ``MAX_UNPACKED_BYTES`` or
``MAX_RATIO`` times their size, and member names outside of the archive. Does not read UTF-16, or other archives.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Protocol, cast

from enrich_dist.errors import SourceError
from enrich_dist.remedies import DOWNLOAD_AGAIN, NAME_MEMBER
from enrich_dist.sources.source_file import SourceFile, as_file, reading, shown_names

GZIP_MAGIC: Final = b"\x1f\x8b"
ZIP_MAGICS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_PARQUET_MAGIC: Final = b"PAR1"
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# The bulk file has less than 1 GB, compressed to a tenth; CSV is rarely compressed to less than a fortieth.
MAX_UNPACKED_BYTES: Final = 50_000_000_000
MAX_RATIO: Final = 200
# Below this any ratio is accepted: small files with few distinct values have high ratios.
_HARMLESS_BYTES: Final = 100_000_000
_SAMPLE_BYTES: Final = 16 << 20  # from which lines are estimated
# Bytes that are not UTF-8, as ``surrogateescape`` decodes them.
_INVALID: Final = re.compile("[\udc80-\udcff]+")


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; none at the end."""


class Unpacked:
    """A decompressed stream with a limit in proportion to the compressed size."""

    def __init__(self, raw: Readable, path: object, packed_bytes: int) -> None:
        self._raw = raw
        self._path = path
        self._limit_bytes = min(MAX_UNPACKED_BYTES, max(_HARMLESS_BYTES, MAX_RATIO * packed_bytes))
        self._unpacked_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes. Raises ``SourceError`` beyond the limit."""
        block = self._raw.read(size)
        self._unpacked_bytes += len(block)
        if self._unpacked_bytes > self._limit_bytes:
            problem = (
                f"the archive unpacks to more than {self._limit_bytes / 1e6:,.0f} MB, {MAX_RATIO} times its size or "
                f"{MAX_UNPACKED_BYTES / 1e9:,.0f} GB: it may be a decompression bomb."
            )
            raise SourceError(problem, path=self._path, remedy="If it is not, unpack it and name the CSV file.")
        return block


class Utf8Stream:
    """The bytes of a stream as valid UTF-8 without byte order mark. Read errors are raised as ``SourceError``.
    ``bytes_repaired``: bytes read so far that were not UTF-8."""

    closed = False  # pyarrow asks

    def __init__(self, raw: Readable, path: object) -> None:
        self._raw = raw
        self._path = path
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._peeked = b""
        self._ended = False
        self.bytes_repaired = 0
        self._peeked = self._read_valid(4096).removeprefix(codecs.BOM_UTF8)

    def close(self) -> None:
        """Do nothing: the caller that opened the file closes it."""

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes (fewer at the end of the file) without consuming them."""
        pieces = [self._peeked]
        length = len(self._peeked)
        while length < size and (piece := self._read_valid(size - length)):
            pieces.append(piece)
            length += len(piece)
        self._peeked = b"".join(pieces)
        return self._peeked[:size]

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes; fewer only at the end, as pyarrow refuses records longer than a block."""
        if size < 0:
            raise ValueError("Utf8Stream is read in blocks")
        piece = self.peek(size)
        self._peeked = self._peeked[size:]
        return piece

    def _read_valid(self, size: int) -> bytes:
        """Return the next block as valid UTF-8, of about ``size`` bytes; empty only at the end."""
        while not self._ended:
            with reading(self._path):
                block = self._raw.read(size)
            self._ended = not block
            text = self._decoder.decode(block, self._ended)
            try:
                valid = text.encode("utf-8")
            except UnicodeEncodeError:
                self.bytes_repaired += sum(map(len, _INVALID.findall(text)))
                valid = _INVALID.sub(_as_windows_1252, text).encode("utf-8")
            if valid:
                return valid
        return b""


def _as_windows_1252(invalid: re.Match[str]) -> str:
    # The five bytes that Windows-1252 does not define become the replacement character.
    return invalid[0].encode("utf-8", "surrogateescape").decode("cp1252", errors="replace")


@contextmanager
def open_utf8(path: Path | SourceFile, member: str | None = None) -> Iterator[Utf8Stream]:
    """Open a plain, gzip or zip file as a ``Utf8Stream``. ``member``: the file to read in a zip. Raises ``SourceError``
    when it is missing, empty, damaged, UTF-16 or Parquet, or a zip without exactly one file to read."""
    file = as_file(path)
    with ExitStack() as stack:
        with reading(path):
            stream = Utf8Stream(_open_raw(file, member, stack), file)
        if not stream.peek(1):
            raise SourceError("the file is empty.", path=path, remedy=DOWNLOAD_AGAIN)
        yield stream


def _open_raw(path: SourceFile, member: str | None, stack: ExitStack) -> Readable:
    path.require()
    handle: BinaryIO = stack.enter_context(path.open())
    magic = handle.read(4)
    handle.seek(0)
    raw: Readable = handle
    if magic.startswith(GZIP_MAGIC):
        raw = Unpacked(stack.enter_context(gzip.GzipFile(fileobj=handle)), path, path.size_bytes())
    elif magic in ZIP_MAGICS:
        raw = Unpacked(_open_zip_member(path, handle, member, stack), path, path.size_bytes())
    elif magic == _PARQUET_MAGIC:
        raise SourceError("is a Parquet file where CSV is expected.", path=path, remedy="Name the CSV file instead.")
    elif magic.startswith(_UTF16_MARKS):
        raise SourceError("is encoded in UTF-16.", path=path, remedy="Save it as CSV in UTF-8.")
    return raw


def zip_members(archive: zipfile.ZipFile, path: object) -> list[str]:
    """Return the files in an archive. Raises ``SourceError`` for paths outside of the archive."""
    for name in filter(_is_outside, archive.namelist()):
        problem = f"the archive has a member {name!r}, which would be extracted outside of its directory."
        remedy = "Do not extract it. Download it again from a trusted source."
        raise SourceError(problem, path=path, remedy=remedy)
    return [
        info.filename
        for info in archive.infolist()
        if not info.is_dir() and not info.filename.startswith("__MACOSX/")  # macOS resource forks
    ]


def csv_members(path: SourceFile) -> list[str]:
    """Return the CSV files of a zip; none for other files. Raises ``SourceError`` for a damaged zip."""
    with reading(path), path.open() as handle:
        if handle.read(4) not in ZIP_MAGICS:
            return []
        handle.seek(0)
        with zipfile.ZipFile(handle) as archive:
            return [name for name in zip_members(archive, path) if _is_csv(name)]


def _is_csv(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() == ".csv"


def _open_zip_member(path: SourceFile, handle: BinaryIO, member: str | None, stack: ExitStack) -> Readable:
    archive = stack.enter_context(zipfile.ZipFile(handle))
    members = zip_members(archive, path)
    if member is None:
        found = [name for name in members if _is_csv(name)]
        problem, remedy = "must contain exactly one .csv file", "Unpack it and name the CSV file."
    else:
        found = [name for name in members if member in (name, PurePosixPath(name).name)]
        problem, remedy = f"contains {len(found) or 'no'} files {member}", NAME_MEMBER
    if len(found) != 1:
        raise SourceError(f"the archive {problem}; it contains {shown_names(members)}.", path=path, remedy=remedy)
    return cast(Readable, stack.enter_context(archive.open(found[0])))


def _is_outside(member: str) -> bool:
    parts = member.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or ":" in parts[0] or "\0" in member


def count_lines(file: SourceFile) -> int:
    """Estimate the lines of a file from its beginning. Raises ``SourceError`` for a damaged file."""
    with reading(file), file.open() as handle:
        magic = handle.read(4)
        handle.seek(0)
        if magic in ZIP_MAGICS:
            with zipfile.ZipFile(handle) as archive:
                member = max(archive.infolist(), key=lambda info: info.file_size)
                with archive.open(member) as text:
                    return estimate_lines(cast(Readable, text), text.tell, member.file_size)
        unpacked = gzip.GzipFile(fileobj=handle) if magic.startswith(GZIP_MAGIC) else handle
        return estimate_lines(unpacked, handle.tell, file.size_bytes())


def estimate_lines(text: Readable, position: Callable[[], int], total: int) -> int:
    """Estimate the lines of a stream from its beginning. ``position``: returns how much of ``total`` was read, in the
    same unit (compressed or decompressed bytes)."""
    pieces, length = [], 0
    while length < _SAMPLE_BYTES and (piece := text.read(_SAMPLE_BYTES - length)):
        pieces.append(piece)
        length += len(piece)
    sample = b"".join(pieces)
    lines = sample.count(b"\n") + (not sample.endswith(b"\n"))
    return lines if length < _SAMPLE_BYTES else round(lines * total / position())
