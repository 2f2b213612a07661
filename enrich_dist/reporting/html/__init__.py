"""The report of a run: one self-contained HTML file, and Markdown for pull requests.

``report_data`` reads the files of a run directory; ``contents`` orders what ``result_sections`` and ``run_sections``
show of them; ``charts`` makes the figures; ``render`` makes the file.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from enrich_dist.core.files import atomic_path
from enrich_dist.events import Notice, emit
from enrich_dist.reporting.html.render import render_html, render_markdown
from enrich_dist.reporting.html.report_data import read_report_data
from enrich_dist.store.run_directory import RunDirectory

logger = logging.getLogger(__name__)


def make_report(
    directory: RunDirectory, *, html: Path, markdown: Path | None = None, against: str | None = None
) -> None:
    """Report the latest run of a work directory from its files alone.

    ``against``: a further run to compare with, as ``journal.find_run`` takes it. Raises ``StateError`` when no run was
    judged, ``OSError`` when a file cannot be written.
    """
    data = read_report_data(directory, against=against)
    _write(html, render_html(data))
    if markdown is not None:
        _write(markdown, render_markdown(data))


def write_run_report(directory: RunDirectory) -> None:
    """Write the report of the run that just ended. Never raises: a failure is a warning."""
    try:
        make_report(directory, html=directory.html_report)
    except Exception as error:  # the run itself has ended well
        logger.debug("the report failed", exc_info=True)
        # A report that is there is of an earlier run.
        with suppress(OSError):
            directory.html_report.unlink(missing_ok=True)
        emit(
            Notice(
                f"The HTML report could not be written ({type(error).__name__}: {error}). The result is not affected. "
                "To write it, run: enrich-dist report",
                warning=True,
            )
        )


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")
