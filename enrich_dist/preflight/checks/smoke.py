"""The smoke test: a small run of the whole job by the command line, in a scratch directory; and its stored record.

A later preflight with the same code reuses the record within ``readiness.max_age_hours``. The environment's settings do
not apply: the test shows that the code works on this machine, not how production is configured.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

from enrich_dist.core.files import read_json
from enrich_dist.core.json_documents import JsonCodec
from enrich_dist.errors import EXIT_PUBLISHED, CorruptionError
from enrich_dist.preflight.context import Fact, Outcome, PreflightContext, failed, passed
from enrich_dist.runs.environment import Code
from enrich_dist.settings import ENV_PREFIX

_RECORD_FILE: Final = "smoke.json"
_COMMAND = (sys.executable, "-c", "from enrich_dist.cli.command import command; command()")
_TIMEOUT_SECONDS: Final = 1_800.0
_SHOWN_LINES: Final = 4


@dataclass(frozen=True)
class SmokeTest:
    """The record of a smoke test. ``timestamp``: when it ended, ISO 8601, UTC; ``problem``: why it failed."""

    revision: str
    source_digest: str
    config: str
    timestamp: str
    passed: bool
    seconds: float
    problem: str | None
    match_rate: float | None
    awards: int | None

    def is_valid(self, code: Code, source_digest: str, config: Path, *, now: datetime, max_age_hours: float) -> bool:
        """Whether it passed recently with exactly this code and settings file."""
        age_hours = (now - datetime.fromisoformat(self.timestamp)).total_seconds() / 3600
        same = (self.revision, self.source_digest, self.config) == (code.label, source_digest, str(config))
        return self.passed and same and 0 <= age_hours <= max_age_hours


_CODEC: Final = JsonCodec(SmokeTest, kind="smoke test record", remedy=None, digest_key="record_blake3")


def smoke_test(context: PreflightContext) -> Outcome:
    """Reuse the latest smoke test if it is valid, else run one."""
    readiness = context.settings.readiness
    config = readiness.smoke_config
    if not config.is_file():
        return failed(
            f"The settings file {config} does not exist.",
            remedy="Start the preflight in the project directory, or set readiness.smoke_config to a small run.",
        )
    folder = context.directory.readiness
    test = None if context.repeat_smoke_test else read_smoke_test(folder)
    of_now = (context.code, context.source_digest, config)
    if test is None or not test.is_valid(*of_now, now=context.now, max_age_hours=readiness.max_age_hours):
        test = _run(context, config)
        _CODEC.write(folder / _RECORD_FILE, test)
    facts: dict[str, Fact] = {
        "config": test.config,
        "revision": test.revision,
        "seconds": test.seconds,
        "run_at": test.timestamp,
        "match_rate": test.match_rate,
        "awards": test.awards,
    }
    if not test.passed:
        return failed(f"The run with {config} failed: {test.problem}.", facts)
    return passed(
        f"The run with {config} on {test.revision} took {test.seconds:,.1f} s (at {test.timestamp}) and published "
        f"{test.awards or 0:,} awards.",
        facts,
    )


def read_smoke_test(folder: Path) -> SmokeTest | None:
    """Return the latest record, None if there is none or it is damaged."""
    try:
        return _CODEC.read(folder / _RECORD_FILE)
    except (FileNotFoundError, CorruptionError):
        return None


def _run(context: PreflightContext, config: Path) -> SmokeTest:
    """Run the job in a scratch directory."""
    scratch = context.scratch("smoke-")
    start = monotonic()
    problem = _find_problem(config, scratch)
    metrics: dict[str, Any] = {}
    if problem is None:
        try:
            metrics = read_json(scratch / "work" / "published" / "current" / "metrics.json")
        except (FileNotFoundError, CorruptionError) as error:
            problem = f"it succeeded, but its published metrics cannot be read: {error}"
    return SmokeTest(
        revision=context.code.label,
        source_digest=context.source_digest,
        config=str(config),
        timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
        passed=problem is None,
        seconds=round(monotonic() - start, 1),
        problem=problem,
        match_rate=metrics.get("match_rate"),
        awards=metrics.get("awards", {}).get("valid"),
    )


def _find_problem(config: Path, scratch: Path) -> str | None:
    """Run the command; return why it did not publish, None if it did."""
    own = {
        "environment": "development",
        "paths.work_dir": scratch / "work",
        "paths.benchmarks": scratch / "records",
        "paths.checkpoints": "null",
        "notifications.urls_file": "null",
    }
    overrides = [part for key, value in own.items() for part in ("--set", f"{key}={value}")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    environment.pop("DAGSTER_HOME", None)
    try:
        ended = subprocess.run(
            [*_COMMAND, "run", "--config", str(config), *overrides],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {_TIMEOUT_SECONDS:,.0f} s"
    if ended.returncode == EXIT_PUBLISHED:
        return None
    lines = [line.strip() for line in ended.stdout.splitlines() if line.strip()]
    return f"it ended with exit code {ended.returncode}: " + " / ".join(lines[-_SHOWN_LINES:])
