"""A text file, plain or compressed, as a stream of valid UTF-8 bytes.

Detects compression (gzip, bzip2, xz, Zstandard, LZ4, zip) by the first bytes, and UTF-16 and UTF-32 by the byte order
mark, which is removed; reads bytes that are not UTF-8 as Windows-1252, and counts them. Holds one block in memory.
Refuses archives that unpack to more than ``MAX_UNPACKED_BYTES`` or ``MAX_RATIO`` times their size, member names
outside of the archive, and what is no text (``content``).
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Protocol, cast

import pyarrow as pa

from enrich_dist.errors import SourceError
from enrich_dist.remedies import DOWNLOAD_AGAIN, NAME_MEMBER
from enrich_dist.sources.content import HEAD_BYTES, refuse_unreadable
from enrich_dist.sources.source_file import SourceFile, as_file, reading, shown_names


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; none at the end."""


GZIP_MAGIC: Final = b"\x1f\x8b"
ZIP_MAGICS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_MAGIC_BYTES: Final = 6
_BZIP2: Final = b"BZh"
_BZIP2_BLOCKS: Final = (b"1A", b"\x17r")  # of data, and of an empty file
_UNPACKERS: Final[dict[bytes, Callable[[BinaryIO], Readable]]] = {
    GZIP_MAGIC: lambda handle: gzip.GzipFile(fileobj=handle),
    _BZIP2: bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda handle: pa.CompressedInputStream(pa.PythonFile(handle, mode="r"), "zstd"),
    b"\x04\x22\x4d\x18": lambda handle: pa.CompressedInputStream(pa.PythonFile(handle, mode="r"), "lz4"),
}
# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

# The bulk file has less than 1 GB, compressed to a tenth; CSV is rarely compressed to less than a fortieth.
MAX_UNPACKED_BYTES: Final = 50_000_000_000
MAX_RATIO: Final = 200
# Below this any ratio is accepted: small files with few distinct values have high ratios.
_HARMLESS_BYTES: Final = 100_000_000
_TEXT_SUFFIXES: Final = (".tsv", ".tab", ".psv", ".txt", ".dat", ".json", ".jsonl", ".ndjson")
_SAMPLE_BYTES: Final = 16 << 20  # from which lines are estimated
# Bytes that are not UTF-8, as ``surrogateescape`` decodes them.
_INVALID: Final = re.compile("[\udc80-\udcff]+")


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
    ``bytes_repaired``: bytes read so far that were not UTF-8. ``first_bytes``: of the file, in UTF-8 where it
    is in UTF-16."""

    closed = False  # pyarrow asks

    def __init__(self, raw: Readable, path: object) -> None:
        self._raw = raw
        self._path = path
        self._ended = False
        self._broken: deque[bool] = deque(maxlen=3)  # pyarrow reads ahead
        self.bytes_repaired = 0
        head = b""
        while len(head) < HEAD_BYTES and (piece := self._read_raw(HEAD_BYTES - len(head))):
            head += piece
        encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
        # In the others no byte can stand for Windows-1252.
        self._decoder = codecs.getincrementaldecoder(encoding or "utf-8")("replace" if encoding else "surrogateescape")
        self._head = head
        self._peeked = self._read_valid(HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
        self.first_bytes = self._peeked[:HEAD_BYTES] if encoding else head

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
        self._broken.append(len(piece) < size or b"\n" in piece or b"\r" in piece)
        return piece

    def has_long_line(self) -> bool:
        """Return whether one of the blocks that were read last has no line end."""
        return not all(self._broken)

    def _read_valid(self, size: int) -> bytes:
        """Return the next block as valid UTF-8, of about ``size`` bytes; empty only at the end."""
        while not self._ended:
            block, self._head = self._head or self._read_raw(size), b""
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

    def _read_raw(self, size: int) -> bytes:
        with reading(self._path):
            return self._raw.read(size)


def _as_windows_1252(invalid: re.Match[str]) -> str:
    # The five bytes that Windows-1252 does not define become the replacement character.
    return invalid[0].encode("utf-8", "surrogateescape").decode("cp1252", errors="replace")


@contextmanager
def open_utf8(path: Path | SourceFile, member: str | None = None) -> Iterator[Utf8Stream]:
    """Open a plain or compressed file as a ``Utf8Stream``. ``member``: the file to read in a zip. Raises
    ``SourceError`` when it is missing, empty, damaged or no text, or a zip without exactly one file to read."""
    file = as_file(path)
    with ExitStack() as stack:
        with reading(path):
            stream = Utf8Stream(_open_raw(file, member, stack), file)
        if not stream.peek(1):
            raise SourceError("the file is empty.", path=path, remedy=DOWNLOAD_AGAIN)
        refuse_unreadable(stream.first_bytes, path)
        yield stream


def _open_raw(path: SourceFile, member: str | None, stack: ExitStack) -> Readable:
    path.require()
    handle: BinaryIO = stack.enter_context(path.open())
    magic = handle.read(_MAGIC_BYTES)
    handle.seek(0)
    if magic.startswith(ZIP_MAGICS):
        return Unpacked(_open_zip_member(path, handle, member, stack), path, path.size_bytes())
    unpack = _unpacker(magic)
    return handle if unpack is None else Unpacked(unpack(handle), path, path.size_bytes())


def _unpacker(magic: bytes) -> Callable[[BinaryIO], Readable] | None:
    found = next((start for start in _UNPACKERS if magic.startswith(start)), None)
    if found is None or (found == _BZIP2 and magic[4:] not in _BZIP2_BLOCKS):
        return None
    return _UNPACKERS[found]


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
    """Return the text files of a zip; none for other files. Raises ``SourceError`` for a damaged zip."""
    with reading(path), path.open() as handle:
        if handle.read(4) not in ZIP_MAGICS:
            return []
        handle.seek(0)
        with zipfile.ZipFile(handle) as archive:
            return _text_members(zip_members(archive, path))


def _text_members(names: list[str]) -> list[str]:
    """Return the CSV files; without any, other text files by their suffixes."""
    for suffixes in ((".csv",), _TEXT_SUFFIXES):
        if found := [name for name in names if PurePosixPath(name).suffix.lower() in suffixes]:
            return found
    return []


def _open_zip_member(path: SourceFile, handle: BinaryIO, member: str | None, stack: ExitStack) -> Readable:
    archive = stack.enter_context(zipfile.ZipFile(handle))
    members = zip_members(archive, path)
    if member is None:
        found = _text_members(members)
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
        magic = handle.read(_MAGIC_BYTES)
        handle.seek(0)
        if magic.startswith(ZIP_MAGICS):
            with zipfile.ZipFile(handle) as archive:
                member = max(archive.infolist(), key=lambda info: info.file_size)
                with archive.open(member) as text:
                    return estimate_lines(cast(Readable, text), text.tell, member.file_size)
        unpack = _unpacker(magic)
        return estimate_lines(unpack(handle) if unpack else handle, handle.tell, file.size_bytes())


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
