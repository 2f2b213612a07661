"""Run the checks of ``catalog``: the cheap ones before every run, all of them in a preflight.

``admit`` raises the first error of the cheap checks, before anything heavy is imported or started;
``find_settings_problems`` collects all of them for ``config validate``. ``run_checks`` runs everything in a context: a
check that raises becomes an outcome, and the other checks still run.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from enrich_dist.errors import EnrichError, SourceError
from enrich_dist.preflight.catalog import CHECKS, Check
from enrich_dist.preflight.checks.settings import SettingsCheck, check_notification_addresses
from enrich_dist.preflight.context import CheckResult, Outcome, PreflightContext, Report, Status, failed, unknown
from enrich_dist.preflight.readiness_file import require_ready
from enrich_dist.settings import LoadedSettings, Settings
from enrich_dist.settings.files import with_line

_SETTINGS_CHECKS = tuple(part for check in CHECKS for part in check.settings_checks)


@dataclass(frozen=True)
class SettingsProblem:
    """An error of a cheap check. ``origins``: the settings that it names, and where each was set."""

    error: EnrichError
    origins: tuple[str, ...]
    is_warning: bool
    """Whether a run would start anyway."""

    def text(self, *, with_remedy: bool) -> str:
        """The message with the origins in parentheses."""
        text = str(self.error) if with_remedy else self.error.message
        return f"{text} ({'; '.join(self.origins)})" if self.origins else text


def admit(settings: Settings) -> None:
    """Raise the first error that refuses a run with these settings, and notify operators of it."""
    from enrich_dist.monitoring.notify import notify_on_failure

    check_notification_addresses(settings)  # first: the errors below are sent to these addresses
    with notify_on_failure(settings):
        require_ready(settings)
        for check in _SETTINGS_CHECKS:
            if check.refuses_run:
                check.run(settings)


def find_settings_problems(
    loaded: LoadedSettings, checks: Sequence[SettingsCheck] = _SETTINGS_CHECKS
) -> list[SettingsProblem]:
    """Return all errors of the cheap checks, warnings last."""
    found = []
    for check in checks:
        try:
            check.run(loaded.settings)
        except EnrichError as error:
            found.append(SettingsProblem(error, tuple(_origins(loaded, error)), isinstance(error, check.warning)))
    return sorted(found, key=lambda problem: problem.is_warning)


def preload_workers(settings: Settings) -> None:
    """Start to import the packages of local workers in the background, while this process checks the settings and
    imports Dagster. Problems of the work directory are for ``admit`` to report."""
    from enrich_dist.cluster import forkserver
    from enrich_dist.store.run_directory import RunDirectory
    from enrich_dist.store.status import all_chunks_finished

    with suppress(OSError, EnrichError):
        if settings.cluster.kind == "local" and not all_chunks_finished(RunDirectory(settings.paths.work_dir)):
            forkserver.begin()


def _origins(loaded: LoadedSettings, error: EnrichError) -> Iterator[str]:
    """The settings that an error names, by key or by the path that they contain."""
    path = str(Path(error.path)) if isinstance(error, SourceError) else None
    named = set(re.findall(r"[a-z_]+(?:\.[a-z_]+)*", error.message))
    for item in loaded.used():
        if item.key in named or (path and item.value == path):
            yield f"{item.key}: {with_line(item.origin, item.key)}"


def run_checks(
    context: PreflightContext, on_start: Callable[[Check], None] = lambda _: None, checks: Sequence[Check] = CHECKS
) -> Report:
    """Run all checks in order; call ``on_start`` before each."""
    results = []
    for check in checks:
        on_start(check)
        start = time.monotonic()
        found = _run(check, context)
        remedy = None if found.status is Status.PASSED else found.remedy or check.remedy
        seconds = round(time.monotonic() - start, 2)
        about = (check.id, check.title, check.critical)
        results.append(CheckResult(*about, found.status, found.summary, dict(found.facts), remedy, seconds))
    settings = context.settings
    return Report(
        environment=settings.environment,
        revision=context.code.label,
        version=context.code.version,
        source_digest=context.source_digest,
        timestamp=context.now.isoformat(timespec="seconds"),
        settings_digest=settings.digest(),
        settings=settings.flat(),
        items=tuple(results),
    )


def _run(check: Check, context: PreflightContext) -> Outcome:
    """Run the cheap part, then the full part if the cheap part raised nothing."""
    try:
        if problems := find_settings_problems(context.loaded, check.settings_checks):
            summary = " ".join(problem.text(with_remedy=len(problems) > 1) for problem in problems)
            remedy = problems[0].error.remedy if len(problems) == 1 else None
            return failed(summary, {"problems": len(problems)}, remedy=remedy)
        return check.run(context)
    except EnrichError as error:
        return failed(error.message, remedy=error.remedy)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return failed(f"{error.strerror or error}{where}.", remedy="Fix the file or directory that the message names.")
    except Exception as error:  # noqa: BLE001  # the results of the other checks are still useful
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return unknown(f"The check itself failed ({what}).")
