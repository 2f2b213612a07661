"""The smoke test: a small run of the whole job, by this code, in a directory of its own; and the record that it passed.

The record is of one code (revision and digest of its files) and counts for ``readiness.max_age_hours``, so that a
preflight need not run it again. The run is the command that a user would give. Settings of this environment do not act
on it: it shows that the code works here, not how production is configured.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

from enrich_dist.core.files import document_digest, read_json, write_json
from enrich_dist.errors import EXIT_PUBLISHED, CorruptionError
from enrich_dist.runs.revision import Code
from enrich_dist.settings import ENV_PREFIX

RECORD_FILE: Final = "smoke.json"
_COMMAND = (sys.executable, "-c", "from enrich_dist.cli.command import command; command()")
_PATIENCE_SECONDS: Final = 1_800.0
_TOLD_LINES: Final = 4
_SELF = "record_blake3"


@dataclass(frozen=True)
class SmokeTest:
    """What became of it. ``timestamp``: when it had ended, ISO 8601, UTC."""

    revision: str
    source_digest: str
    config: str
    timestamp: str
    passed: bool
    seconds: float
    problem: str | None
    """Why it has not passed."""
    match_rate: float | None
    awards: int | None

    def counts(self, code: Code, source_digest: str, config: Path, *, now: datetime, max_age_hours: float) -> bool:
        """Whether it has passed with that very code, and not too long ago."""
        age_hours = (now - datetime.fromisoformat(self.timestamp)).total_seconds() / 3600
        same = (self.revision, self.source_digest, self.config) == (code.label, source_digest, str(config))
        return self.passed and same and 0 <= age_hours <= max_age_hours


def read_smoke_test(folder: Path) -> SmokeTest | None:
    """The latest one; None where there is none, or what is there is not what was written."""
    try:
        document = read_json(folder / RECORD_FILE)
        own = document.pop(_SELF, None)
        return SmokeTest(**document) if own == document_digest(document) else None
    except (FileNotFoundError, CorruptionError, TypeError):
        return None


def run_smoke_test(config: Path, scratch: Path, folder: Path, *, code: Code, source_digest: str) -> SmokeTest:
    """Run it in ``scratch`` and keep its record in ``folder``."""
    start = monotonic()
    problem = _run(config, scratch)
    metrics: dict[str, Any] = {}
    if problem is None:
        try:
            metrics = read_json(scratch / "work" / "published" / "current" / "metrics.json")
        except (FileNotFoundError, CorruptionError) as error:
            problem = f"it ended well, but what it published cannot be read: {error}"
    done = SmokeTest(
        revision=code.label,
        source_digest=source_digest,
        config=str(config),
        timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
        passed=problem is None,
        seconds=round(monotonic() - start, 1),
        problem=problem,
        match_rate=metrics.get("match_rate"),
        awards=metrics.get("awards", {}).get("valid"),
    )
    document = asdict(done)
    write_json(folder / RECORD_FILE, {**document, _SELF: document_digest(document)})
    return done


def _run(config: Path, scratch: Path) -> str | None:
    """Why the run has not published anything; None where it has."""
    own = {
        "environment": "development",
        "paths.work_dir": scratch / "work",
        "paths.benchmarks": scratch / "records",
        "paths.checkpoints": "null",
        "notifications.urls_file": "null",
    }
    overrides = [part for key, value in own.items() for part in ("--set", f"{key}={value}")]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    ours.pop("DAGSTER_HOME", None)
    try:
        ended = subprocess.run(
            [*_COMMAND, "run", "--config", str(config), *overrides],
            env=ours,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it has not ended within {_PATIENCE_SECONDS:,.0f} s"
    if ended.returncode == EXIT_PUBLISHED:
        return None
    lines = [line.strip() for line in ended.stdout.splitlines() if line.strip()]
    return f"it ended with exit code {ended.returncode}: " + " / ".join(lines[-_TOLD_LINES:])
