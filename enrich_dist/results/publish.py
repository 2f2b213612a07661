"""Publish a judged result: swap it in atomically, or refuse it.

Publishing reads the verdict in the result, however it is started. It checks that the result is unchanged since the
verdict, and that the verdict is at least as strict as the current settings. ``published/current`` is a symbolic link
that always points to a complete release.

Published files are read-only hard links to those of the result where the file system allows it. A forced change of a
file changes both; the digests of the result then no longer agree, and the next run builds and publishes it again. The
database is a copy, because DuckDB opens a database for writing by default.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from enrich_dist.core.files import TEMPORARY_PREFIX, read_json, sync_directory
from enrich_dist.errors import CorruptionError, PublicationBlockedError
from enrich_dist.results.build import DATABASE
from enrich_dist.results.quality import Gate, get_check
from enrich_dist.store.artifacts import Artifact, get_or_build, open_verified

CURRENT = "current"
_READ_ONLY = 0o444
_REMEDY = "Run the whole job again: finished chunks are kept."


def publish(result: Path, published: Path, gate: Gate) -> Artifact:
    """Publish the result directory as ``published/current``; return the release.

    Raises ``PublicationBlockedError`` when the result has no passed verdict, changed since it was judged, or was
    judged by a less strict gate than this one.
    """
    judged = require_passed(result, gate)

    def build(directory: Path) -> dict[str, Any]:
        for name in judged.files:
            if name == DATABASE:
                shutil.copyfile(judged.path / name, directory / name)
            else:
                _link_or_copy(judged.path / name, directory / name)
        return judged.facts

    # Named by its content, because a result that is built again has a database of other bytes.
    release = get_or_build(published / judged.content_digest[:24], build)
    _replace_link(published / CURRENT, release.path)
    return release


def require_passed(result: Path, gate: Gate) -> Artifact:
    """Return the result if it may be published. Raises ``PublicationBlockedError`` as ``publish`` does."""
    try:
        judged = open_verified(result)
        verdict = read_json(result / "verdict.json")
    except (CorruptionError, FileNotFoundError) as error:
        raise PublicationBlockedError(
            f"Not published: {result} is not the result that was judged ({error})", remedy=_REMEDY
        ) from error
    if verdict.get("status") != "passed":
        reasons = "; ".join(verdict.get("reasons", [])) or "it has no passed verdict"
        raise PublicationBlockedError(
            f"Not published: the quality gate blocked this result: {reasons}.",
            remedy="The published result is unchanged. See report.md of the new result for where matches are missing.",
        )
    for check, setting, threshold, direction in (
        ("match_rate", "match_rate_threshold", gate.match_rate_threshold, 1),
        ("estimated_precision", "min_estimated_precision", gate.min_estimated_precision, 1),
        ("quarantined_share", "max_quarantined_share", gate.max_quarantined_share, -1),
    ):
        judged_at = get_check(verdict, check)["threshold"]
        if direction * judged_at < direction * threshold:
            raise PublicationBlockedError(
                f"Not published: the result was judged with {setting} {judged_at:g}; the setting is now {threshold:g}.",
                remedy=_REMEDY,
            )
    return judged


def _link_or_copy(source: Path, target: Path) -> None:
    """Create ``target`` as a hard link, or as a copy across file systems and where links are refused."""
    try:
        target.hardlink_to(source)
        target.chmod(_READ_ONLY)
    except OSError:
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
        target.chmod(_READ_ONLY)


def _replace_link(link: Path, target: Path) -> None:
    """Point ``link`` to ``target`` atomically: readers see the old or the new target."""
    temporary = link.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}"
    temporary.symlink_to(os.path.relpath(target, link.parent))
    temporary.replace(link)
    sync_directory(link.parent)
