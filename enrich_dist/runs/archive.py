"""The benchmark archive: one JSON file per run, and ``baseline.json``.

Covers finding, reading and extending an archive. A file that is not a run record is reported and left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.files import read_json, write_json
from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.runs.records import CODEC, RunRecord
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import RunDirectory

PROJECT_ARCHIVE: Final = Path("reports/benchmarks")
BASELINE: Final = "baseline.json"
_PREFIX = "run-"  # reports/benchmarks contains other reports, too


@dataclass(frozen=True)
class Archive:
    """The readable records, the oldest first, and a message for each file that is not a record."""

    records: tuple[RunRecord, ...]
    problems: tuple[str, ...]


def archive_path(settings: Settings) -> Path:
    """Return the archive of a run.

    This is ``paths.benchmarks`` if set. Otherwise it is ``reports/benchmarks`` of the current directory if that exists
    and the work directory is inside the current directory, so that a project keeps its records; else ``benchmarks`` in
    the work directory.
    """
    if settings.paths.benchmarks is not None:
        return settings.paths.benchmarks.absolute()
    here, work_dir = Path.cwd().resolve(), settings.paths.work_dir.resolve()
    if (here / PROJECT_ARCHIVE).is_dir() and work_dir.is_relative_to(here):
        return here / PROJECT_ARCHIVE
    return RunDirectory(work_dir).benchmarks


def write_record(archive: Path, record: RunRecord) -> Path:
    """Write the record without local details; keep an existing file of the same run."""
    for existing in archive.glob(f"{_PREFIX}*-{record.id}.json"):
        return existing
    moment = datetime.fromisoformat(record.timestamp)
    final = archive / f"{_PREFIX}{moment:%Y%m%dT%H%M%SZ}-{record.id}.json"
    CODEC.write(final, record.without_local_details())
    return final


def read_archive(archive: Path) -> Archive:
    """Return all records of an archive; an archive that does not exist is empty."""
    found = [_read(path) for path in sorted(archive.glob(f"{_PREFIX}*.json"))]
    records = [item for item in found if isinstance(item, RunRecord)]
    records.sort(key=lambda record: (record.timestamp, record.id))
    return Archive(tuple(records), tuple(item for item in found if isinstance(item, str)))


def newest_first(archive: Path) -> Iterator[RunRecord]:
    """Yield the readable records, the newest first, each read on demand."""
    for path in sorted(archive.glob(f"{_PREFIX}*.json"), reverse=True):  # names start with the time
        if isinstance(found := _read(path), RunRecord):
            yield found


def _read(path: Path) -> RunRecord | str:
    try:
        return CODEC.from_bytes(path.read_bytes(), path.name)
    except CorruptionError as error:
        return f"{path.name}: {error.message}"
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}."


def sessions_of(records: Iterable[RunRecord]) -> list[tuple[RunRecord, ...]]:
    """Return the records of each ``bench run`` session that computed everything, the oldest session first."""
    sessions: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        if record.session is not None and record.computed_everything:
            # If an input changed during a session, its records form two sets.
            sessions.setdefault((record.session, record.comparable_key), []).append(record)
    return [tuple(items) for items in sorted(sessions.values(), key=lambda items: items[-1].timestamp)]


def latest_session(records: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
    """Return the records of the latest session.

    Raises ``StateError`` when there is none.
    """
    sessions = sessions_of(records)
    if not sessions:
        raise StateError(
            "The archive contains no repeated runs that computed everything.",
            remedy="Measure first: `enrich-dist bench run` with the same --config.",
        )
    return sessions[-1]


def set_baseline(archive: Path, records: Sequence[RunRecord]) -> None:
    """Make the records the baseline of their machine and workload; other baselines stay."""
    baselines = _baselines(archive)
    key = records[0].comparable_key
    baselines[key] = {
        "records": sorted(record.id for record in records),
        "size_class": records[0].size_class,
        "code": sorted({record.code.label for record in records}),
    }
    write_json(archive / BASELINE, {"baselines": baselines})


def baseline_for(archive: Path, candidate: Sequence[RunRecord], records: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
    """Return the baseline of the candidate's machine and workload.

    Raises ``StateError`` when there is none, or some of its records are missing.
    """
    entry = _baselines(archive).get(candidate[0].comparable_key)
    if entry is None:
        raise StateError(
            f"There is no baseline for {candidate[0].size_class} with these inputs and settings on this kind "
            f"of machine ({candidate[0].machine.digest}).",
            remedy="Measure the code to compare with by `enrich-dist bench run`, then `enrich-dist bench baseline`.",
        )
    wanted = set(entry["records"])
    found = tuple(record for record in records if record.id in wanted)
    if len(found) < len(wanted):
        missing = ", ".join(sorted(wanted - {record.id for record in found}))
        raise StateError(
            f"Records of the baseline are missing or damaged: {missing}.",
            remedy="Restore them, or set a new baseline with `enrich-dist bench baseline`.",
        )
    return found


def _baselines(archive: Path) -> dict[str, dict[str, Any]]:
    try:
        found = read_json(archive / BASELINE).get("baselines")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    if not isinstance(found, dict) or not all(
        isinstance(entry, dict) and isinstance(entry.get("records"), list) for entry in found.values()
    ):
        raise CorruptionError(
            f"{BASELINE} does not contain baselines.", remedy="Delete it, and run `enrich-dist bench baseline` again."
        )
    return dict(found)
