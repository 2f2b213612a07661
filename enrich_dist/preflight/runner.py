"""Runs checks in a context. A check that raises becomes an outcome, and the other checks still run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from enrich_dist.errors import EnrichError
from enrich_dist.preflight.admission import find_settings_problems
from enrich_dist.preflight.catalog import CHECKS, Check
from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import CheckResult, Outcome, Report, Status, failed, unknown


def run_checks(
    context: PreflightContext, on_start: Callable[[Check], None] = lambda _: None, checks: Sequence[Check] = CHECKS
) -> Report:
    """Run all checks in order; call ``on_start`` before each."""
    results = []
    for check in checks:
        on_start(check)
        start = time.monotonic()
        outcome = _run(check, context)
        remedy = None if outcome.status is Status.PASSED else outcome.remedy or check.remedy
        seconds = round(time.monotonic() - start, 2)
        text, facts = outcome.summary, dict(outcome.facts)
        results.append(CheckResult(check.id, check.title, check.critical, outcome.status, text, facts, remedy, seconds))
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
