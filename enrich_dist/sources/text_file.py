"""A text file as a stream of valid UTF-8 bytes, whatever it is packed in.

Covers plain, gzip (also several members in a row) and zip files, told apart by their first bytes and never by
name; a byte order mark, which is dropped; bytes that are not UTF-8, which are read as Windows-1252 and counted.
Holds one block in memory and never writes to disk. Archives that are made to harm are refused: more than
``MAX_UNPACKED_BYTES``, or than ``MAX_RATIO`` times the file, comes out of them, or a member's name leads out of the
archive. Does not cover UTF-16, other archives or passwords: those are refused with a ``SourceError``.
"""

from __future__ import annotations

import codecs
import gzip
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Protocol, cast

from enrich_dist.errors import SourceError
from enrich_dist.remedies import DOWNLOAD_AGAIN
from enrich_dist.sources.source_file import READ_ERRORS, SourceFile, as_file, read_error

GZIP_MAGIC: Final = b"\x1f\x8b"
ZIP_MAGICS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_PARQUET_MAGIC: Final = b"PAR1"
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# The bulk file unpacks to less than 1 GB, at a tenth of that packed; CSV rarely shrinks to less than a fortieth.
MAX_UNPACKED_BYTES: Final = 50_000_000_000
MAX_RATIO: Final = 200
# Below this a high ratio harms nobody: a small file of few values has it as well.
_HARMLESS_BYTES: Final = 100_000_000
_SAMPLE_BYTES: Final = 16 << 20  # from which lines are estimated

_repairs = threading.local()


def _read_as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    _repairs.count += error.end - error.start
    # The five bytes that Windows-1252 leaves undefined become the replacement character.
    return error.object[error.start : error.end].decode("cp1252", errors="replace"), error.end


codecs.register_error("enrich_dist.windows_1252", _read_as_windows_1252)


class Readable(Protocol):
    """What gives bytes in a row."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; none at the end."""


class Unpacked:
    """What comes out of an archive, as long as it is in proportion to the file."""

    def __init__(self, raw: Readable, path: object, packed_bytes: int) -> None:
        self._raw = raw
        self._path = path
        self._limit_bytes = min(MAX_UNPACKED_BYTES, max(_HARMLESS_BYTES, MAX_RATIO * packed_bytes))
        self._unpacked_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; raises ``SourceError`` when they are out of proportion."""
        block = self._raw.read(size)
        self._unpacked_bytes += len(block)
        if self._unpacked_bytes > self._limit_bytes:
            raise SourceError(
                f"the archive unpacks to more than {self._limit_bytes / 1e6:,.0f} MB, {MAX_RATIO} times its size or "
                f"{MAX_UNPACKED_BYTES / 1e9:,.0f} GB: it looks like one that is made to fill the disk.",
                path=self._path,
                remedy="If it is not, unpack it and name the CSV file.",
            )
        return block


class Utf8Stream:
    """Readable of valid UTF-8 bytes without byte order mark over a readable of arbitrary bytes.

    ``bytes_repaired`` counts the bytes read so far that were not UTF-8. Reading errors surface as
    ``SourceError``, also those that show only in the middle of the file.
    """

    closed = False  # pyarrow asks

    def __init__(self, raw: Readable, path: object) -> None:
        self._raw = raw
        self._path = path
        self._tail = b""  # first bytes of a character whose last bytes are not read yet
        self._ahead = b""  # valid bytes that were looked at, and are to be read again
        self._ended = False
        self.bytes_repaired = 0
        self._ahead = self._read_valid(4096).removeprefix(codecs.BOM_UTF8)

    def readable(self) -> bool:
        """Whether ``read`` may be called: always."""
        return True

    def close(self) -> None:
        """Nothing to do: who opened the underlying file closes it."""

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes (fewer at the end of the file), which stay unread."""
        pieces = [self._ahead]
        length = len(self._ahead)
        while length < size and (piece := self._read_valid(size - length)):
            pieces.append(piece)
            length += len(piece)
        self._ahead = b"".join(pieces)
        return self._ahead[:size]

    def read(self, size: int = -1) -> bytes:
        """The next ``size`` valid UTF-8 bytes; fewer at the end of the file only.

        Never fewer before: pyarrow takes what it gets as a block, and refuses records longer than a block.
        """
        if size < 0:
            raise ValueError("Utf8Stream is read in blocks")
        piece = self.peek(size)
        self._ahead = self._ahead[size:]
        return piece

    def _read_valid(self, size: int) -> bytes:
        """The next block as valid UTF-8, about ``size`` bytes long; empty at the end only."""
        while not self._ended:
            try:
                block = self._raw.read(size)
            except READ_ERRORS as error:
                raise read_error(self._path, error) from error
            self._ended = not block
            data = self._tail + block
            try:
                _, consumed = codecs.utf_8_decode(data, "strict", self._ended)
                valid = data[:consumed]
            except UnicodeDecodeError:
                _repairs.count = 0
                text, consumed = codecs.utf_8_decode(data, "enrich_dist.windows_1252", self._ended)
                self.bytes_repaired += _repairs.count
                valid = text.encode("utf-8")
            self._tail = data[consumed:]
            if valid:
                return valid
        return b""


