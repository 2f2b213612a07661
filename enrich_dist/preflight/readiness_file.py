"""The readiness file of a work directory; production runs are refused without one.

``require_ready`` is called where work starts that ends in a publication: in Dagster's settings resource, which every
run needs however it is launched; in ``enrich-dist run``, before Dagster is imported; and in ``rejudge --publish``. It
is not called again when the result is published, so a run may take longer than the file is valid.

The file contains its own digest, which detects damage and manual edits. It is no access control: anyone who can write
to the work directory can also publish there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.files import atomic_path, document_digest, read_json, write_json
from enrich_dist.errors import CorruptionError, ReadinessError
from enrich_dist.preflight.outcome import Status
from enrich_dist.runs.revision import source_digest, this_code
from enrich_dist.settings import Settings, flatten

READINESS_FILE: Final = "readiness.json"
_MARKDOWN_FILE: Final = "readiness.md"
_FORMAT: Final = 1
_SELF = "readiness_blake3"
_MAX_CLOCK_SKEW_HOURS: Final = 0.1
_MAX_SHOWN: Final = 4


def readiness_folder(work_dir: Path) -> Path:
    """Return the directory of the preflight's files."""
    return work_dir.absolute() / "readiness"


def write_readiness(folder: Path, document: Mapping[str, Any], text: str) -> Path:
    """Write a report (``report.to_document`` and ``report.markdown``); return the readiness file."""
    whole = {"format": _FORMAT, **document}
    with atomic_path(folder / _MARKDOWN_FILE) as temporary:
        temporary.write_text(text, "utf-8")
    write_json(folder / READINESS_FILE, {**whole, _SELF: document_digest(whole)})
    return folder / READINESS_FILE


def require_ready(settings: Settings) -> None:
    """Raise ``ReadinessError`` in production unless ``verify`` passes."""
    if settings.environment == "production":
        verify(settings)


def verify(settings: Settings) -> dict[str, Any]:
    """Return the readiness file if it is recent, passed, and of this code and these settings.

    Raises ``ReadinessError`` otherwise.
    """
    path = readiness_folder(settings.paths.work_dir) / READINESS_FILE
    document = _read(path)
    problem = (
        _failed_checks(document) or _other_code(document) or _other_settings(document, settings)
        or _age_problem(document, settings)
    )  # fmt: skip
    if problem:
        raise ReadinessError(f"Not ready: {path} {problem}.")
    return document


def _read(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except FileNotFoundError as error:
        raise ReadinessError(f"Not ready: {path} does not exist.") from error
    except (CorruptionError, OSError) as error:
        problem = error.message if isinstance(error, CorruptionError) else f"{path} cannot be read: {error.strerror}."
        raise ReadinessError(f"Not ready: {problem}") from error
    own = document.pop(_SELF, None)
    if document.get("format") != _FORMAT or own != document_digest(document):
        raise ReadinessError(f"Not ready: {path} was changed since the preflight wrote it.")
    return document


def _failed_checks(document: Mapping[str, Any]) -> str | None:
    """Judge by the checks, not by the verdict that the file states."""
    items = document["items"]
    failed = [item["id"] for item in items if item["critical"] and not Status(item["status"]).holds]
    if failed or not items:
        return f"of {document['timestamp']} has failed critical checks: {', '.join(failed) or 'all'}"
    return None


def _other_code(document: Mapping[str, Any]) -> str | None:
    code = this_code()
    if document["revision"] != code.label:
        return f"is of revision {document['revision']}, but this code is {code.label}"
    if document["source_digest"] != source_digest():
        return f"is of revision {code.label}, but source files have changed since"
    return None


def _other_settings(document: Mapping[str, Any], settings: Settings) -> str | None:
    if document["settings_digest"] == settings.digest():
        return None
    before, now = document["settings"], flatten(settings.model_dump(mode="json"))
    changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    shown = "; ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in changed[:_MAX_SHOWN])
    return f"is of other settings ({shown}{'; …' if len(changed) > _MAX_SHOWN else ''})"


def _age_problem(document: Mapping[str, Any], settings: Settings) -> str | None:
    age_hours = (datetime.now(UTC) - datetime.fromisoformat(document["timestamp"])).total_seconds() / 3600
    if age_hours < -_MAX_CLOCK_SKEW_HOURS:
        return f"is of {document['timestamp']}, which is in the future by the clock of this machine"
    limit = settings.readiness.max_age_hours
    if age_hours > limit:
        return f"is {age_hours:,.1f} hours old, and readiness.max_age_hours is {limit:g}"
    return None
