"""Atomic writes (temporary name, sync, rename) and digests of files on local and shared POSIX file systems."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from blake3 import blake3

from enrich_dist.core.owned_files import remove_created, replace, temporary_name, write_new
from enrich_dist.errors import CorruptionError
from enrich_dist.remedies import REBUILD

BLOCK_BYTES: Final = 1 << 20
_RETRY_SECONDS: Final = 0.5
T = TypeVar("T")


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``final``; on success sync it and rename it to ``final``. On an error remove the
    temporary file and leave ``final`` unchanged."""
    final.parent.mkdir(parents=True, exist_ok=True)
    # Some writers choose their format by the suffix.
    temporary = final.parent / temporary_name(final.suffix)
    try:
        yield temporary
        sync_file(temporary)
        replace(temporary, final)
        sync_directory(final.parent)
    finally:
        remove_created(temporary)


def retried(operation: Callable[[], T]) -> T:
    """Return what the operation returns; call it again once after a stale file handle or an I/O error, which shared
    file systems report while a server restarts or another machine replaces a file. The operation must be whole: a
    failed fsync is no longer reported by the next one, so a write is repeated from its first byte."""
    try:
        return operation()
    except OSError as error:
        if error.errno not in (errno.ESTALE, errno.EIO):
            raise
    time.sleep(_RETRY_SECONDS)
    return operation()


def read_bytes(path: Path) -> bytes:
    """Return the content of a file (``retried``)."""
    return retried(path.read_bytes)


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
    write_file(final, json_bytes(document))


def write_file(final: Path, content: bytes | str, *, mode: int = 0o666) -> None:
    """Write a whole file atomically (``retried``); text as UTF-8."""
    data = content.encode("utf-8") if isinstance(content, str) else content

    def write() -> None:
        with atomic_path(final) as temporary:
            write_new(temporary, data, mode=mode)

    retried(write)


def json_bytes(document: Any) -> bytes:
    """Return a JSON document with sorted keys: equal documents have equal bytes."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


def read_text(path: Path, max_bytes: int) -> str:
    """Return the text of a small file that a user made, without a byte order mark.

    Raises ``OSError`` also for what is no regular file (a pipe would wait for ever, a device never end) or larger than
    ``max_bytes``; ``UnicodeDecodeError`` if it is not UTF-8.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes // 1_000:,} kB")
    return data.decode("utf-8-sig")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ``CorruptionError`` for other content, ``FileNotFoundError`` if there is no file."""
    return parse_json(read_bytes(path), str(path))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object in ``data``; ``where`` names the file. Raises ``CorruptionError`` for other content."""
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # neither UTF-8 nor JSON, or nested too deeply
        raise CorruptionError(f"{where} is not valid JSON ({error}).", remedy=REBUILD) from error
    if not isinstance(document, dict):
        raise CorruptionError(f"{where} is not a JSON object.", remedy=REBUILD)
    return document


def file_digest(path: Path) -> str:
    """Return the hexadecimal BLAKE3 digest of the file's bytes, as ``b3sum`` prints it."""

    def digest() -> str:
        with path.open("rb", buffering=0) as handle:
            return stream_digest(handle)

    return retried(digest)


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