@contextmanager
def open_utf8(path: Path | SourceFile, member: str | None = None) -> Iterator[Utf8Stream]:
    """Open a plain, gzip or zip file as a ``Utf8Stream``. ``member`` names the file of a zip that is meant.

    Raises ``SourceError`` when the file is absent, empty, unreadable, damaged, UTF-16, Parquet, or a zip archive
    without exactly one file to read.
    """
    file = as_file(path)
    with ExitStack() as stack:
        try:
            stream = Utf8Stream(_open_raw(file, member, stack), file)
        except READ_ERRORS as error:
            raise read_error(path, error) from error
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
    """The files in an archive.

    Raises ``SourceError`` when one of them would be unpacked outside of it.
    """
    for name in archive.namelist():
        if _leads_outside(name):
            raise SourceError(
                f"the archive has a member {name!r}, which would be unpacked outside of it.",
                path=path,
                remedy="Do not unpack it; download it again from a source you trust.",
            )
    return [
        info.filename
        for info in archive.infolist()
        if not info.is_dir() and not info.filename.startswith("__MACOSX/")  # resource forks that macOS adds
    ]


def csv_members(path: SourceFile) -> list[str]:
    """The CSV files of a zip; none where the file is no zip. Raises ``SourceError`` for a damaged one."""
    try:
        with path.open() as handle:
            if handle.read(4) not in ZIP_MAGICS:
                return []
            handle.seek(0)
            with zipfile.ZipFile(handle) as archive:
                return [name for name in zip_members(archive, path) if _is_csv(name)]
    except READ_ERRORS as error:
        raise read_error(path, error) from error


def _is_csv(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() == ".csv"


def _open_zip_member(path: SourceFile, handle: BinaryIO, member: str | None, stack: ExitStack) -> Readable:
    """The one CSV member of the archive, or the named one, as a stream: nothing is extracted."""
    archive = stack.enter_context(zipfile.ZipFile(handle))
    members = zip_members(archive, path)
    if member is not None:
        found = [name for name in members if member in (name, PurePosixPath(name).name)]
        if len(found) != 1:
            raise SourceError(
                f"the archive holds {len(found) or 'no'} files {member}; it holds {_listed(members)}.",
                path=path,
                remedy="Name one of them: inputs.recipients_member, or --member.",
            )
        return cast(Readable, stack.enter_context(archive.open(found[0])))
    tables = [name for name in members if _is_csv(name)]
    if len(tables) != 1:
        raise SourceError(
            f"the archive must hold exactly one .csv file; it holds {_listed(members)}.",
            path=path,
            remedy="Unpack it and name the CSV file.",
        )
    return cast(Readable, stack.enter_context(archive.open(tables[0])))


def _listed(members: list[str]) -> str:
    return ", ".join(members[:10]) + (", …" if len(members) > 10 else "") if members else "nothing"


def _leads_outside(member: str) -> bool:
    parts = member.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or ":" in parts[0] or "\0" in member


def count_lines(file: SourceFile) -> int:
    """Estimate the lines of a file from its beginning. Raises ``SourceError`` for a damaged file."""
    try:
        with file.open() as handle:
            magic = handle.read(4)
            handle.seek(0)
            if magic in ZIP_MAGICS:
                with zipfile.ZipFile(handle) as archive:
                    member = max(archive.infolist(), key=lambda info: info.file_size)
                    with archive.open(member) as text:
                        return _scale_lines(text.read(_SAMPLE_BYTES), member.file_size)
            if magic.startswith(GZIP_MAGIC):
                with gzip.GzipFile(fileobj=handle) as text:
                    return count_packed_lines(text, handle.tell, file.size_bytes())
            return _scale_lines(handle.read(_SAMPLE_BYTES), file.size_bytes())
    except READ_ERRORS as error:
        raise read_error(file, error) from error


def count_packed_lines(unpacked: Readable, packed_position: Callable[[], int], packed_bytes: int) -> int:
    """Estimate the lines of a compressed stream; ``packed_position``: compressed bytes read so far."""
    pieces, length = [], 0
    while length < _SAMPLE_BYTES:
        pieces.append(unpacked.read(_SAMPLE_BYTES - length))
        length += len(pieces[-1])
        if not pieces[-1]:
            return _count_lines(b"".join(pieces))
    return round(_count_lines(b"".join(pieces)) / (packed_position() / max(1, packed_bytes)))


def _scale_lines(sample: bytes, size_bytes: int) -> int:
    return round(_count_lines(sample) * max(1, size_bytes) / max(1, len(sample)))


def _count_lines(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n"))
