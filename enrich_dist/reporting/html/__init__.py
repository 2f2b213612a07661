"""The report of a run: one self-contained HTML file, and Markdown for pull requests.

``report_data`` reads the files of a run directory; ``contents`` orders what ``result_sections`` and ``run_sections``
show of them; ``charts`` makes the figures; ``render`` makes the file.
"""

from __future__ import annotations

from pathlib import Path

from enrich_dist.core.files import write_file
from enrich_dist.core.owned_files import begins_with, remove_file, require_replaceable
from enrich_dist.events import warning_on_error
from enrich_dist.reporting.html.render import render_html, render_markdown
from enrich_dist.reporting.html.report_data import read_report_data
from enrich_dist.store.run_directory import RunDirectory

is_page = begins_with(
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta http-equiv="Content-Security-Policy" content="default-src'
)


def make_report(
    directory: RunDirectory, *, html: Path, markdown: Path | None = None, against: str | None = None
) -> None:
    """Report the latest run of a work directory from its files alone.

    ``against``: a further run to compare with, as ``journal.find_run`` takes it. Raises ``StateError`` when no run was
    judged, ``SettingsError`` where a file exists that is no report, ``OSError`` when one cannot be written.
    """
    require_replaceable(html, option="--out", is_ours=is_page)
    if markdown is not None:
        require_replaceable(markdown, option="--markdown", is_ours=begins_with("# Run report: "))
    data = read_report_data(directory, against=against)
    write_file(html, render_html(data))
    if markdown is not None:
        write_file(markdown, render_markdown(data))


def write_run_report(directory: RunDirectory) -> None:
    """Write the report of the run that just ended. Never raises: a failure is a warning."""
    with warning_on_error("The HTML report could not be written; `enrich-dist report` writes it later"):
        require_replaceable(directory.html_report, option="The HTML report", is_ours=is_page)
        remove_file(directory.html_report)  # it is of an earlier run
        make_report(directory, html=directory.html_report)
