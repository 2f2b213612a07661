"""The report of a run: one self-contained HTML file, and Markdown for pull requests.

``report_data`` reads the files of a run directory; ``contents`` orders what ``result_sections`` and ``run_sections``
show of them; ``charts`` makes the figures; ``render`` makes the file; ``write`` stores it.
"""

from enrich_dist.reporting.html.write import make_report, write_run_report

__all__ = ["make_report", "write_run_report"]
