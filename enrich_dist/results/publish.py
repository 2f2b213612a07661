"""Publish a judged result: swap it in atomically, or refuse it.

Publishing judges the result again, however it is started. It checks that the result is unchanged, that its metrics and
tables give its verdict, and that the verdict is at least as strict as the current settings. ``published/current`` is a
symbolic link that always points to a complete release.

Published files are read-only hard links to those of the result where the file system allows it. A forced change of a
file changes both; the digests of the result then no longer agree, and the next run builds and publishes it again. The
database is a copy, because DuckDB opens a database for writing by default.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from enrich_dist.core.files import read_json, sync_directory
from enrich_dist.core.owned_files import copy_new, link_or_copy, replace_link
from enrich_dist.errors import CorruptionError, PublicationBlockedError, StateError
from enrich_dist.results.build import DATABASE
from enrich_dist.results.quality import Gate, get_check, judge
from enrich_dist.store.artifacts import Artifact, get_or_build, open_unverified, open_verified
from enrich_dist.store.run_directory import CURRENT, RELEASE_NAME_LENGTH

_READ_ONLY = 0o444
_ROUNDING = 5e-6  # metrics have six decimals
# Checks with a limit: the setting, and whether a greater one (1) or a smaller one (-1) is stricter.
_LIMITS = (
    ("match_rate", "match_rate_threshold", 1),
    ("estimated_precision", "min_estimated_precision", 1),
    ("quarantined_share", "max_quarantined_share", -1),
)
_REMEDY = "Run the whole job again: finished chunks are kept."


def published_bytes(result: Path) -> int | None:
    """Return the size of the files that a publication copies; None where the result is not complete."""
    with suppress(CorruptionError, FileNotFoundError):
        return sum(int(entry["bytes"]) for entry in open_unverified(result).files.values())
    return None


def publish(result: Path, published: Path, gate: Gate, *, on_file: Callable[[int], None] = lambda _: None) -> Artifact:
    """Publish the result directory as ``published/current``; return the release. ``on_file``: called after each file
    with its bytes.

    Raises ``PublicationBlockedError`` when the result has no passed verdict, changed since it was judged, or was
    judged by a less strict gate than this one.
    """
    judged = require_passed(result, gate)

    def build(directory: Path) -> dict[str, Any]:
        for name in judged.files:
            if name == DATABASE:
                copy_new(judged.path / name, directory / name)
            else:
                link_or_copy(judged.path / name, directory / name, mode=_READ_ONLY)
            on_file(judged.files[name]["bytes"])
        return judged.facts

    release = _get_or_build(published, judged.content_digest[:RELEASE_NAME_LENGTH], build)
    try:
        replace_link(published / CURRENT, release.path.name)
    except FileExistsError as error:
        raise StateError(f"{error}, so the result was not published.", remedy="Move it elsewhere.") from error
    sync_directory(published)
    return release


def _get_or_build(published: Path, name: str, build: Callable[[Path], dict[str, Any]]) -> Artifact:
    """Return the release, named by its content: a result that is built again has a database of other bytes.

    Readers may have the current release open. If that is damaged, it stays, and the new one is built under a second
    name, until a later publication replaces it.
    """
    current = (published / CURRENT).resolve()
    first, second = published / name, published / f"{name}-2"
    for place, other in ((first, second), (second, first)):
        if place.resolve() == current:
            with suppress(CorruptionError):
                return open_verified(place)
            return get_or_build(other, build)
    return get_or_build(first, build)


def require_passed(result: Path, gate: Gate) -> Artifact:
    """Return the result if it may be published. Raises ``PublicationBlockedError`` as ``publish`` does."""
    try:
        judged = open_verified(result)
        metrics, verdict = (read_json(result / name) for name in ("metrics.json", "verdict.json"))
        judged_by = _judge_again(judged, metrics, verdict)
    except (CorruptionError, FileNotFoundError) as error:
        raise PublicationBlockedError(
            f"Not published: {result} is not the result that was judged ({error})", remedy=_REMEDY
        ) from error
    if verdict["status"] != "passed":
        reasons = "; ".join(verdict["reasons"]) or "it has no passed verdict"
        raise PublicationBlockedError(
            f"Not published: the quality gate blocked this result: {reasons}.",
            remedy="The published result is unchanged. See report.md of the new result for where matches are missing.",
        )
    for _, setting, direction in _LIMITS:
        judged_at, threshold = (getattr(limits, setting) for limits in (judged_by, gate))
        if direction * judged_at < direction * threshold:
            raise PublicationBlockedError(
                f"Not published: the result was judged with {setting} {judged_at:g}; the setting is now {threshold:g}.",
                remedy=_REMEDY,
            )
    return judged


def _judge_again(judged: Artifact, metrics: dict[str, Any], verdict: dict[str, Any]) -> Gate:
    """Return the limits of the verdict. Raises ``CorruptionError`` unless the verdict is the one that these limits and
    the metrics give, the artifact records both, and the tables have the rates of the metrics."""
    try:
        gate = Gate(**{setting: get_check(verdict, check)["threshold"] for check, setting, _ in _LIMITS})
        if not all(type(limit) in (int, float) and 0 <= limit <= 1 for limit in astuple(gate)):  # NaN is not
            raise CorruptionError("a threshold of its verdict is no share.")
        if verdict != judge(metrics, gate) or judged.facts != {"metrics": metrics, "verdict": verdict}:
            raise CorruptionError("its verdict is not the one that its metrics give.")
        awards = _read(judged, "enriched_awards.parquet", "match_status")
        companies = _read(judged, "company_matches.parquet", "match_status", "match_probability")
        matched = companies.filter(pc.equal(companies["match_status"], "matched"))["match_probability"]
        count = pc.sum(pc.equal(awards["match_status"], "matched")).as_py() or 0
        found = {
            "valid awards": (len(awards), metrics["awards"]["valid"]),
            "matched awards": (count, metrics["awards"]["matched"]),
            "match rate": (count / max(1, len(awards)), metrics["match_rate"]),
            "precision": (
                (pc.sum(matched).as_py() or 0) / max(1, len(matched)),
                metrics["accuracy"]["precision"]["estimate"] or 0,
            ),
        }
    except (KeyError, TypeError, ValueError, StopIteration, OSError, pa.ArrowException) as error:
        raise CorruptionError(f"its metrics and verdict cannot be judged again ({error!r}).") from error
    for name, (counted, recorded) in found.items():
        if not abs(counted - recorded) <= _ROUNDING:
            raise CorruptionError(f"its tables give {counted:g} for {name}, its metrics say {recorded:g}.")
    return gate


def _read(judged: Artifact, name: str, *columns: str) -> pa.Table:
    return pq.ParquetFile(judged.path / name).read(columns=list(columns))
