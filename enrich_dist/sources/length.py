"""How many lines a file of text has, estimated from its beginning, whatever it is packed in."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from typing import Final

from enrich_dist.sources.source_file import SourceFile
from enrich_dist.sources.text_file import GZIP_MAGIC, ZIP_MAGICS, Readable

_SAMPLE_BYTES: Final = 16 << 20


def count_lines(file: SourceFile) -> int:
    """Lines of the whole file, if they are all as long as those at its beginning.

    Raises what a damaged file raises from inside gzip and zipfile.
    """
    with file.open() as handle:
        magic = handle.read(4)
        handle.seek(0)
        if magic in ZIP_MAGICS:
            with zipfile.ZipFile(handle) as archive:
                member = max(archive.infolist(), key=lambda info: info.file_size)
                with archive.open(member) as text:
                    return _whole(text.read(_SAMPLE_BYTES), member.file_size)
        if magic.startswith(GZIP_MAGIC):
            with gzip.GzipFile(fileobj=handle) as text:
                return count_packed_lines(text, handle.tell, file.size_bytes())
        return _whole(handle.read(_SAMPLE_BYTES), file.size_bytes())


def count_packed_lines(unpacked: Readable, packed_read: Callable[[], int], packed_bytes: int) -> int:
    """The same of a stream that is unpacked while it is read: ``packed_read`` tells how much of it has been."""
    pieces, length = [], 0
    while length < _SAMPLE_BYTES:
        pieces.append(unpacked.read(_SAMPLE_BYTES - length))
        length += len(pieces[-1])
        if not pieces[-1]:
            return _lines(b"".join(pieces))
    share = packed_read() / max(1, packed_bytes)
    return round(_lines(b"".join(pieces)) / share)


def _whole(data: bytes, size_bytes: int) -> int:
    return round(_lines(data) * max(1, size_bytes) / max(1, len(data)))


def _lines(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n"))
