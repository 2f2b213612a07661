"""Byte stores: one protocol (``Storage``), with an implementation for directories and one for S3.

A further kind of store is a subclass of ``Storage`` and a branch in ``open_storage`` and ``locate_file``.
"""

from __future__ import annotations

from pathlib import Path

from enrich_dist.core.storage.local import LocalStorage
from enrich_dist.core.storage.protocol import LOCATION_FILE, Entry, Storage
from enrich_dist.core.storage.s3 import S3Error, S3Storage, uri_options

__all__ = ["LOCATION_FILE", "Entry", "S3Error", "Storage", "locate_file", "open_storage", "uri_options"]


def open_storage(location: str | Path) -> Storage:
    """Return the storage of a directory or a URI. Raises ``ValueError`` for a malformed URI."""
    return S3Storage(str(location)) if "://" in str(location) else LocalStorage(Path(location))


def locate_file(location: str | Path) -> tuple[Storage, str]:
    """Return the storage that has the file, and its name in it. Raises ``ValueError`` for a malformed URI."""
    if "://" in str(location):
        return S3Storage.containing(str(location))
    return LocalStorage(Path(location).parent), Path(location).name
