"""The report of a run: one self-contained HTML file, and Markdown for pull requests.

``report_data`` reads the files of a run directory; ``contents`` orders what ``result_sections`` and ``run_sections``
show of them; ``charts`` makes the figures; ``render`` makes the file.
"""

from __future__ import annotations

from pathlib import Path

from enrich_dist.core.files import atomic_path
from enrich_dist.events import warning_on_error
from enrich_dist.reporting.html.render import render_html, render_markdown
from enrich_dist.reporting.html.report_data import read_report_data
from enrich_dist.store.run_directory import RunDirectory


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
    with warning_on_error("The HTML report could not be written; `enrich-dist report` writes it later"):
        directory.html_report.unlink(missing_ok=True)  # it is of an earlier run
        make_report(directory, html=directory.html_report)


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")
