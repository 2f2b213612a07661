"""The readiness file of a work directory, and the refusal of a run in production without one.

``require_ready`` is asked wherever something begins that ends in a publication: by Dagster's resource of the settings,
which every run of the job needs however it was launched; by ``enrich-dist run``, before it imports Dagster or starts a
cluster; and by ``rejudge --publish``. It asks when work begins and not when it publishes: a run that takes longer than
the file is fresh, or during which code is changed, is still the one that was let in.

The file bears a digest of itself, which finds what was damaged or edited by hand. It does not keep out who computes the
digest anew: whoever may write to the work directory may publish there anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.files import atomic_path, document_digest, read_json, write_json
from enrich_dist.errors import CorruptionError, ReadinessError
from enrich_dist.runs.revision import source_digest, this_code
from enrich_dist.settings import Settings, flatten

READINESS_FILE: Final = "readiness.json"
MARKDOWN_FILE: Final = "readiness.md"
FORMAT: Final = 1
_SELF = "readiness_blake3"
_HOLDS = ("passed", "warning")
_CLOCKS_DIFFER_HOURS: Final = 0.1
_SHOWN: Final = 4
_REMEDY = (
    "Run `enrich-dist preflight --env production` with the same --config and --set, and mend what it tells "
    "(docs/how-to/preflight.md)."
)


def readiness_folder(work_dir: Path) -> Path:
    """Where the preflight of a work directory keeps its files."""
    return work_dir.absolute() / "readiness"


def write_readiness(folder: Path, document: Mapping[str, Any], text: str) -> Path:
    """Keep a report (``report.to_document`` and ``report.markdown``); return the readiness file."""
    whole = {"format": FORMAT, **document}
    with atomic_path(folder / MARKDOWN_FILE) as temporary:
        temporary.write_text(text, "utf-8")
    write_json(folder / READINESS_FILE, {**whole, _SELF: document_digest(whole)})
    return folder / READINESS_FILE


def require_ready(settings: Settings) -> None:
    """Raise ``ReadinessError`` in production unless ``verify`` finds nothing wrong; else do nothing."""
    if settings.environment == "production":
        verify(settings)


def verify(settings: Settings, *, now: datetime | None = None) -> dict[str, Any]:
    """The readiness file of the work directory, which is fresh, passed, and of this code and these settings.

    Raises ``ReadinessError`` with what is wrong.
    """
    path = readiness_folder(settings.paths.work_dir) / READINESS_FILE
    document = _read(path)
    problem = (
        _not_passed(document)
        or _other_code(document)
        or _other_settings(document, settings)
        or _age_problem(document, settings, now or datetime.now(UTC))
    )
    if problem:
        raise ReadinessError(f"Not ready: {path} {problem}.", remedy=_REMEDY)
    return document


def _read(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except FileNotFoundError as error:
        raise ReadinessError(f"Not ready: there is no {path}.", remedy=_REMEDY) from error
    except (CorruptionError, OSError) as error:
        what = error.message if isinstance(error, CorruptionError) else f"{path} cannot be read: {error.strerror}."
        raise ReadinessError(f"Not ready: {what}", remedy=_REMEDY) from error
    own = document.pop(_SELF, None)
    if document.get("format") != FORMAT or own != document_digest(document):
        raise ReadinessError(f"Not ready: {path} is not what the preflight wrote.", remedy=_REMEDY)
    return document


def _not_passed(document: Mapping[str, Any]) -> str | None:
    """By its items, not by what it says of itself."""
    items = document["items"]
    lacking = [item["id"] for item in items if item["critical"] and item["status"] not in _HOLDS]
    if lacking or not items:
        return f"of {document['timestamp']} says that critical items do not hold: {', '.join(lacking) or 'all'}"
    return None


def _other_code(document: Mapping[str, Any]) -> str | None:
    code = this_code()
    if document["revision"] != code.label:
        return f"was made for revision {document['revision']}, and this is {code.label}"
    if document["source_digest"] != source_digest():
        return f"was made for other files of revision {code.label} than those that are here"
    return None


def _other_settings(document: Mapping[str, Any], settings: Settings) -> str | None:
    if document["settings_digest"] == settings.digest():
        return None
    before, now = document["settings"], flatten(settings.model_dump(mode="json"))
    changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    told = "; ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in changed[:_SHOWN])
    return f"was made for other settings ({told}{'; …' if len(changed) > _SHOWN else ''})"


def _age_problem(document: Mapping[str, Any], settings: Settings, now: datetime) -> str | None:
    age_hours = (now - datetime.fromisoformat(document["timestamp"])).total_seconds() / 3600
    if age_hours < -_CLOCKS_DIFFER_HOURS:
        return f"is of {document['timestamp']}, which has not come yet by the clock of this machine"
    limit = settings.readiness.max_age_hours
    if age_hours > limit:
        return f"is {age_hours:,.1f} hours old, and readiness.max_age_hours is {limit:g}"
    return None
