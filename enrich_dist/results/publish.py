"""The one way out: a judged result becomes the published one, swapped in atomically, or is refused.

Whoever starts it, publishing reads the verdict that lies in the result, checks that the result is the one the
verdict judged, and that the verdict is at least as strict as the settings of now. ``published/current`` is a
symbolic link that always leads to a whole release.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from enrich_dist.core.files import TEMPORARY_PREFIX, read_json, sync_directory
from enrich_dist.errors import CorruptionError, PublicationBlockedError
from enrich_dist.results.quality import Gate, get_check
from enrich_dist.store.artifacts import Artifact, get_or_build, open_verified

CURRENT = "current"


def publish(result: Path, published: Path, gate: Gate) -> Artifact:
    """Publish the result directory as ``published/current``; return the release.

    Raises ``PublicationBlockedError`` when the result has no passed verdict, was changed since it was judged, or was
    judged by a laxer gate than this one.
    """
    judged = require_passed(result, gate)

    def copy(directory: Path) -> dict[str, Any]:
        for name in judged.files:
            shutil.copyfile(judged.path / name, directory / name)
        return judged.facts

    # Named by its content, not by the result: one that is made anew has a database file of other bytes.
    release = get_or_build(published / judged.content_digest[:24], copy)
    _point(published / CURRENT, release.path)
    return release


def require_passed(result: Path, gate: Gate) -> Artifact:
    """The result, where it may be published.

    Raises ``PublicationBlockedError`` as ``publish`` does.
    """
    remedy = "Run the whole job again; only a judged result is published."
    try:
        judged = open_verified(result)
        verdict = read_json(result / "verdict.json")
    except (CorruptionError, FileNotFoundError) as error:
        raise PublicationBlockedError(
            f"Not published: {result} is not the result that was judged ({error})", remedy=remedy
        ) from error
    if verdict.get("status") != "passed":
        reasons = "; ".join(verdict.get("reasons", [])) or "it has no passed verdict"
        raise PublicationBlockedError(
            f"Not published: the quality gate blocked this result: {reasons}.",
            remedy="What is published stays as it was. Look at report.md of the result for where matches are missing.",
        )
    for check, setting, threshold, strictness in (
        ("match_rate", "match_rate_threshold", gate.match_rate_threshold, 1),
        ("estimated_precision", "min_estimated_precision", gate.min_estimated_precision, 1),
        ("quarantined_share", "max_quarantined_share", gate.max_quarantined_share, -1),
    ):
        judged_at = get_check(verdict, check)["threshold"]
        if strictness * judged_at < strictness * threshold:
            raise PublicationBlockedError(
                f"Not published: the verdict was passed at {setting} {judged_at:g}, now it is {threshold:g}.",
                remedy="Run the whole job again: finished chunks are kept, the result is judged anew.",
            )
    return judged


def _point(link: Path, target: Path) -> None:
    """Let ``link`` lead to ``target``; a reader sees the old target or the new one, nothing between."""
    temporary = link.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}"
    temporary.symlink_to(os.path.relpath(target, link.parent))
    temporary.replace(link)
    sync_directory(link.parent)
