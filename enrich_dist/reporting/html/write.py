"""Puts a run's report where it belongs: ``report.html`` of the work directory, or where a person wants it.

The job's own report is a service: whatever goes wrong with it is told and harms nothing. Does not cover what a report
says (``page``, ``markdown``).
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from enrich_dist.core.files import atomic_path
from enrich_dist.events import Notice, emit
from enrich_dist.reporting.html.facts import RunFacts, gather
from enrich_dist.reporting.html.markdown import render_markdown
from enrich_dist.reporting.html.page import render_page
from enrich_dist.store.run_directory import RunDirectory

logger = logging.getLogger(__name__)


def make_report(
    directory: RunDirectory, *, html: Path, markdown: Path | None = None, against: str | None = None
) -> RunFacts:
    """Report the latest run of a work directory from its files alone; ``against``: a further run to compare with, as
    ``journal.find_run`` takes it.

    Raises ``StateError`` when there is nothing to report, ``OSError`` when a file cannot be written.
    """
    facts = gather(directory, against=against)
    _write(html, render_page(facts))
    if markdown is not None:
        _write(markdown, render_markdown(facts))
    return facts


def write_run_report(directory: RunDirectory) -> None:
    """Write the report of the run that just ended. Never raises."""
    try:
        make_report(directory, html=directory.html_report)
    except Exception as error:  # whatever it is, the run is done
        logger.debug("the report failed", exc_info=True)
        # That of an earlier run would be taken for this one's.
        with suppress(OSError):
            directory.html_report.unlink(missing_ok=True)
        emit(
            Notice(
                f"The HTML report could not be written ({type(error).__name__}: {error}). The result is not affected; "
                "try again with: enrich-dist report",
                warning=True,
            )
        )


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")
