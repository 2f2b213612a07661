"""Goes through the items in a context; a check that fails itself is a finding, and ends nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from enrich_dist.errors import EnrichError
from enrich_dist.preflight.catalog import CHECKS, Check
from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Outcome, Status, failed, unknown
from enrich_dist.preflight.report import Report, Result
from enrich_dist.settings import flatten


def run_checks(
    context: PreflightContext, begins: Callable[[Check], None] = lambda _: None, items: Sequence[Check] = CHECKS
) -> Report:
    """Check all items in their order. ``begins`` is told each one before."""
    results = []
    for item in items:
        begins(item)
        start = time.monotonic()
        finding = _found(item, context)
        remedy = None if finding.status is Status.PASSED else finding.remedy or item.remedy
        seconds = round(time.monotonic() - start, 2)
        results.append(Result(item.id, item.title, item.critical, finding, remedy, seconds))
    settings = context.settings
    return Report(
        environment=settings.environment,
        revision=context.code.label,
        version=context.code.version,
        source_digest=context.source_digest,
        timestamp=context.now.isoformat(timespec="seconds"),
        settings_digest=settings.digest(),
        settings=flatten(settings.model_dump(mode="json")),
        results=tuple(results),
    )


def _found(item: Check, context: PreflightContext) -> Outcome:
    try:
        return item.check(context)
    except EnrichError as error:
        return failed(error.message, remedy=error.remedy)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return failed(f"{error.strerror or error}{where}.", remedy="Mend the file or directory that is named.")
    except Exception as error:  # noqa: BLE001  # the other items are still worth telling
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return unknown(f"The check itself failed ({what}).")
