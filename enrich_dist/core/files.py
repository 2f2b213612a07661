"""Files that are whole or absent: temporary name, sync, rename; and digests of their content.

Covers local and shared POSIX file systems. Does not cover object storage, which has no rename.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from blake3 import blake3

from enrich_dist.errors import CorruptionError
from enrich_dist.remedies import REBUILD

TEMPORARY_PREFIX = ".tmp-"
BLOCK_BYTES: Final = 1 << 20


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``final``; on success sync it and rename it to ``final``.

    On any error the temporary file is removed and ``final`` is untouched.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    # Short, so that a long final name cannot push the temporary one over the file system's limit; the suffix
    # stays because some writers (DuckDB, CSV compression) choose their format by it.
    temporary = final.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}{final.suffix}"
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(final)
        sync_directory(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Force the file's content to the disk."""
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def sync_directory(path: Path) -> None:
    """Force the directory's entries (a rename within it) to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(final: Path, document: Any) -> None:
    """Write a JSON document atomically: keys sorted, so that equal documents are equal bytes."""
    with atomic_path(final) as temporary:
        temporary.write_bytes(json_bytes(document))


def json_bytes(document: Any) -> bytes:
    """A JSON document as a file holds it: keys sorted, so that equal documents are equal bytes."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises ``CorruptionError`` when the file is not one, ``FileNotFoundError`` when it is absent.
    """
    return parse_json(path.read_bytes(), str(path))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object that a file holds; ``where`` names the file.

    Raises ``CorruptionError`` when it holds none.
    """
    try:
        document = json.loads(data.decode("utf-8"))
    except ValueError as error:  # neither UTF-8 nor JSON
        raise CorruptionError(f"{where} is not valid JSON ({error}).", remedy=REBUILD) from error
    if not isinstance(document, dict):
        raise CorruptionError(f"{where} holds no JSON object.", remedy=REBUILD)
    return document


def file_digest(path: Path) -> str:
    """BLAKE3 of the file's bytes, hexadecimal: what ``b3sum`` prints."""
    with path.open("rb", buffering=0) as handle:
        return stream_digest(handle)


def stream_digest(handle: BinaryIO) -> str:
    """BLAKE3 of all that is left in the stream, read in blocks of ``BLOCK_BYTES``."""
    digest = blake3()
    while block := handle.read(BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def bytes_digest(data: bytes) -> str:
    """BLAKE3 of the bytes, hexadecimal."""
    return blake3(data).hexdigest()


def text_digest(*parts: str) -> str:
    """BLAKE3 over the parts, each with its length before it, so that no two lists of parts collide."""
    digest = blake3()
    for part in parts:
        encoded = part.encode("utf-8")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def directory_name(*parts: str) -> str:
    """The first 96 bits of ``text_digest``: as good as unique, and short enough to be read in a path."""
    return text_digest(*parts)[:24]


def document_digest(document: Any) -> str:
    """BLAKE3 of a JSON document in canonical form."""
    return text_digest(json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
