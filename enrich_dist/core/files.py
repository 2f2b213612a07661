"""Atomic writes (temporary name, sync, rename) and digests of files on local and shared POSIX file systems."""

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
    """Yield a temporary path next to ``final``; on success sync it and rename it to ``final``. On an error remove the
    temporary file and leave ``final`` unchanged."""
    final.parent.mkdir(parents=True, exist_ok=True)
    # Short, as the final name may be near the file system's limit. Some writers choose their format by the suffix.
    temporary = final.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}{final.suffix}"
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(final)
        sync_directory(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Write the file's content to the disk."""
    with path.open("rb") as handle:  # a published file is read-only
        os.fsync(handle.fileno())


def sync_directory(path: Path) -> None:
    """Write the directory's entries (such as a rename) to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(final: Path, document: Any) -> None:
    """Write a JSON document atomically, as ``json_bytes``."""
    with atomic_path(final) as temporary:
        temporary.write_bytes(json_bytes(document))


def json_bytes(document: Any) -> bytes:
    """Return a JSON document with sorted keys: equal documents have equal bytes."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ``CorruptionError`` for other content, ``FileNotFoundError`` if there is no file."""
    return parse_json(path.read_bytes(), str(path))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object in ``data``; ``where`` names the file. Raises ``CorruptionError`` for other content."""
    try:
        document = json.loads(data.decode("utf-8"))
    except ValueError as error:  # neither UTF-8 nor JSON
        raise CorruptionError(f"{where} is not valid JSON ({error}).", remedy=REBUILD) from error
    if not isinstance(document, dict):
        raise CorruptionError(f"{where} is not a JSON object.", remedy=REBUILD)
    return document


def file_digest(path: Path) -> str:
    """Return the hexadecimal BLAKE3 digest of the file's bytes, as ``b3sum`` prints it."""
    with path.open("rb", buffering=0) as handle:
        return stream_digest(handle)


def stream_digest(handle: BinaryIO) -> str:
    """Return the BLAKE3 digest of the rest of the stream, read in blocks of ``BLOCK_BYTES``."""
    digest = blake3()
    while block := handle.read(BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def bytes_digest(data: bytes) -> str:
    """Return the hexadecimal BLAKE3 digest of the bytes."""
    return blake3(data).hexdigest()


def text_digest(*parts: str) -> str:
    """Return the BLAKE3 digest of the parts, each after its length, so that no two lists of parts collide."""
    digest = blake3()
    for part in parts:
        encoded = part.encode("utf-8")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def directory_name(*parts: str) -> str:
    """Return the first 96 bits of ``text_digest``: unique in practice, and short enough for a path."""
    return text_digest(*parts)[:24]


def document_digest(document: Any) -> str:
    """Return the BLAKE3 digest of a JSON document in canonical form."""
    return text_digest(canonical_json(document))


def canonical_json(document: Any) -> str:
    """Return the one text of a JSON document that its digest is computed from."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
