"""Artifacts: directories that are built once, each with a manifest that contains the digests of its files.

Covers the outputs of the steps (awards, companies, index, chunks, results). A directory under its final name is
complete; ``get_or_build`` rebuilds one that does not match its manifest. Does not cover checkpoints, which many workers
write at once.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich_dist.core.files import (
    document_digest,
    file_digest,
    read_json,
    sync_directory,
    sync_file,
    write_json,
)
from enrich_dist.core.owned_files import remove_created, remove_empty, remove_files, replace, temporary_name
from enrich_dist.errors import CorruptionError, EnvironmentFailureError
from enrich_dist.events import Notice, emit
from enrich_dist.remedies import FREE_SPACE, REBUILT_BY_RUN

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artifact:
    """A directory, with the facts and the files that its manifest lists."""

    path: Path
    facts: dict[str, Any]
    files: dict[str, dict[str, Any]]  # name -> {"bytes": int, "blake3": str}
    reused: bool

    @property
    def content_digest(self) -> str:
        """Digest over names and digests of the files; it does not depend on the facts."""
        return document_digest({name: entry["blake3"] for name, entry in self.files.items()})


def get_or_build(final: Path, build: Callable[[Path], dict[str, Any]]) -> Artifact:
    """Open the directory ``final``, or build it by ``build(temporary directory) -> facts``.

    A directory that fails verification is rebuilt. Raises ``EnvironmentFailureError`` when a write fell short.
    """
    damaged = None
    if os.path.lexists(final):
        try:
            return open_verified(final)
        except CorruptionError:
            damaged = set_aside(final)
    temporary = final.parent / temporary_name()
    temporary.mkdir(parents=True)
    try:
        facts = build(temporary)
        files = {}
        for path in sorted(temporary.iterdir()):
            sync_file(path)
            files[path.name] = {"bytes": path.stat().st_size, "blake3": file_digest(path)}
        write_json(temporary / MANIFEST, _manifest(facts, files))
        sync_directory(temporary)
        replace(temporary, final)
        sync_directory(final.parent)
    except OSError as error:
        if error.errno is None:  # numpy raises it for a write that fell short
            raise EnvironmentFailureError(
                f"A file of {final} could not be written whole ({error}).", remedy=FREE_SPACE
            ) from error
        raise
    finally:
        remove_created(temporary)
    if damaged is not None:
        discard(damaged, files)
    return Artifact(final, facts, files, reused=False)


def set_aside(path: Path) -> Path:
    """Rename a damaged artifact, so that it can be built again; return the new path."""
    aside = path.with_name(f"damaged-{uuid.uuid4().hex[:12]}")
    replace(path, aside)
    return aside


def discard(path: Path, files: Collection[str] = ()) -> None:
    """Remove the files that the artifact's manifest or ``files`` list, and the directory if nothing else is in it.

    Report what is left: someone else put it there.
    """
    with suppress(CorruptionError, NotADirectoryError):
        files = {*files, *open_unverified(path).files}
    remove_files(path, {MANIFEST, *files}.__contains__)
    if not remove_empty(path):
        emit(Notice(f"{path} holds files that enrich-dist did not make. Move them elsewhere.", warning=True))


def open_unverified(path: Path) -> Artifact:
    """Open an artifact without verifying its files. Raises ``CorruptionError`` without a valid manifest."""
    try:
        manifest = read_json(path / MANIFEST)
    except FileNotFoundError as error:
        raise CorruptionError(f"{path} has no {MANIFEST}.", remedy=REBUILT_BY_RUN) from error
    facts, files = manifest.get("facts"), manifest.get("files")
    if manifest != _manifest(facts, files):
        raise CorruptionError(f"{path / MANIFEST} is not the file that was written.", remedy=REBUILT_BY_RUN)
    return Artifact(path, dict(manifest["facts"]), dict(manifest["files"]), reused=True)


def _manifest(facts: Any, files: Any) -> dict[str, Any]:
    """Return the manifest with its own digest."""
    content = {"facts": facts, "files": files}
    return {**content, "blake3": document_digest(content)}


def open_verified(path: Path) -> Artifact:
    """Open an artifact and verify it. Raises ``CorruptionError`` for a missing, altered or additional file."""
    stored = open_unverified(path)
    files = stored.files
    present = {item.name for item in path.iterdir()} - {MANIFEST}
    if present != set(files):
        raise CorruptionError(
            f"{path} contains {sorted(present)}, but its manifest lists {sorted(files)}.", remedy=REBUILT_BY_RUN
        )
    for name, entry in files.items():
        if (path / name).stat().st_size != entry["bytes"] or file_digest(path / name) != entry["blake3"]:
            raise CorruptionError(f"{path / name} is not the file that was written.", remedy=REBUILT_BY_RUN)
    return stored
