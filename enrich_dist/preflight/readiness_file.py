"""The readiness file of a work directory; production runs are refused without one.

``require_ready`` is called where work starts that ends in a publication: in ``enrich-dist run``, in Dagster's settings
resource, and in ``rejudge --publish``. It is not called again at the end, so a run may outlast the file's validity.

The file contains its own digest, which detects damage and manual edits. It is no access control: anyone who can write
to the work directory can also publish there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from enrich_dist.core.files import write_file
from enrich_dist.core.json_documents import JsonCodec
from enrich_dist.core.owned_files import begins_with, require_replaceable
from enrich_dist.errors import CorruptionError, ReadinessError
from enrich_dist.preflight.context import Report
from enrich_dist.remedies import PREFLIGHT
from enrich_dist.runs.environment import source_digest, this_code
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import RunDirectory

READINESS_FILE: Final = "readiness.json"
_MARKDOWN_FILE: Final = "readiness.md"
CODEC: Final = JsonCodec(
    Report, kind="readiness file", remedy=PREFLIGHT, format_version=1, digest_key="readiness_blake3"
)
_MAX_CLOCK_SKEW_HOURS: Final = 0.1
_MAX_SHOWN: Final = 4


def write_readiness(folder: Path, report: Report, text: str) -> Path:
    """Write a report, and its Markdown as ``text``; return the readiness file. Raises ``SettingsError`` where other
    files have these names."""
    require_replaceable(folder / _MARKDOWN_FILE, option="The report", is_ours=begins_with("# Readiness for "))
    require_replaceable(folder / READINESS_FILE, option="The report", is_ours=_is_readiness)
    write_file(folder / _MARKDOWN_FILE, text)
    CODEC.write(folder / READINESS_FILE, report)
    return folder / READINESS_FILE


def _is_readiness(path: Path) -> bool:
    return b'"readiness_blake3"' in path.read_bytes()


def require_ready(settings: Settings) -> None:
    """Raise ``ReadinessError`` in production unless ``verify`` passes."""
    if settings.environment == "production":
        verify(settings)


def verify(settings: Settings) -> Report:
    """Return the report if it is recent, passed, and of this code and these settings, else raise ``ReadinessError``."""
    path = RunDirectory(settings.paths.work_dir).readiness / READINESS_FILE
    try:
        report = CODEC.read(path)
    except FileNotFoundError as error:
        raise ReadinessError(f"Not ready: {path} does not exist.") from error
    except CorruptionError as error:
        raise ReadinessError(f"Not ready: {error.message}") from error
    except OSError as error:
        raise ReadinessError(f"Not ready: {path} cannot be read: {error.strerror}.") from error
    if problem := next(_problems(report, settings), None):
        raise ReadinessError(f"Not ready: {path} {problem}.")
    return report


def _problems(report: Report, settings: Settings) -> Iterator[str]:
    if not report.ready:
        failed = ", ".join(item.id for item in report.failed)
        yield f"of {report.timestamp} has failed critical checks: {failed or 'all'}"
    code = this_code()
    if report.revision != code.label:
        yield f"is of revision {report.revision}, but this code is {code.label}"
    if report.source_digest != source_digest():
        yield f"is of revision {code.label}, but source files have changed since"
    if report.settings_digest != settings.digest():
        before, now = report.settings, settings.flat()
        changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        shown = "; ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in changed[:_MAX_SHOWN])
        yield f"is of other settings ({shown}{'; …' if len(changed) > _MAX_SHOWN else ''})"
    age_hours = (datetime.now(UTC) - datetime.fromisoformat(report.timestamp)).total_seconds() / 3600
    if age_hours < -_MAX_CLOCK_SKEW_HOURS:
        yield f"is of {report.timestamp}, which is in the future by the clock of this machine"
    limit = settings.readiness.max_age_hours
    if age_hours > limit:
        yield f"is {age_hours:,.1f} hours old, and readiness.max_age_hours is {limit:g}"
